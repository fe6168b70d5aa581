"""What a campaign has done so far: state.json, one for each seed, and a folder for every case that failed."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, field, to_builtins

from popstream.model.checked import InputError, convert, read_json
from popstream.model.files import write_json
from popstream.soak.batch import Outcome

__all__ = ["Done", "SoakError", "State", "keep", "read_case"]

CASE = "case.json"


class SoakError(InputError):
    """A campaign's file is damaged, or what is asked for goes not together; one line."""


class Case(Struct, frozen=True):
    """case.json of a folder that is kept: which case it is, and what was wrong."""

    kind: str
    seed: int
    index: int
    said: str
    repeat: str


class Done(Struct):
    """Of a kind: ranges of indices that are done, in order; what was seen; seconds of a core; failures by index."""

    ranges: list[tuple[int, int]] = []
    counts: dict[str, int] = {}
    seconds: Annotated[float, Meta(ge=0)] = 0.0
    failed: dict[str, str] = {}

    @property
    def cases(self) -> int:
        """How many are done."""
        return sum(end - start for start, end in self.ranges)

    def missing(self) -> Iterator[int]:
        """Indices that are not done, from the lowest on, without end."""
        index = 0
        for start, end in self.ranges:
            yield from range(index, start)
            index = end
        while True:
            yield index
            index += 1

    def add(self, outcomes: Iterable[Outcome], seconds: float) -> None:
        """Take the outcomes of a batch."""
        indices = {index for start, end in self.ranges for index in range(start, end)}
        counts = Counter(self.counts)
        for outcome in outcomes:
            indices.add(outcome.index)
            counts.update(outcome.counts)
            if outcome.said is not None:
                self.failed[str(outcome.index)] = outcome.said
        self.counts, self.seconds = dict(counts), self.seconds + seconds
        self.ranges = joined(sorted(indices))


def joined(indices: list[int]) -> list[tuple[int, int]]:
    """Sorted numbers as ranges [start, end)."""
    ranges: list[tuple[int, int]] = []
    for index in indices:
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return ranges


class State(Struct):
    """Of a campaign: its seed, and what is done of each kind."""

    seed: int
    kinds: dict[str, Done] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, seed: int) -> "State":
        """That of `seed`; a new one where none was begun. SoakError for a damaged file."""
        path = place(folder, seed)
        if not path.exists():
            return cls(seed)
        return convert(read_json(path, SoakError), cls, path, SoakError, "the state")

    def write(self, folder: Path) -> None:
        """Keep it."""
        write_json(place(folder, self.seed), to_builtins(self))


def place(folder: Path, seed: int) -> Path:
    """The file of a campaign's state."""
    return folder / f"seed{seed}.json"


def keep(folder: Path, module: str, name: str, seed: int, outcome: Outcome) -> Path:
    """Write a case that failed into a folder of its own, whole, and return it."""
    where = folder / "failures" / f"{name}-seed{seed}-{outcome.index}"
    beside = where.with_name(f".{where.name}")
    shutil.rmtree(beside, ignore_errors=True)
    case = Case(module, seed, outcome.index, outcome.said or "", f"popstream soak --repeat {where}")
    files = outcome.files | {CASE: (json.dumps(to_builtins(case), indent=1) + "\n").encode()}
    for file, content in files.items():
        (beside / file).parent.mkdir(parents=True, exist_ok=True)
        (beside / file).write_bytes(content)
    shutil.rmtree(where, ignore_errors=True)
    beside.rename(where)
    return where


def read_case(folder: Path) -> Case:
    """What a kept folder (or its case.json) says of itself. SoakError."""
    path = folder / CASE if folder.is_dir() else folder
    content: Any = read_json(path, SoakError, f"a kept case has its {CASE}")
    return convert(content, Case, path, SoakError, "the case")
