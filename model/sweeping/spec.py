"""Sweep specifications: model/sweeps/<spec>.toml, a list of recipes with options varied over a grid and seeds.

    title = "..."                    # what the runs show
    seeds = [0, 1, 2]
    cpus = 1                         # cores of a run
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
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from popstream.model.training.recipe import RECIPES, RecipeError, check_keys, check_recipe, read_toml

SPECS = Path(__file__).parents[1] / "sweeps"
SHORT = {"weight_bits": "w", "act_bits": "a", "grad_bits": "g"}
GROUP = {"name": str, "recipe": str, "set": dict, "grid": dict, "axes": list, "points": list}


@dataclass(frozen=True)
class Run:
    """One training: its name, group, seed, the options varied, the whole recipe, and the runs it needs first.

    `needs` has their names, and by their digests what they were made from.
    """

    name: str
    group: str
    seed: int
    options: dict[str, Any]
    recipe: dict[str, Any]
    needs: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of all that fixes the run's weights."""
        return hashlib.sha256(json.dumps([self.recipe, self.needs], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Spec:
    """A sweep: its name and title, what a run takes of a machine, and the runs in order, needed ones first."""

    name: str
    title: str
    cpus: int
    gpus: float
    runs: tuple[Run, ...]


def load_spec(path: Path) -> Spec:
    """Read and check a specification; raises RecipeError naming the file and the key."""
    table = read_toml(path, "sweep", SPECS)
    check_keys(path, "sweep", table, {"title", "seeds", "cpus", "gpus", "group"}, {"title", "seeds", "group"})
    seeds, cpus, gpus = table["seeds"], table.get("cpus", 1), table.get("gpus", 0)
    if not isinstance(seeds, list) or not seeds or any(type(s) is not int or s < 0 for s in seeds):
        raise RecipeError(f"{path}: seeds must be a list of whole numbers from 0, not {seeds!r}")
    if len(set(seeds)) != len(seeds):
        raise RecipeError(f"{path}: seeds must differ, not {seeds!r}")
    if type(cpus) is not int or cpus < 1:
        raise RecipeError(f"{path}: cpus must be a whole number from 1, not {cpus!r}")
    if type(gpus) not in (int, float) or not (0 <= gpus <= 1 or gpus == int(gpus)):
        raise RecipeError(f"{path}: gpus must be a share from 0 to 1, or a whole number, not {gpus!r}")
    if not isinstance(table["group"], list) or not table["group"]:
        raise RecipeError(f"{path}: a sweep needs at least one table [[group]], not {table['group']!r}")
    runs: list[Run] = []
    for index, group in enumerate(table["group"]):
        for key, kind in GROUP.items():
            if not isinstance(group.get(key, kind()), kind):
                raise RecipeError(f"{path}: {key} of group {index} must be of type {kind.__name__}, not {group[key]!r}")
        check_keys(path, f"group {index}", group, set(GROUP), {"name", "recipe"})
        runs += group_runs(path, group, seeds, runs)
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(
                f"{path}: two runs are named {name!r}; give each group its name and each point its option"
            )
    return Spec(path.stem, table["title"], cpus, gpus, tuple(runs))


def combinations(path: Path, group: dict) -> list[dict[str, Any]]:
    """The options of each point of a group's grid or list; one point without any where it has neither."""
    if "grid" in group and ("axes" in group or "points" in group):
        raise RecipeError(f"{path}: group {group['name']!r} has a grid, or axes and points, not both")
    if "grid" in group:
        for key, values in group["grid"].items():
            if not isinstance(values, list) or not values:
                raise RecipeError(f"{path}: {key} of group {group['name']!r} must be a list of values, not {values!r}")
        return [dict(zip(group["grid"], point, strict=True)) for point in itertools.product(*group["grid"].values())]
    axes, points = group.get("axes", []), group.get("points", [[]])
    for point in points:
        if not isinstance(point, list) or len(point) != len(axes):
            raise RecipeError(f"{path}: a point of group {group['name']!r} has a value an axis ({axes}), not {point!r}")
    return [dict(zip(axes, point, strict=True)) for point in points]


def group_runs(path: Path, group: dict, seeds: list[int], earlier: list[Run]) -> list[Run]:
    """The runs of one group, all seeds of a point together."""
    source = Path(group["recipe"]) if group["recipe"].endswith(".toml") else RECIPES / f"{group['recipe']}.toml"
    if not source.exists():
        raise RecipeError(f"{path}: group {group['name']!r}: no recipe {source}")
    table = tomllib.loads(source.read_text())
    runs = []
    for point in combinations(path, group):
        for seed in seeds:
            changed = copy.deepcopy(table) | {"seed": seed}
            for key, value in (group.get("set", {}) | point).items():
                override(path, changed, key, value)
            needs = resolve(path, changed, seed, earlier)
            label = "-".join([group["name"], *(label_of(k, v) for k, v in point.items()), f"seed{seed}"])
            where = Path(f"{path}, {label}")
            runs.append(Run(label, group["name"], seed, point, check_recipe(where, changed), needs))
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


def placed(recipe: dict, folder: Path) -> dict:
    """The recipe with the checkpoints of other runs of the sweep under `folder`."""
    result = copy.deepcopy(recipe)
    for phase in result["phase"]:
        for key in ("teacher", "start"):
            if phase[key].startswith("@/"):
                phase[key] = str(folder / phase[key][2:])
    return result
