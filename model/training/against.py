"""Images/s of training in this version beside another one of the repository, by turns in one run.

Each version has a process of its own, the other one in a checkout of its own beside; a turn is model.training.speed's
measurement of one phase, and the median of the turns counts. Of one CPU thread the processor's time is taken. The
recipe is this version's, read here: the other one heeds what it knows of it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.table import Table

import popstream
from popstream.model.training.recipe import RecipeError, load_recipe

ROOT = Path(popstream.__file__).parents[1]
# In either version's folder: a phase's name comes in on a line, its speeds go out on one.
WORKER = """
import json, sys, time
from pathlib import Path
recipe, threads, steps = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
import torch
if Path("popstream").is_dir():
    from popstream.model.training import speed
else:  # before 2026-11-28
    from model import speed
if threads:
    torch.set_num_threads(threads)
if threads == 1:
    time.perf_counter = time.process_time
chosen = {}
for line in sys.stdin:
    name = line.strip()
    (phase,) = (phase for phase in recipe["phase"] if phase["name"] == name)
    known = {"precision": chosen[name]} if name in chosen else {}
    row = speed.measure(recipe, phase, torch.device("cpu"), steps, 1, False, **known)
    if "precision" in row:
        chosen[name] = row["precision"]
    print(json.dumps(row), flush=True)
"""


class AgainstError(ValueError):
    """The other version cannot be measured; the message says why."""


@contextmanager
def checkout(ref: str) -> Iterator[tuple[Path, str]]:
    """A folder with that version's files, gone afterwards, and its short name; AgainstError where git has none."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "other"
        added = ["git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", str(folder), ref]
        try:
            subprocess.run(added, check=True, capture_output=True, text=True)
            asked = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
            name = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            told = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
            raise AgainstError(f"--against must name a version that git has here, not {ref!r} ({told})") from error
        try:
            yield folder, name
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(folder)], capture_output=True)


@contextmanager
def worker(folder: Path, recipe: dict, threads: int, steps: int) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", WORKER, json.dumps(recipe), str(threads), str(steps)]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def turn(process: subprocess.Popen, phase: str) -> dict[str, Any]:
    """One measurement by a version's process; AgainstError where it ends instead."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{phase}\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())
    except (OSError, ValueError):
        process.kill()
        _, errors = process.communicate()
        told = errors.strip().splitlines()[-1] if errors.strip() else "it ended without a word"
        raise AgainstError(f"A version cannot be measured at phase {phase}: {told}") from None


def compare(
    path: Path, ref: str, phases: Sequence[str] = (), steps: int = 6, turns: int = 5, threads: int = 1
) -> dict[str, Any]:
    """Images/s of both versions and of the plain loop for phases of a recipe, medians of `turns` turns, on a CPU."""
    recipe = load_recipe(path)
    trained = [phase["name"] for phase in recipe["phase"] if not phase["frozen"]]
    names = list(phases) or list(dict.fromkeys([trained[0], trained[-1]]))
    for name in names:
        if name not in trained:
            raise RecipeError(f"{path}: no phase {name!r} to measure; there are {', '.join(trained)}")
    rows = []
    with (
        checkout(ref) as (folder, short),
        worker(ROOT, recipe, threads, steps) as ours,
        worker(folder, recipe, threads, steps) as theirs,
    ):
        for name in names:
            pairs = [(turn(ours, name), turn(theirs, name)) for _ in range(turns)]
            plain = statistics.median(a["plain_images_per_s"] for a, _ in pairs)
            mine = statistics.median(a["images_per_s"] for a, _ in pairs)
            other = statistics.median(b["images_per_s"] for _, b in pairs)
            rows.append({"phase": name, "plain": plain, "other": other, "ours": mine,
                         "over_other": round(mine / other, 2), "over_plain": round(mine / plain, 2)})  # fmt: skip
    return {"network": path.stem, "against": short, "threads": threads, "turns": turns, "steps": steps, "rows": rows}


def table(report: dict[str, Any]) -> Table:
    """The report as a table."""
    shown = Table(title=f"{report['network']}: training on cpu, {report['threads']} threads, images/s")
    for column in ("phase", "plain", report["against"], "this", f"this / {report['against']}", "this / plain"):
        shown.add_column(column, justify="left" if column == "phase" else "right")
    for row in report["rows"]:
        shown.add_row(*(str(value) for value in row.values()))
    return shown
