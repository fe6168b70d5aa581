"""Sweep specifications: model/sweeps/<spec>.toml, a list of recipes with options varied over a grid and seeds.

    title = "..."                    # what the runs show
    seeds = [0, 1, 2]
    cpus = 1                         # cores of a run
    jobs = 1                         # cores used at once on this machine, if not all: runs go one after the other
    gpus = 0.25                      # share of a GPU of a run; 0 or left away: it trains on its cores
    [[group]]
    name = "dorefa"                  # names of runs begin with it
    recipe = "resnet20-dorefa"       # in model/recipes, or a path
    set = { "phase.*.epochs" = 50 }  # options of all its runs
    grid = { "phase.*.weight_bits" = [1, 2], "phase.*.act_bits" = [1, 2] }       # all combinations, or
    axes = ["phase.*.weight_bits", "phase.*.act_bits"]                           # these alone:
    points = [[1, 1], [2, 2]]

An option is named by its place in the recipe: network.<key>, augment.<key>, export.<key> or phase.<name>.<key>, with *
for every phase. The value "@float" of `teacher` or `start` is the network of the group "float" (of one run a seed),
which is trained first.
"""

import copy
import hashlib
import itertools
import json
import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from popstream.model.checked import convert
from popstream.model.training.checkpoint import RUN_PREFIX, digest_of
from popstream.model.training.recipe import (
    RECIPES,
    ZOO_PREFIX,
    Name,
    Recipe,
    RecipeError,
    Seed,
    check_recipe,
    read_toml,
)

SPECS = Path(__file__).parents[1] / "sweeps"
MOST_RUNS = 1000  # of a sweep
SHORT = {"weight_bits": "w", "act_bits": "a", "grad_bits": "g"}


class Group(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One [[group]]: a recipe, options of all its runs, and those that vary: a grid, or axes with points."""

    name: Name
    recipe: str
    set: dict[str, Any] = {}
    grid: dict[str, Annotated[list[Any], Meta(min_length=1)]] | UnsetType = UNSET
    axes: list[str] | UnsetType = UNSET
    points: list[list[Any]] | UnsetType = UNSET


class Sweep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A specification as it stands in its file; `cpus` and `gpus` are what a run takes of a machine."""

    title: str
    seeds: Annotated[list[Seed], Meta(min_length=1)]
    group: Annotated[list[Group], Meta(min_length=1, description="at least one table [[group]]")]
    cpus: Annotated[int, Meta(ge=1, le=1024)] = 1
    gpus: Annotated[float, Meta(ge=0, le=64)] = 0.0
    jobs: Annotated[int, Meta(ge=1, le=1024)] | None = None


@dataclass(frozen=True)
class Run:
    """One training: its name, group, seed, the options varied, the whole recipe, and the runs it needs first.

    `needs` has their names, and by their digests what they were made from; `zoo` the networks of the zoo that it begins
    from or that teach it, with theirs, and `files` checkpoints elsewhere, as far as they are here.
    """

    name: str
    group: str
    seed: int
    options: dict[str, Any]
    recipe: dict[str, Any]
    needs: dict[str, str]
    zoo: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> dict[str, str]:
        """All that the run begins from and is taught by, with their digests."""
        return self.needs | self.zoo | self.files

    @property
    def digest(self) -> str:
        """SHA-256 of all that fixes the run's weights."""
        return hashlib.sha256(json.dumps([self.recipe, self.origin], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Spec:
    """A sweep: its name and title, what a run takes of a machine, and the runs in order, needed ones first."""

    name: str
    title: str
    cpus: int
    gpus: float
    runs: tuple[Run, ...]
    jobs: int | None = None


def load_spec(path: Path) -> Spec:
    """Read and check a specification; raises RecipeError naming the file and the key."""
    sweep = convert(read_toml(path, "sweep", SPECS), Sweep, path, RecipeError, "the sweep")
    if len(set(sweep.seeds)) != len(sweep.seeds):
        raise RecipeError(f"{path}: seeds must differ, not {sweep.seeds!r}")
    if sweep.gpus > 1 and not sweep.gpus.is_integer():
        raise RecipeError(f"{path}: gpus must be a share from 0 to 1, or a whole number, not {sweep.gpus!r}")
    runs: list[Run] = []
    digests = cache(digest_of)  # of each network once, as it is now
    for group in sweep.group:
        runs += group_runs(path, group, sweep.seeds, runs, digests)
    for name, count in Counter(run.name for run in runs).items():
        if count > 1:
            raise RecipeError(
                f"{path}: two runs are named {name!r}; give each group its name and each point its option"
            )
    return Spec(path.stem, sweep.title, sweep.cpus, sweep.gpus, tuple(runs), sweep.jobs)


def combinations(path: Path, group: Group) -> list[dict[str, Any]]:
    """The options of each point of a group's grid or list; one point without any where it has neither."""
    if group.grid is not UNSET:
        if group.axes is not UNSET or group.points is not UNSET:
            raise RecipeError(f"{path}: group {group.name!r} has a grid, or axes and points, not both")
        return [dict(zip(group.grid, point, strict=True)) for point in itertools.product(*group.grid.values())]
    axes, points = group.axes or [], [[]] if group.points is UNSET else group.points
    for point in points:
        if len(point) != len(axes):
            raise RecipeError(f"{path}: a point of group {group.name!r} has a value an axis ({axes}), not {point!r}")
    return [dict(zip(axes, point, strict=True)) for point in points]


def group_runs(
    path: Path, group: Group, seeds: list[int], earlier: list[Run], digests: Callable[[str], str | None]
) -> list[Run]:
    """The runs of one group, all seeds of a point together."""
    source = Path(group.recipe) if group.recipe.endswith(".toml") else RECIPES / f"{group.recipe}.toml"
    if not os.path.exists(source):  # which a name too long is not either
        raise RecipeError(f"{path}: group {group.name!r}: no recipe {source}")
    table = read_toml(source, "recipe", RECIPES)
    convert(table, Recipe, source, RecipeError, "the recipe")
    points = math.prod(map(len, group.grid.values())) if group.grid is not UNSET else len(group.points or ())
    count = len(earlier) + max(1, points) * len(seeds)
    if count > MOST_RUNS:
        raise RecipeError(f"{path}: {count:,} runs with group {group.name!r}; at most {MOST_RUNS:,} are allowed")
    runs = []
    for point in combinations(path, group):
        for seed in seeds:
            changed = copy.deepcopy(table) | {"seed": seed}
            for key, value in (group.set | point).items():
                override(path, changed, key, value)
            needs = resolve(path, changed, seed, earlier)
            label = "-".join([group.name, *(label_of(k, v) for k, v in point.items()), f"seed{seed}"])
            where = Path(f"{path}, {label}")
            recipe = check_recipe(where, changed)
            runs.append(Run(label, group.name, seed, point, recipe, needs, *networks(recipe, digests)))
    return runs


def label_of(key: str, value: Any) -> str:
    """An option in a run's name: w1, a2, activationmish, bits-0-...: letters, digits, '_', '.' and '-'."""
    last = key.rsplit(".", 1)[-1]
    text = str(value) if not isinstance(value, dict | list) else repr(value)
    return SHORT.get(last, last) + "".join(c if c.isalnum() or c in "._" else "_" for c in text)


def override(path: Path, recipe: dict, key: str, value: Any) -> None:
    """Set one option of a recipe by its place."""
    parts = key.split(".")
    if parts[0] == "phase" and len(parts) == 3:
        chosen = [phase for phase in recipe["phase"] if parts[1] in ("*", phase["name"])]
        if not chosen:
            names = ", ".join(phase["name"] for phase in recipe["phase"])
            raise RecipeError(f"{path}: option {key!r} names no phase; there are {names}, and * for all")
        for phase in chosen:
            phase[parts[2]] = value
    elif parts[0] in ("network", "augment", "export") and len(parts) == 2:
        recipe.setdefault(parts[0], {})[parts[1]] = value
    elif key == "data":
        recipe[key] = value
    else:
        raise RecipeError(
            f"{path}: option {key!r} must be data, network.<key>, augment.<key>, export.<key> or phase.<name>.<key>"
        )


def resolve(path: Path, recipe: dict, seed: int, earlier: list[Run]) -> dict[str, str]:
    """Replace "@group" by the checkpoint of that group's run of the same seed (a path below the sweep's folder)."""
    needs = {}
    for phase in recipe["phase"]:
        for key in ("teacher", "start"):
            name = phase.get(key, "")
            if isinstance(name, str) and name.startswith("@"):
                found = [run for run in earlier if run.group == name[1:] and run.seed == seed]
                if len(found) != 1:
                    groups = ", ".join(dict.fromkeys(run.group for run in earlier)) or "none"
                    raise RecipeError(f"{path}: {key} {name!r} must be an earlier group of one run a seed ({groups})")
                phase[key] = f"@/{found[0].name}/final.pt"
                needs[found[0].name] = found[0].digest
    return needs


def networks(recipe: dict[str, Any], digests: Callable[[str], str | None]) -> tuple[dict[str, str], dict[str, str]]:
    """The networks of the zoo that a recipe's phases begin from or are taught by, and the checkpoints elsewhere that
    are here, each with its digest. Trained anew, they are other ones by the same name.
    """
    names = {phase[key] for phase in recipe["phase"] for key in ("teacher", "start")}
    names = {name for name in names if name and not name.startswith(RUN_PREFIX)}
    found = {name: digest for name in sorted(names) if (digest := digests(name)) is not None}
    zoo = {name: digest for name, digest in found.items() if name.startswith(ZOO_PREFIX)}
    return zoo, {name: digest for name, digest in found.items() if name not in zoo}
