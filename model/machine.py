"""What this machine has to give: cores and memory, also where the system does not say all of it, as macOS."""

import os
from pathlib import Path

__all__ = ["cores", "free_memory"]

MEMINFO = Path("/proc/meminfo")


def cores() -> int:
    """Processors that this process may use; where the system has no such limit, all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int:
    """Bytes of memory that are free or only cache files; where the system does not say, half of what there is."""
    try:
        lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    page = os.sysconf("SC_PAGE_SIZE")
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * page
    return os.sysconf("SC_PHYS_PAGES") * page // 2
