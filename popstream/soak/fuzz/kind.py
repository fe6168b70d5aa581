"""One input for one target as a case of soak, so that a finding that was kept is checked again, without atheris."""

import resource
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from popstream.soak.draw import mutate, pick
from popstream.soak.fuzz.target import TARGETS, the_target
from popstream.soak.kinds import GiB, Kind, one_by_one

__all__ = ["INPUT", "KIND", "MEMORY", "SECONDS", "TARGET", "bound_memory"]

SECONDS = 10  # that an input may take
MEMORY = GiB  # of address space that it may take, beside what the program and its libraries have
TARGET, INPUT = "target", "input"  # files of a case


def bound_memory(memory: int = MEMORY) -> None:
    """From here on this process gets no more than `memory` bytes more; called when everything is imported."""
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + memory, resource.getrlimit(resource.RLIMIT_AS)[1]))


def draw(rng: np.random.Generator, place: Path) -> None:
    """A mutated seed of some target."""
    name = pick(rng, list(TARGETS))
    target = the_target(name)
    (place / TARGET).write_text(name)
    (place / INPUT).write_bytes((target.mutate or mutate)(rng, pick(rng, target.seeds())))


def check(place: Path, root: Path) -> Mapping[str, int]:
    """Taken or refused."""
    module, _, name = (place / TARGET).read_text().strip().rpartition(":")
    target = the_target(name, {name: module} if module else TARGETS)
    bound_memory()
    return {target.run((place / INPUT).read_bytes()): 1}


KIND = Kind("inputs", "hostile bytes; taken, or refused in one line", draw, one_by_one(check), seconds=6 * SECONDS)
