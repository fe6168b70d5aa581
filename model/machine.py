"""What this machine has to give: cores and memory, also where the system does not say all of it, as macOS; and how a
tool ends with the process that started it.
"""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["cores", "ending_with_us", "free_memory", "interrupts_held"]

MEMINFO = Path("/proc/meminfo")
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


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


def ending_with_us(command: Sequence[str]) -> list[str]:
    """`command`, which Linux kills when the process that started it is killed, and could not do it itself. Else it
    would go on, and write into files that the next call works on. As it is where there is no setpriv (util-linux).
    """
    tool = shutil.which("setpriv") if sys.platform == "linux" else None
    return [tool, "--pdeathsig", "KILL", "--", *command] if tool else list(command)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end of the block: a process that is started in it is known before they come.

    Held by Python, not by a mask: any other thread would take the signal, and the main one be interrupted all the same.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {number: signal.signal(number, lambda *given: came.append(given)) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for which, frame in came:
            handler = before[signal.Signals(which)]
            handler(which, frame) if callable(handler) else os.kill(os.getpid(), which)
