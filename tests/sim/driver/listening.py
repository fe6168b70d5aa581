"""Where this process and its children can be reached by TCP, as Linux says."""

import os
from ipaddress import ip_address
from pathlib import Path

LISTEN = "0A"


def children(process: str, parents: dict[str, str]) -> set[str]:
    """The process and all that it started, and those in turn."""
    own = {child for child, parent in parents.items() if parent == process}
    return {process}.union(*(children(child, parents) for child in own))


def address(text: str) -> str:
    """An address of /proc/net: words of 32 bits, each with its lowest byte first."""
    raw = b"".join(bytes.fromhex(text[k : k + 8])[::-1] for k in range(0, len(text), 8))
    found = ip_address(raw)
    return str(getattr(found, "ipv4_mapped", None) or found)


def listening() -> set[str]:
    """The addresses on which they listen."""
    parents, sockets = {}, set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[path.name] = (path / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue  # it has ended
    for process in children(str(os.getpid()), parents):
        try:
            sockets |= {os.readlink(link) for link in Path(f"/proc/{process}/fd").iterdir()}
        except OSError:
            continue
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return {
        address(line[1].rpartition(":")[0]) for line in lines if line[3] == LISTEN and f"socket:[{line[9]}]" in sockets
    }
