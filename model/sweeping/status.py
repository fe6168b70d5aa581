"""How far a sweep is: what is done, what runs, and how long the rest will take. Reads only, while it runs too."""

import datetime
import fcntl
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from popstream.model.quantizers import FLOAT_BITS
from popstream.model.sweeping.spec import Run, Spec
from popstream.model.sweeping.underway import STATE, finished
from popstream.model.training.checkpoint import TrainingError, read_state

RECENT = 10  # epochs of a phase from whose time the next ones' is told
Pace = dict[tuple, list[float]]


@dataclass(frozen=True)
class Progress:
    """A run: `state` is done, running, stopped or waiting; `left` seconds to its end, None where nothing tells."""

    run: str
    state: str
    epoch: int
    epochs: int
    phase: str
    top1: float | None
    seconds: float | None
    left: float | None


def kind(phase: dict) -> tuple:
    """What an epoch's time depends on within one sweep."""
    floats = (phase["weight_bits"] == FLOAT_BITS, phase["act_bits"] == FLOAT_BITS)
    return (*floats, bool(phase["teacher"]), phase["frozen"])


def logged(run: Run, folder: Path) -> list[dict]:
    """The epochs that a run has behind it."""
    try:
        state = read_state(folder / run.name / STATE, run.recipe)
    except TrainingError:
        return []
    return state["log"] if state else []


def held(lock: Path) -> bool:
    """Whether a process holds this lock now."""
    if not lock.exists():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def pace(phase: dict, own: list[dict], known: Pace) -> float | None:
    """Seconds an epoch: of the phase itself, of one like it in another run, or of the slowest known."""
    mine = [row["seconds"] for row in own if row["phase"] == phase["name"]][-RECENT:]
    if mine:
        return statistics.median(mine)
    if kind(phase) in known:
        return statistics.median(known[kind(phase)])
    return max((statistics.median(times) for times in known.values()), default=None)


def progress(spec: Spec, folder: Path) -> list[Progress]:
    """Every run of a sweep, in its order."""
    logs = {run.name: logged(run, folder) for run in spec.runs}
    known: Pace = {}
    for run in spec.runs:
        phases = {phase["name"]: phase for phase in run.recipe["phase"]}
        for phase in phases.values():
            times = [row["seconds"] for row in logs[run.name] if row["phase"] == phase["name"]][-RECENT:]
            if times:
                known.setdefault(kind(phase), []).extend(times)
    return [one(run, folder, logs[run.name], known) for run in spec.runs]


def one(run: Run, folder: Path, log: list[dict], known: Pace) -> Progress:
    phases = run.recipe["phase"]
    epochs = sum(phase["epochs"] for phase in phases)
    if row := finished(run, folder):
        top1 = row["top1_frozen"] if row["top1_frozen"] is not None else row["top1_float"]
        return Progress(run.name, "done", epochs, epochs, phases[-1]["name"], top1, None, 0.0)
    state = "running" if held(folder / run.name / "lock") else "stopped" if log else "waiting"
    done = {phase["name"]: sum(entry["phase"] == phase["name"] for entry in log) for phase in phases}
    rest = [(phase["epochs"] - done[phase["name"]], pace(phase, log, known)) for phase in phases]
    left = None if any(time is None for _, time in rest) else sum(count * (time or 0) for count, time in rest)
    now = next((phase for phase in phases if done[phase["name"]] < phase["epochs"]), phases[-1])
    top1 = log[-1]["top1_test"] if log else None
    return Progress(run.name, state, len(log), epochs, now["name"], top1, pace(now, log, known), left)


def hours(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def table(spec: Spec, rows: list[Progress], now: datetime.datetime) -> tuple[Table, str]:
    """The rows as a table, and one line on the whole list, run one after the other."""
    shown = Table(title=spec.title)
    for column in ("run", "state", "phase", "epoch", "top-1 %", "s an epoch", "left"):
        shown.add_column(column, justify="left" if column in ("run", "state", "phase") else "right")
    for row in rows:
        cells: list[Any] = [row.run, row.state, row.phase, f"{row.epoch}/{row.epochs}"]
        cells += ["" if row.top1 is None else f"{row.top1:.2f}", "" if row.seconds is None else f"{row.seconds:.0f}"]
        shown.add_row(*cells, "" if row.state == "done" else "?" if row.left is None else hours(row.left))
    done = sum(row.state == "done" for row in rows)
    told = f"{done} of {len(rows)} runs done"
    if done == len(rows):
        return shown, told
    if any(row.left is None for row in rows):
        return shown, f"{told}; how long the rest takes is known after its first epoch"
    left = sum(row.left or 0 for row in rows)
    end = (now + datetime.timedelta(seconds=left)).strftime("%Y-%m-%d %H:%M")
    return shown, f"{told}; about {hours(left)} left one after the other, until {end}"
