"""Which tests reach which lines, and how long each takes, without a fault: what a fault is tried with.

Measured once by coverage, file of tests by file; kept in the folder `reach`, for as long as neither the code nor that
file of tests changes. Tests of other rooms are taken, too, where `make check` has them: they end soon.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parso.python.tree import Module

from popstream.model.files import write_json
from popstream.mutation.draw import ROOMS, Mutant, MutationError
from popstream.mutation.tree import Tree
from popstream.mutation.worker import Job

__all__ = ["Reach", "measure", "own_tests"]

SECONDS = 120.0  # of `make check`: the short files of tests that take no more in all
BATCH = 25.0  # seconds of files that are measured together
COVERED = ("sim/golden", "model/freezing", "model/quantizers", "model/manifest")
QUICK = 2.0  # seconds
IMPORT, SETUP = "", "setup"  # contexts of coverage: a line run by no test, and one run by what a test is given


@dataclass
class Reach:
    """seconds: of a processor, by test. lines: of each file of code, by line the tests that run it.

    A test stands for its whole file, as `file::`, where the line is run by a fixture, which others share.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    def add(self, kept: Mapping[str, Any]) -> None:
        """What was measured of some files of tests."""
        self.seconds |= kept["seconds"]
        for file, lines in kept["lines"].items():
            known = self.lines.setdefault(file, {})
            for line, tests in lines.items():
                known.setdefault(int(line), set()).update(tests)

    def tests(self, mutant: Mutant, tree: Module) -> tuple[list[str], list[str]]:
        """The tests that may notice the fault, of its own room and of others, in the order in which they are to run."""
        names = self.reaching(mutant, tree)
        whole = {name.removesuffix("::") for name in names if name.endswith("::")}
        chosen = {name for name in self.seconds if name in names or name.split("::")[0] in whole}
        folder = f"tests/{mutant.file.rpartition('/')[0]}/"

        def order(name: str) -> tuple[bool, str, float]:
            seconds = self.seconds[name]
            return seconds > QUICK, name.split("::")[0], seconds  # a file together: its tests share fixtures

        ordered = sorted(chosen, key=order)
        return [t for t in ordered if t.startswith(folder)], [t for t in ordered if not t.startswith(folder)]

    def reaching(self, mutant: Mutant, tree: Module) -> set[str]:
        """Tests that run the fault's line, or the smallest part of its statement that has lines that are run."""
        lines = self.lines.get(mutant.file, {})
        node: Any = tree.get_leaf_for_position(mutant.start, include_prefixes=True)
        found: set[str] = set()
        while not found and node.type not in ("suite", "file_input"):
            found = set().union(*(lines.get(n, set()) for n in range(node.start_pos[0], node.end_pos[0] + 1)))
            node = node.parent
        if found <= {IMPORT}:  # run when the file is imported: whoever runs some of it may notice
            found = set().union(*lines.values()) if found else found
        return found - {IMPORT}


def own_tests(names: Sequence[str], rooms: Sequence[str] = ROOMS) -> list[str]:
    """The files of tests of these rooms."""
    folders = tuple(f"tests/{room}/" for room in rooms)
    return [name for name in names if name.startswith(folders) and Path(name).name.startswith("test_")]


def batches(tree: Tree, rooms: Sequence[str]) -> Iterator[list[str]]:
    """Files of tests that are measured together: the rooms' own each alone, then the short ones of all others."""
    own = own_tests(tree.names, rooms)
    yield from ([name] for name in own)
    kept: dict[str, float] = json.loads(tree.text("tests/seconds.json"))
    total, batch, size = 0.0, [], 0.0
    for name, took in sorted(kept.items(), key=lambda entry: entry[1]):
        total += took
        if total > SECONDS:
            break
        if name in own or name not in tree.names:
            continue
        batch.append(name)
        size += took
        if size > BATCH:
            yield batch
            batch, size = [], 0.0
    if batch:
        yield batch


def key(tree: Tree, batch: Sequence[str]) -> str:
    """What a batch's measurement rests on: the code of the rooms, and its tests."""
    names = [name for name in tree.names if name.startswith(tuple(f"{room}/" for room in COVERED))]
    digest = hashlib.sha256()
    for name in (*names, *batch):
        digest.update(f"{name}\n".encode() + (tree.folder / name).read_bytes())
    return digest.hexdigest()[:16]


def measure(tree: Tree, rooms: Sequence[str], folder: Path, progress: Callable[[str], None]) -> Reach:
    """Run the tests without a fault; what is in `folder` already is taken from there. MutationError where a test of
    the rooms' own fails; one of another room that fails here, for want of a tool say, is left out."""
    reach, whole = Reach(), list(batches(tree, rooms))
    for number, batch in enumerate(whole, 1):
        path = folder / f"{key(tree, batch)}.json"
        if not path.exists():
            progress(f"{number} of {len(whole)}: {batch[0]}" + (f" and {len(batch) - 1} more" if batch[1:] else ""))
            write_json(path, measured(tree, batch, folder, bool(own_tests(batch, rooms))))
        reach.add(json.loads(path.read_text()))
    return reach


def measured(tree: Tree, batch: list[str], folder: Path, must_pass: bool) -> dict[str, Any]:
    """Seconds and lines of some files of tests."""
    import coverage

    data = folder.resolve() / "coverage"
    data.parent.mkdir(parents=True, exist_ok=True)
    data.unlink(missing_ok=True)
    log = folder.resolve() / "reach.log"
    answer = tree.do(Job(batch, cover=list(COVERED), data=str(data), log=str(log), cpu=3600.0, wall=36_000.0))
    if answer.ended != "passed" and (must_pass or not answer.seconds):
        if must_pass:
            raise MutationError(f"{batch[0]} fails without a fault: {answer.said}; {log}")
        return {"seconds": {}, "lines": {}}
    left_out = set(answer.failed)
    seconds = {name: took for name, took in answer.seconds.items() if name not in left_out}
    found = coverage.CoverageData(str(data))
    found.read()
    lines: dict[str, dict[int, list[str]]] = {}
    for path in found.measured_files():
        file = str(Path(path).relative_to(tree.folder))
        lines[file] = {
            line: sorted(tests_of(contexts) - left_out) for line, contexts in found.contexts_by_lineno(path).items()
        }
    data.unlink(missing_ok=True)
    return {"seconds": seconds, "lines": lines}


def tests_of(contexts: Sequence[str]) -> set[str]:
    """The tests of some contexts, `test|setup` and the like; of what sets a test up, its whole file."""
    found = set()
    for context in contexts:
        test, _, when = context.rpartition("|")
        found.add(f"{test.split('::')[0]}::" if when == SETUP else test)
    return found
