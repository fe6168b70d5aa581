"""How long each file of tests takes (seconds.json): long ones are handed out first, and `--within` leaves them away.

`make test ARGUMENTS=--measure` writes seconds.json anew; a file that it does not know yet counts as UNKNOWN. They are a
processor's seconds, of the tests and of what they start and wait for: whatever else runs does not change them.
"""

import gc
import json
import os
import signal
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

# Two processes run tests side by side (Makefile), and threads of one that wait for a core spin on the other's.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would all that they start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

KEPT = Path(__file__).with_name("seconds.json")
UNKNOWN = 5.0  # seconds
GARBAGE = (50_000, 20, 20)  # a design is many small objects, all of them needed to its end
BEFORE = pytest.StashKey[float]()  # a processor's seconds at the last report
PROCESSOR = "processor_seconds"  # of a report


def seconds() -> dict[str, float]:
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def file_of(item: pytest.Item | pytest.TestReport) -> str:
    return item.nodeid.split("::")[0]


def short(times: dict[str, float], budget: float) -> set[str]:
    """The shortest files that take no more than `budget` seconds one after the other."""
    chosen, total = set(), 0.0
    for name, took in sorted(times.items(), key=lambda entry: entry[1]):
        total += took
        if total > budget:
            break
        chosen.add(name)
    return chosen


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("popstream")
    group.addoption(
        "--within", type=float, metavar="SECONDS", help="only the shortest files, of so many seconds in all"
    )
    group.addoption("--measure", action="store_true", help="write how long each file took to tests/seconds.json")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    known = seconds()
    times = {file_of(item): known.get(file_of(item), UNKNOWN) for item in items}
    items.sort(key=lambda item: -times[file_of(item)])  # stable: a file's tests stay in their order
    budget = config.getoption("within")
    if budget is not None:
        chosen = short(times, budget)
        config.hook.pytest_deselected(items=[item for item in items if file_of(item) not in chosen])
        items[:] = [item for item in items if file_of(item) in chosen]


def processor_seconds() -> float:
    """Of this process, and of those that it has waited for."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what went by since the last report of this process."""
    report = yield
    now, stash = processor_seconds(), item.config.stash
    setattr(report, PROCESSOR, now - stash.get(BEFORE, now))
    stash[BEFORE] = now
    return report


def pytest_collection_finish() -> None:
    """What is imported and collected stays: the garbage collector need not walk over it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    if not config.getoption("measure"):
        return
    took: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[file_of(report)] += getattr(report, PROCESSOR)
    KEPT.write_text(json.dumps({name: round(took[name], 2) for name in sorted(took)}, indent=1) + "\n")
    terminalreporter.write_line(f"{KEPT}: {len(took)} files, {sum(took.values()):.0f} s of a processor")
