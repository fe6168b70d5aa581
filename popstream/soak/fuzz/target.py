"""A part of the program that reads what others made: its seeds, what is done with bytes, and what must hold.

Whatever the bytes are, a target takes them or refuses them in one line, by an error of its own room. Anything else is a
finding: another exception, a message that is long or would command a terminal, a hang, a death, too much memory.
"""

import functools
import importlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from popstream.soak.kinds import WrongError

__all__ = ["TARGETS", "Target", "attempt", "parts", "scratch", "spoken", "the_target"]

TARGETS: Mapping[str, str] = {
    name: f"popstream.soak.fuzz.{module}"
    for module, names in {
        "board": ("decoder", "session", "pictures"),
        "files": ("manifest", "rom", "folding", "bitstream", "fits"),
        "learned": ("recipe", "sweep", "checkpoint", "cifar10", "svhn"),
    }.items()
    for name in names
}
"""The module of each target, which holds it in its own TARGETS."""

LONGEST = 4000  # characters of a message
Mutator = Callable[[np.random.Generator, bytes], bytes]


@dataclass(frozen=True)
class Target:
    """What is known of a target.

    Parameters
    ----------
    text : what it reads, for tables.
    seeds : makes the inputs that all begins with.
    run : takes or refuses the bytes; returns "taken" or "refused", and raises what is wrong.
    mutate : a mutation that knows the form; half of the mutations are by it.
    most : bytes of an input.
    """

    text: str
    seeds: Callable[[], Sequence[bytes]]
    run: Callable[[bytes], str]
    mutate: Mutator | None = None
    most: int = 2**16


def the_target(name: str, modules: Mapping[str, str] = TARGETS) -> Target:
    """The target of this name."""
    target: Target = importlib.import_module(modules[name]).TARGETS[name]
    return target


def attempt(work: Callable[[], Any], *errors: type[Exception]) -> str:
    """ "taken" where `work` comes to its end, "refused" where it raises one of `errors`, as a message must be."""
    try:
        work()
    except errors as error:
        spoken(str(error))
        if any(isinstance(cause, MemoryError) for cause in causes(error)):
            raise WrongError(f"it was only stopped by the limit of memory: {error}") from error
        return "refused"
    return "taken"


def causes(error: BaseException) -> Iterator[BaseException]:
    """The errors that led to an error."""
    while before := error.__cause__ or error.__context__:
        yield before
        error = before


def spoken(text: str) -> None:
    """WrongError unless the text is a line that a terminal shows as it is."""
    if not text.isprintable() or not 0 < len(text) <= LONGEST:
        raise WrongError(f"not one line of at most {LONGEST} characters: {text[:300]!r}")


@functools.cache
def scratch() -> Path:
    """A folder for the files of this process; in memory, where there is such a place."""
    memory = Path("/dev/shm")
    kept = tempfile.TemporaryDirectory(prefix="popstream-fuzz-", dir=memory if memory.is_dir() else None)
    KEPT.append(kept)
    return Path(kept.name)


KEPT: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Two pieces of an input: behind 4 bytes with the size of the first, little endian."""
    size = int.from_bytes(data[:4], "little")
    return data[4 : 4 + size], data[4 + size :]
