"""Copies of a sweep's checkpoints that outlive the machine: model/underway/<spec>/<run>/, or another folder.

Of a run that goes on: its newest whole state and the networks of its finished phases; of one that is done, its network
and its row. A run whose own folder is empty goes on from its copy, to the same weights, here or elsewhere.
"""

from pathlib import Path
from typing import Any

from msgspec import Struct

import popstream
from popstream.model.checked import convert, read_json
from popstream.model.files import write_whole
from popstream.model.sweeping.spec import Run
from popstream.model.training.checkpoint import TrainingError, read_state
from popstream.model.training.recipe import RecipeError

UNDERWAY = Path(popstream.__file__).parent / "model" / "underway"
STATE, FINAL, ROW, NEEDS = "state.pt", "final.pt", "result.json", "needs.json"


class Result(Struct, frozen=True):
    """result.json: the recipe a run was trained by, and its row of the table."""

    recipe: dict[str, Any]
    row: dict[str, Any]


def finished(run: Run, folder: Path) -> dict[str, Any] | None:
    """The row of a run that was trained by this recipe; None where it was not, or what it needs has changed since."""
    path = folder / run.name / ROW
    if not path.exists():
        return None
    result = convert(read_json(path, RecipeError), Result, path, RecipeError, "the result")
    return result.row if result.recipe == run.recipe and not changed(run, folder / run.name) else None


def begun_from(place: Path) -> dict[str, str]:
    """What the run in `place` was begun from (Run.origin); nothing where it was not begun, or needs no other."""
    path = place / NEEDS
    return convert(read_json(path, RecipeError), dict[str, str], path, RecipeError) if path.exists() else {}


def changed(run: Run, place: Path) -> list[str]:
    """What the run in `place` was begun from that is another one today; files as far as they are known."""
    begun = begun_from(place)
    unknown = run.files | dict.fromkeys(run.needs | run.zoo)
    return [name for name, digest in run.origin.items() if begun.get(name, unknown[name]) != digest]


def phases(run: Run) -> list[str]:
    return [f"{phase['name']}.pt" for phase in run.recipe["phase"]]


def resumable(run: Run, folder: Path) -> bool:
    """Whether the run in `folder` is done, or goes on, by this recipe."""
    place = folder / run.name
    if finished(run, folder):
        return (place / FINAL).exists()
    try:
        return read_state(place / STATE, run.recipe) is not None and not changed(run, place)
    except TrainingError:
        return False


def copy(run: Run, folder: Path, to: Path) -> None:
    """Bring the copy in `to` to what the run has in `folder`: whole files only, and none that is no longer needed."""
    place, kept = folder / run.name, to / run.name
    wanted = [NEEDS, FINAL, ROW] if finished(run, folder) else [NEEDS, *phases(run), STATE]
    wanted = [name for name in wanted if (place / name).exists()]
    for name in wanted:
        content = (place / name).read_bytes()
        if not (kept / name).exists() or (kept / name).read_bytes() != content:
            write_whole(kept / name, content)
    for name in {NEEDS, FINAL, ROW, STATE, *phases(run)}.difference(wanted):
        (kept / name).unlink(missing_ok=True)


def restore(run: Run, folder: Path, *copies: Path) -> Path | None:
    """Fill the run's own folder, where nothing is in it, from the first copy that it can go on from; returns which."""
    if (folder / run.name / STATE).exists() or (folder / run.name / FINAL).exists():
        return None
    for kept in copies:
        if resumable(run, kept):
            copy(run, kept, folder)
            return kept
    return None
