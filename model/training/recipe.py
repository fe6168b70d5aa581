"""Recipes: model/recipes/<net>.toml, a network and the phases that train it, read and checked here."""

import json
import math
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import NODEFAULT, UNSET, Meta, Struct, UnsetType
from msgspec.structs import fields

from popstream.model import data, manifest
from popstream.model.checked import InputError, convert, read_bytes
from popstream.model.manifest.node import CLASSES, STREAM_BITS
from popstream.model.networks import DEFAULT_FAMILY, HARDWARE_FAMILIES, phase_config
from popstream.model.quantizers import FLOAT_BITS

RECIPES = Path(__file__).parents[1] / "recipes"
ZOO_PREFIX = "zoo/"  # of a teacher or start that is a manifest of model/zoo
MOST_TOML = 2**20  # bytes that are read at all
FILES = ("state", "final")  # names of checkpoints that no phase may have

Optimizer = Literal["sgd", "adam", "adadelta", "rmsprop"]
Schedule = Literal["cosine", "step"]
OPTIMIZERS = get_args(Optimizer)
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z",
        description="at most 64 letters, digits, '_', '.' or '-', a letter or digit first",
    ),
]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
NotNegative = Annotated[
    float, Meta(ge=0, le=1e30, description="a number from 0 to 1e30")
]  # torch counts in float32, which ends at 3.4e38

SHORT = 4
"""A warm-up takes a part in so many of a phase at most: else one of a single epoch ends at its highest rate."""


class RecipeError(InputError):
    """A recipe is missing or wrong; the message names the file and the key."""


class Phase(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One [[phase]]: bits, and how long and by what the weights are trained. Ranges of bits are the network's affair.

    `teacher` and `start` name a network to learn from and to begin from; `label_weight` is the labels' share beside a
    teacher; `warmup` is in epochs, at most a quarter of them; a `frozen` phase trains on the integers.

    What is UNSET may be left away and is not stored then, so that checkpoints from before it came go on: with
    `other_data` teacher and start may be of another data set; with `taught_once` the teacher sees each image once,
    uncropped, and once mirrored; `smoothing` is the share of the labels spread over all classes; `ema` averages the
    weights over some 1 / (1 - ema) steps, and the average is what is evaluated and kept; `restarts` begins the cosine
    anew that often; `decay_to_zero` lets weight_decay fall linearly; `crop` trains on smaller pieces of the images,
    in the first `crop_epochs` alone if that is given.
    """

    name: Name
    epochs: Annotated[int, Meta(ge=1, le=100_000)]
    weight_bits: int = FLOAT_BITS
    act_bits: int = FLOAT_BITS
    grad_bits: int = FLOAT_BITS
    batch: Annotated[int, Meta(ge=1, le=2**20)] = 128
    optimizer: Optimizer = "sgd"
    schedule: Schedule = "cosine"
    lr: NotNegative = 0.1
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    weight_decay: NotNegative = 1e-4
    warmup: NotNegative = 1.0
    teacher: str = ""
    label_weight: NotNegative = 1.0
    start: str = ""
    frozen: bool = False
    other_data: bool | UnsetType = UNSET
    taught_once: bool | UnsetType = UNSET
    smoothing: Annotated[float, Meta(ge=0, lt=1)] | UnsetType = UNSET
    ema: Annotated[float, Meta(ge=0, lt=1)] | UnsetType = UNSET
    restarts: Annotated[int, Meta(ge=0, le=1000)] | UnsetType = UNSET
    decay_to_zero: bool | UnsetType = UNSET
    crop: Annotated[int, Meta(ge=1, le=2**16 - 1)] | UnsetType = UNSET
    crop_epochs: Annotated[int, Meta(ge=1)] | UnsetType = UNSET


class Augment(Struct, frozen=True, forbid_unknown_fields=True):
    """What training images go through: shifts of up to `shift` pixels either way, mirroring by chance."""

    shift: Annotated[int, Meta(ge=0, le=64)] = 0
    flip: bool = False


class Export(Struct, frozen=True, forbid_unknown_fields=True):
    """How the network is frozen: the width R of its stream."""

    stream_bits: Annotated[int, Meta(ge=STREAM_BITS[0], le=STREAM_BITS[-1])] = STREAM_BITS[-1]


class Seeded(Struct, frozen=True):
    """A seed that takes the place of a recipe's."""

    seed: Seed


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole recipe; `network` is the table of a family (model/networks)."""

    data: str
    network: dict[str, Any]
    phase: Annotated[list[Phase], Meta(min_length=1, description="at least one table [[phase]]")]
    seed: Seed = 0
    augment: Augment = Augment()
    export: Export = Export()


PHASE_DEFAULTS: dict[str, Any] = {
    field.name: field.default for field in fields(Phase) if field.default not in (NODEFAULT, UNSET)
}


def read_toml(path: Path, what: str, folder: Path) -> dict[str, Any]:
    """The table in a TOML file; RecipeError, which lists those of `folder`, where there is no such `what`."""
    if not os.path.exists(path):  # which a name too long is not either
        known = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise RecipeError(f"No {what} {path}; there are {known}, or write one")
    try:
        return tomllib.loads(read_bytes(path, MOST_TOML, RecipeError).decode())
    except RecipeError:
        raise
    except (ValueError, RecursionError) as error:  # of TOML or of UTF-8
        raise RecipeError(f"{path}: not valid TOML ({error})") from error


def load_recipe(path: Path) -> dict:
    """Read and check a recipe, defaults filled in; raises RecipeError naming the file and the key."""
    return check_recipe(path, read_toml(path, "recipe", RECIPES))


def check_recipe(path: Path, table: dict) -> dict:
    """The recipe as read from `path` with the phases' defaults filled in; RecipeError naming the file and the key."""
    recipe = convert(table, Recipe, path, RecipeError, "the recipe")
    if recipe.data not in data.DATA_SETS:
        raise RecipeError(f"{path}: data must be one of {', '.join(data.DATA_SETS)}, not {recipe.data!r}")
    filled = table | {"phase": [PHASE_DEFAULTS | phase for phase in table["phase"]]}
    for index, phase in enumerate(recipe.phase):
        check_names(path, index, phase, [p.name for p in recipe.phase[:index]])
        try:
            config = phase_config(filled, filled["phase"][index])
            check_images(recipe.data, config, phase.batch)
            check_options(recipe.data, config, phase)
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{path}: phase {phase.name!r}: {error}") from error
        check_frozen(path, index, phase, recipe.network)
    return filled


def check_images(name: str, config: Any, batch: int) -> None:
    """Raise ValueError where the images of a data set do not suit the network; its files are not looked at."""
    for what, has, takes in (
        ("classes", data.CLASSES.get(name), config.classes),
        ("in_channels", data.CHANNELS[name], config.in_channels),
    ):
        if has not in (None, takes):
            raise ValueError(f"The data set {name} has {what} = {has}, the recipe's network {takes}")
    if config.family in HARDWARE_FAMILIES and config.weight_bits != FLOAT_BITS and config.classes not in CLASSES:
        raise ValueError(
            f"a network of few bits has at most {CLASSES[-1]} classes, not {config.classes}: its label has 8 bits in "
            "hardware"
        )
    if config.least_map(data.SIZES[name]) == 1 and batch == 1:
        raise ValueError("batch must be at least 2, not 1: the last maps have one pixel, and BatchNorm needs two")


def check_options(name: str, config: Any, phase: Phase) -> None:
    """Raise ValueError where an option of training has nothing to act on."""
    if phase.taught_once and not phase.teacher:
        raise ValueError("taught_once is about a teacher; name one, or leave it away")
    if phase.restarts and phase.schedule != "cosine":
        raise ValueError(f"restarts begin a cosine anew; leave them away with schedule = {phase.schedule!r}")
    if phase.ema and phase.frozen:
        raise ValueError("a frozen phase has integers, which have no average; leave ema away")
    if phase.crop is UNSET:
        if phase.crop_epochs is not UNSET:
            raise ValueError("crop_epochs says how long images are cropped; give crop, too, or leave it away")
        return
    if phase.crop_epochs is not UNSET and phase.crop_epochs > phase.epochs:
        raise ValueError(f"crop_epochs must be at most {phase.epochs}, the phase's epochs, not {phase.crop_epochs}")
    if phase.frozen:
        raise ValueError("a frozen phase computes as the hardware does, on whole images; leave crop away")
    if phase.crop > data.SIZES[name]:
        raise ValueError(f"crop must be at most {data.SIZES[name]}, the images' size, not {phase.crop}")
    if config.least_map(phase.crop) < 1:
        raise ValueError(f"crop {phase.crop} is too small: the last maps would have no pixel")


def check_frozen(path: Path, index: int, phase: Phase, table: dict) -> None:
    """Raise RecipeError where a phase is to train on the integers of a network that has none."""
    if not phase.frozen:
        return
    family = table.get("family", DEFAULT_FAMILY)
    if family != "resnet":
        raise RecipeError(f"{path}: phase {index} is frozen, which family 'resnet' alone can be, not {family!r}")
    for key in ("weight_bits", "act_bits"):
        if getattr(phase, key) == FLOAT_BITS:
            raise RecipeError(f"{path}: phase {index} is frozen; give it {key} of 1 to 8, not {getattr(phase, key)}")
    if phase.grad_bits != FLOAT_BITS:
        raise RecipeError(f"{path}: a frozen phase has float gradients; leave grad_bits of phase {index} away")


def check_names(path: Path, index: int, phase: Phase, earlier: list[str]) -> None:
    """Raise RecipeError where a phase's name is taken (case does not tell files apart everywhere), or a name it gives
    is unknown.
    """
    taken = (*FILES, *earlier)
    if phase.name.casefold() in (name.casefold() for name in taken):
        raise RecipeError(
            f"{path}: name of phase {index} must not be taken ({', '.join(taken)}, in capitals or not), "
            f"not {phase.name!r}"
        )
    recipes = sorted(p.stem for p in RECIPES.glob("*.toml") if p.stem != path.stem)
    zoo = [f"{ZOO_PREFIX}{folder.name}" for folder in manifest.zoo()]
    for key, name in (("teacher", phase.teacher), ("start", phase.start)):
        if name and not name.endswith(".pt") and name not in (*earlier, *recipes, *zoo):
            raise RecipeError(
                f"{path}: {key} of phase {index} must be an earlier phase ({', '.join(earlier)}), another recipe "
                f"({', '.join(recipes)}), a network of the zoo ({', '.join(zoo)}) or a checkpoint (.pt), not {name!r}"
            )


def check_seed(seed: int) -> int:
    """The seed, where it is one that a recipe may have; else RecipeError."""
    return convert({"seed": seed}, Seeded, "The command line", RecipeError).seed


def recipe_up_to(recipe: dict, phase: int) -> str:
    """The part of a recipe that fixes the weights at the end of a phase: later phases may still be changed."""
    return json.dumps(recipe | {"phase": recipe["phase"][: phase + 1]}, sort_keys=True)


def learning_rate(phase: dict, epoch: float) -> float:
    """Linear warm-up, of a short phase at most a quarter, then a cosine to 0 (begun anew `restarts` times, in equal
    parts: Loshchilov and Hutter, arXiv:1608.03983), or steps of 1/10 at 1/2 and 3/4 of the epochs that are left.
    """
    warmup = min(phase["warmup"], phase["epochs"] / SHORT)
    if epoch < warmup:
        return phase["lr"] * (epoch + 1e-3) / warmup
    done = (epoch - warmup) / (phase["epochs"] - warmup)
    if phase["schedule"] == "cosine":
        cycles = phase.get("restarts", 0) + 1
        in_cycle = done * cycles - min(math.floor(done * cycles), cycles - 1)
        return phase["lr"] * 0.5 * (1 + math.cos(math.pi * in_cycle))
    return phase["lr"] * 0.1 ** ((done >= 0.5) + (done >= 0.75))


def weight_decay(phase: dict, epoch: float) -> float:
    """The phase's, or with `decay_to_zero` what is left of it when it falls linearly to 0 at the last epoch's end."""
    return phase["weight_decay"] * (1 - epoch / phase["epochs"] if phase.get("decay_to_zero") else 1.0)


def crop_of(phase: dict, epoch: int) -> int | None:
    """Pixels a side of an epoch's pieces of the images; None where they are whole."""
    return phase.get("crop") if epoch < phase.get("crop_epochs", phase["epochs"]) else None
