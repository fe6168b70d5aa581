"""A kind of random case: how one is drawn into a folder, and how what lies in a folder is checked.

A case depends on (seed, kind, index) alone; a folder that is kept is checked again without being drawn.
"""

import importlib
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["KINDS", "GiB", "Kind", "Verdict", "WrongError", "generator", "one_by_one", "said", "the_kind"]

NAMES = ("networks", "frames", "manifests", "images", "kills")
KINDS: Mapping[str, str] = {name: f"popstream.soak.{name}" for name in NAMES}
"""The module of each kind, which holds it as KIND."""

GiB = 2**30
TRACEBACK = "traceback.txt"  # in the folder of a case that nobody foresaw


class WrongError(AssertionError):
    """A case that is not as it must be; the message is one line."""


@dataclass(frozen=True)
class Verdict:
    """said: what is wrong with a case, in one line, or None. counts: what was seen, by name, to be added up."""

    said: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """What is known of a kind of case.

    Parameters
    ----------
    name : of its module; units (frames, kills) are called so.
    text : what is done with a case, for tables.
    draw : fills a folder with a case, from a generator.
    check : gives a verdict for each of several folders, in their order, one after the other; it is told the root of
        all that is built too.
    each : units in a case, at least; a count of the kind's own name tells how many they were.
    batch : cases that one process is given.
    seconds : that it may take from one verdict to the next.
    memory : bytes of address space that it may use; None for no bound.
    """

    name: str
    text: str
    draw: Callable[[np.random.Generator, Path], None]
    check: Callable[[Sequence[Path], Path], Iterator[Verdict]]
    each: int = 1
    batch: int = 1
    seconds: float = 120
    memory: int | None = None


def the_kind(module: str) -> Kind:
    """The kind of a module (a name of KINDS will do)."""
    kind: Kind = importlib.import_module(KINDS.get(module, module)).KIND
    return kind


def generator(seed: int, kind: str, index: int) -> np.random.Generator:
    """Of the case `index` of a kind in the campaign `seed`."""
    return np.random.default_rng([seed, zlib.crc32(kind.encode()), index])


def said(error: BaseException) -> str:
    """An error in one line, its class first where it is not a case's own."""
    text = " ".join(str(error).split())[:1000]
    return text if isinstance(error, WrongError) else f"{type(error).__name__}: {text}"


def one_by_one(
    check: Callable[[Path, Path], Mapping[str, int]],
) -> Callable[[Sequence[Path], Path], Iterator[Verdict]]:
    """A Kind's check made of one of a single folder, which returns counts or raises what is wrong."""

    def several(places: Sequence[Path], root: Path) -> Iterator[Verdict]:
        for place in places:
            try:
                yield Verdict(None, check(place, root))
            except Exception as error:
                if not isinstance(error, WrongError):
                    (place / TRACEBACK).write_text(traceback.format_exc())
                yield Verdict(said(error))

    return several
