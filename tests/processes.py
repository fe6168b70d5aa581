"""Processes of this machine, by Linux's /proc, for tests of what a command leaves running."""

import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["working_in"]


def working_in(wanted: Callable[[str], bool]) -> list[int]:
    """The numbers of the processes whose working folder is `wanted`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            place = os.readlink(path / "cwd")
        except OSError:  # ended meanwhile, or another user's
            continue
        if wanted(place):
            found.append(int(path.name))
    return found
