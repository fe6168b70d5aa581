"""A campaign: faults drawn by a seed, each in a copy of the checkout, and what noticed it.

    found = campaign(200, seed=0, root=Path("build"))

A fault is tried with the tests that reach its line, those of its own room first, quick ones before others, until one
fails, for as long as MOST; what none notices runs through `popstream sim`, if that imports it: its comparison with
golden may. One process at a time. What was found is kept in build/mutate-code/, from which the same command goes on: a
fault that was noticed stays so while its file is as it was, one that was not is tried again when any code or test has
changed.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import parso

from popstream.model.files import write_json
from popstream.mutation.draw import Mutant, MutationError, draw, files, text_of
from popstream.mutation.reach import Reach, measure
from popstream.mutation.tree import Tree, checkout, copied
from popstream.mutation.worker import Job

__all__ = ["Verdict", "campaign"]

MOST = 10.0  # seconds of tests that one fault is tried with, as they took without it
SLOWER = 5.0  # times what the tests take without the fault, and
LEAST = 30.0  # seconds, are what a fault's may take before it counts as one that does not end
CLOCK = 40.0  # times the seconds of a processor that may pass by the clock, where other work is beside it
WAYS = ("test", "time", "memory", "sim")  # what a fault can be noticed by
SIMULATED = ["sim", "digits-w1a2", "--images", "20"]
IN_SIMULATION = ("sim/golden", "model/manifest")  # it needs no torch
SIMULATION = 300.0  # seconds of a processor that it may take

Told = Callable[[str], None]


@dataclass(frozen=True)
class Verdict:
    """by: "test", "time", "memory", "sim", or "" of a survivor, then `said` says what was tried. cost: seconds."""

    by: str
    said: str
    tried: int
    cost: float


def tried(mutant: Mutant, tree: Tree, reach: Reach, log: Path) -> Verdict:
    """Plant the fault, and run what may notice it."""
    text = tree.text(mutant.file)
    own, others = reach.tests(mutant, parso.parse(text))
    left, cost, count = MOST, 0.0, 0
    with tree.changed(mutant.file, text_of(mutant, text)):
        for tests in filter(None, (own, others)):
            taken = within(tests, reach, left)
            took = sum(reach.seconds[name] for name in taken)
            left, count = left - took, count + len(taken)
            if not taken:
                break
            seconds = LEAST + SLOWER * took
            names = sorted({name.split("::")[0] for name in taken})
            answer = tree.do(Job(names, taken, log=str(log), cpu=seconds, wall=CLOCK * seconds))
            cost += answer.used
            if answer.ended != "passed":
                by = "test" if answer.ended == "failed" else answer.ended
                return Verdict(by, answer.said, count, round(cost, 1))
        if mutant.file.rpartition("/")[0] in IN_SIMULATION:
            answer = tree.do(simulation(log))
            cost += answer.used
            if answer.ended != "passed":
                return Verdict("sim", answer.said, count, round(cost, 1))
    said = f"{count} of the {len(own) + len(others)} tests that reach it" if own or others else "no test reaches it"
    return Verdict("", said, count, round(cost, 1))


def within(tests: Sequence[str], reach: Reach, seconds: float) -> list[str]:
    """The first of some tests that take no more in all."""
    taken = []
    for name in tests:
        seconds -= reach.seconds[name]
        if seconds < 0:
            break
        taken.append(name)
    return taken


def simulation(log: Path) -> Job:
    """`popstream sim` in the copy."""
    return Job([], verb=SIMULATED, log=str(log), cpu=SIMULATION, wall=CLOCK * SIMULATION)


class Kept:
    """The verdicts of earlier runs, in a file."""

    def __init__(self, path: Path, tree: Tree):
        self.path, self.tree = path, tree
        try:
            self.rows: dict[str, dict[str, Any]] = json.loads(path.read_text())
        except (OSError, ValueError):
            self.rows = {}

    def key(self, mutant: Mutant) -> str:
        text = hashlib.sha256(self.tree.text(mutant.file).encode()).hexdigest()[:16]
        return f"{mutant.file} {text} {mutant.operator} {mutant.occurrence}"

    def get(self, mutant: Mutant) -> Verdict | None:
        row = self.rows.get(self.key(mutant))
        if row is None or (not row["by"] and row["tree"] != self.tree.digest):
            return None
        return Verdict(row["by"], row["said"], row["tried"], row["cost"])

    def put(self, mutant: Mutant, verdict: Verdict) -> None:
        self.rows[self.key(mutant)] = asdict(verdict) | {"tree": self.tree.digest}
        write_json(self.path, self.rows)


def chosen(known: Sequence[str], given: Sequence[str]) -> list[str]:
    """The files that are named, or all. MutationError for one in which no fault is planted."""
    for file in given:
        if file not in known:
            raise MutationError(f"{file}: no file that faults are planted in; these are {', '.join(known)}")
    return list(given) or list(known)


def campaign(
    count: int,
    seed: int,
    root: Path,
    given: Sequence[str] = (),
    told: Told = lambda text: None,
    source: Path | None = None,
) -> dict[str, Any]:
    """Plant `count` faults, in the files given or in all; returns the content of mutate-code.json.

    `told` is called with what is under way. source: the checkout (the one that runs). MutationError.
    """
    began, place = time.monotonic(), root / "mutate-code"
    source = checkout() if source is None else checkout(source)
    log = (place / "tests.log").resolve()
    with copied(source, place) as tree:
        names = chosen(files(tree.folder), given)
        drawn = draw({name: tree.text(name) for name in names}, count, seed)
        rooms = sorted({str(Path(name).parent) for name in names})
        reach = measure(tree, rooms, place / "reach", lambda text: told(f"without a fault: {text}"))
        kept = Kept(place / "verdicts.json", tree)
        waiting = [mutant for mutant in drawn if kept.get(mutant) is None]
        if waiting and (answer := tree.do(simulation(log))).ended != "passed":
            raise MutationError(f"popstream {' '.join(SIMULATED)} fails without a fault: {answer.said}; {log}")
        first = time.monotonic()
        for number, mutant in enumerate(waiting, 1):
            verdict = tried(mutant, tree, reach, log)
            kept.put(mutant, verdict)
            left = (time.monotonic() - first) / number * (len(waiting) - number) / 60
            told(f"{len(drawn) - len(waiting) + number} of {len(drawn)}, {left:.0f} minutes left: {mutant}: "
                 f"{verdict.said if verdict.by else 'NOT NOTICED by ' + verdict.said}")  # fmt: skip
        verdicts = [kept.get(mutant) for mutant in drawn]
    return figures(list(zip(drawn, verdicts, strict=True)), seed, time.monotonic() - began)


def figures(found: Sequence[tuple[Mutant, Verdict | None]], seed: int, seconds: float) -> dict[str, Any]:
    """The content of mutate-code.json: counts by file, survivors, and processor minutes."""
    rows: dict[str, dict[str, Any]] = {}
    survivors = []
    for mutant, verdict in sorted(found, key=lambda pair: (pair[0].file, pair[0].start)):
        assert verdict is not None
        row = rows.setdefault(mutant.file, {"file": mutant.file, **dict.fromkeys(("planted", *WAYS, "survivors"), 0)})
        row["planted"] += 1
        row[verdict.by or "survivors"] += 1
        if not verdict.by:
            survivors.append({"file": mutant.file, "line": mutant.start[0], "before": mutant.before,
                              "after": mutant.after, "tried": verdict.said})  # fmt: skip
    return {
        "seed": seed, "planted": len(found), "noticed": len(found) - len(survivors), "files": list(rows.values()),
        "survivors": survivors, "minutes": round(seconds / 60, 1),
        "cpu_minutes": round(sum(verdict.cost for _, verdict in found if verdict) / 60, 1),
    }  # fmt: skip
