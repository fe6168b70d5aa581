"""Recipes: model/recipes/<net>.toml, a network and the phases that train it, read and checked here."""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

from popstream.model import data, manifest
from popstream.model.manifest.node import STREAM_BITS
from popstream.model.networks import DEFAULT_FAMILY, phase_config
from popstream.model.quantizers import FLOAT_BITS

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
RECIPES = Path(__file__).parents[1] / "recipes"
ZOO_PREFIX = "zoo/"  # of a teacher or start that is a manifest of model/zoo
REQUIRED = {"data", "network", "phase"}
OPTIONAL = {"seed": int, "augment": dict, "export": dict}
PHASE_REQUIRED = {"name", "epochs"}
PHASE_DEFAULTS = {
    "weight_bits": 32, "act_bits": 32, "grad_bits": 32, "batch": 128, "optimizer": "sgd", "schedule": "cosine",
    "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "warmup": 1.0, "teacher": "", "label_weight": 1.0,
    "start": "", "frozen": False,
}  # fmt: skip
OPTIMIZERS = ("sgd", "adam", "adadelta", "rmsprop")
SCHEDULES = ("cosine", "step")
FILES = ("state", "final")  # names of checkpoints that no phase may have


class RecipeError(ValueError):
    """A recipe is missing or wrong; the message names the file and the key."""


def check_keys(path: Path, where: str, table: dict, allowed: set, required: set) -> None:
    """Raise RecipeError for a key of `table` that is not allowed, or a required one that is missing."""
    for key in sorted(table.keys() - allowed):
        raise RecipeError(f"{path}: {where} has an unknown option {key!r}; it takes {', '.join(sorted(allowed))}")
    for key in sorted(required - table.keys()):
        raise RecipeError(f"{path}: {where} lacks {key!r}")


def read_toml(path: Path, what: str, folder: Path) -> dict[str, Any]:
    """The table in a TOML file; RecipeError, which lists those of `folder`, where there is no such `what`."""
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise RecipeError(f"No {what} {path}; there are {known}, or write one")
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: {error}") from error


def load_recipe(path: Path) -> dict:
    """Read and check a recipe, defaults filled in; raises RecipeError naming the file and the key."""
    return check_recipe(path, read_toml(path, "recipe", RECIPES))


def check_recipe(path: Path, recipe: dict) -> dict:
    """The recipe as read from `path` with defaults filled in; raises RecipeError naming the file and the key."""
    check_keys(path, "recipe", recipe, REQUIRED | OPTIONAL.keys(), REQUIRED)
    for key, kind in (OPTIONAL | {"network": dict}).items():
        if not isinstance(recipe.get(key, kind()), kind):
            raise RecipeError(f"{path}: {key} must be of type {kind.__name__}, not {recipe[key]!r}")
    check_keys(path, "augment", recipe.get("augment", {}), {"shift", "flip"}, set())
    check_keys(path, "export", recipe.get("export", {}), {"stream_bits"}, set())
    stream_bits = recipe.get("export", {}).get("stream_bits", STREAM_BITS[-1])
    if stream_bits not in STREAM_BITS:
        raise RecipeError(f"{path}: stream_bits must be {STREAM_BITS[0]} to {STREAM_BITS[-1]}, not {stream_bits!r}")
    if recipe["data"] not in data.DATA_SETS:
        raise RecipeError(f"{path}: data must be one of {', '.join(data.DATA_SETS)}, not {recipe['data']!r}")
    if not isinstance(recipe["phase"], list) or not recipe["phase"]:
        raise RecipeError(f"{path}: a recipe needs at least one table [[phase]], not {recipe['phase']!r}")
    for index, phase in enumerate(recipe["phase"]):
        check_phase(path, index, phase, [p["name"] for p in recipe["phase"][:index]])
        recipe["phase"][index] = phase = PHASE_DEFAULTS | phase
        try:
            phase_config(recipe, phase)
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{path}: {error}") from error
        check_frozen(path, index, phase, recipe["network"])
    return recipe


def check_frozen(path: Path, index: int, phase: dict, table: dict) -> None:
    """Raise RecipeError where a phase is to train on the integers of a network that has none."""
    if not phase["frozen"]:
        return
    family = table.get("family", DEFAULT_FAMILY)
    if family != "resnet":
        raise RecipeError(f"{path}: phase {index} is frozen, which family 'resnet' alone can be, not {family!r}")
    for key in ("weight_bits", "act_bits"):
        if phase[key] == FLOAT_BITS:
            raise RecipeError(f"{path}: phase {index} is frozen; give it {key} of 1 to 8, not {phase[key]}")
    if phase["grad_bits"] != FLOAT_BITS:
        raise RecipeError(f"{path}: a frozen phase has float gradients; leave grad_bits of phase {index} away")


def check_phase(path: Path, index: int, phase: dict, earlier: list[str]) -> None:
    """Raise RecipeError where a phase's options are not among the allowed."""
    check_keys(path, f"phase {index}", phase, PHASE_DEFAULTS.keys() | PHASE_REQUIRED, PHASE_REQUIRED)
    for key, value in phase.items():
        default = PHASE_DEFAULTS.get(key, {"name": "", "epochs": 0}.get(key))
        kinds = (int, float) if isinstance(default, float) else (type(default),)
        if type(value) not in kinds:
            wanted = "a number" if float in kinds else f"of type {kinds[0].__name__}"
            raise RecipeError(f"{path}: {key} of phase {index} must be {wanted}, not {value!r}")
    if not NAME.fullmatch(phase["name"]) or phase["name"] in (*FILES, *earlier):
        raise RecipeError(
            f"{path}: name of phase {index} must be letters, digits, '_', '.' or '-', and not taken "
            f"({', '.join((*FILES, *earlier))}), not {phase['name']!r}"
        )
    for key, allowed in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        if phase.get(key, allowed[0]) not in allowed:
            raise RecipeError(f"{path}: {key} must be one of {', '.join(allowed)}, not {phase[key]!r}")
    for key in ("epochs", "batch"):
        if phase.get(key, 1) < 1:
            raise RecipeError(f"{path}: {key} must be at least 1, not {phase[key]}")
    recipes = sorted(p.stem for p in RECIPES.glob("*.toml") if p.stem != path.stem)
    zoo = [f"{ZOO_PREFIX}{folder.name}" for folder in manifest.zoo()]
    for key in ("teacher", "start"):
        name = phase.get(key, "")
        if name and not name.endswith(".pt") and name not in (*earlier, *recipes, *zoo):
            raise RecipeError(
                f"{path}: {key} must be an earlier phase ({', '.join(earlier)}), another recipe "
                f"({', '.join(recipes)}), a network of the zoo ({', '.join(zoo)}) or a checkpoint (.pt), not {name!r}"
            )


def recipe_up_to(recipe: dict, phase: int) -> str:
    """The part of a recipe that fixes the weights at the end of a phase: later phases may still be changed."""
    return json.dumps(recipe | {"phase": recipe["phase"][: phase + 1]}, sort_keys=True)


def learning_rate(phase: dict, epoch: float) -> float:
    """Linear warm-up, then a cosine to 0, or steps of 1/10 at 1/2 and 3/4 of the epochs that are left."""
    if epoch < phase["warmup"]:
        return phase["lr"] * (epoch + 1e-3) / phase["warmup"]
    done = (epoch - phase["warmup"]) / max(phase["epochs"] - phase["warmup"], 1e-9)
    if phase["schedule"] == "cosine":
        return phase["lr"] * 0.5 * (1 + math.cos(math.pi * done))
    return phase["lr"] * 0.1 ** ((done >= 0.5) + (done >= 0.75))
