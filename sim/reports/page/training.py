"""How a network was trained, from the free-form record in its manifest: whatever is not there is left out."""

from collections.abc import Mapping
from typing import Any

from popstream.model.manifest import Network

__all__ = ["record"]

COLUMNS = ("name", "weight_bits", "act_bits", "epochs", "batch", "optimizer", "schedule", "lr", "weight_decay",
           "teacher", "start")  # fmt: skip
CURVE = ("loss", "top1_train", "top1_test")


def plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and value != ""


def phases(recipe: Any) -> list[dict[str, Any]]:
    """The phases of a recipe, by COLUMNS; [] if there are none that can be told."""
    given = recipe.get("phase") if isinstance(recipe, dict) else None
    rows = [phase for phase in given if isinstance(phase, dict)] if isinstance(given, list) else []
    return [{key: phase[key] if plain(phase.get(key)) else "" for key in COLUMNS} for phase in rows]


def curve(given: Any) -> dict[str, Any] | None:
    """The rows of a training log as a list for each of CURVE, and where phases end; None if it is not complete."""
    rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
    rows = [row for row in rows if all(isinstance(row.get(key), (int, float)) for key in CURVE)]
    if len(rows) < 2:
        return None
    names = [row.get("phase", "") for row in rows]
    breaks = [place for place in range(1, len(rows)) if names[place] != names[place - 1]]
    return {key: [row[key] for row in rows] for key in CURVE} | {"breaks": breaks, "phases": list(dict.fromkeys(names))}


def facts(given: Mapping[str, Any]) -> dict[str, Any]:
    """Single values of the record, of its recipe and of the last epoch."""
    recipe = given.get("recipe") if isinstance(given.get("recipe"), dict) else {}
    last = given.get("last_epoch") if isinstance(given.get("last_epoch"), dict) else {}
    assert isinstance(recipe, dict)
    assert isinstance(last, dict)
    found = {key.replace("_", " "): value for key, value in given.items() if plain(value)}
    found |= {key.replace("_", " "): value for key, value in recipe.items() if plain(value)}
    augment = recipe.get("augment")
    if isinstance(augment, dict):
        found["augmentation"] = ", ".join(f"{key} {value}".lower() for key, value in augment.items() if plain(value))
    return found | {f"last epoch, {key.replace('_', ' ')}": value for key, value in last.items() if plain(value)}


def record(network: Network) -> dict[str, Any]:
    """The part "training" of report.json."""
    given = network.training
    recipe = given.get("recipe")
    shape = recipe.get("network") if isinstance(recipe, dict) else None
    return {
        "facts": facts(given),
        "network": {key.replace("_", " "): value for key, value in shape.items()} if isinstance(shape, dict) else {},
        "phases": phases(recipe),
        "curve": curve(given.get("curve")),
    }
