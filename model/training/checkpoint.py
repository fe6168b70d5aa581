"""Checkpoints of training: written beside and renamed, read back and checked, and networks rebuilt from them."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from popstream.model import data, manifest
from popstream.model.freezing.thaw import ThawError, thaw
from popstream.model.networks import build_network
from popstream.model.networks.layers import QuantNetwork
from popstream.model.training.recipe import PHASE_DEFAULTS, RECIPES, ZOO_PREFIX, recipe_up_to


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what is kept."""


def save(state: dict, path: Path) -> None:
    """Write beside, then rename: `path` is always a whole checkpoint."""
    beside = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, beside)
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise TrainingError(f"{path} could not be written ({error}); the checkpoint before it is intact") from error


def read(path: Path) -> dict:
    """A checkpoint, on the CPU; raises TrainingError where it is missing or damaged."""
    if not path.exists():
        raise TrainingError(f"No checkpoint {path}; train it first")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different type for each kind of damage
        raise TrainingError(f"{path} is damaged ({type(error).__name__}); remove it to start again") from error


def read_state(path: Path, recipe: dict) -> dict | None:
    """The checkpoint to go on from, or None; raises TrainingError where it is damaged or another recipe's."""
    if not path.exists():
        return None
    state = read(path)
    if filled(state["recipe"]) != filled(recipe_up_to(recipe, state["phase"])):
        raise TrainingError(f"{path} was made by another recipe; remove {path.parent} to start again")
    return state


def filled(recipe: str) -> dict:
    """A recipe stored as JSON, with the defaults of options that came after it was stored."""
    table = json.loads(recipe)
    return table | {"seed": table.get("seed", 0), "phase": [PHASE_DEFAULTS | phase for phase in table["phase"]]}


def host(model: nn.Module) -> dict:
    """The weights on the CPU."""
    return {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}


def source(name: str, out: Path) -> Path:
    """Where the network `name` lies: a file (.pt), the zoo (zoo/<net>), a phase of this training in `out`, or another
    recipe's result.
    """
    if name.startswith(ZOO_PREFIX):
        return manifest.ZOO / name.removeprefix(ZOO_PREFIX)
    if name.endswith(".pt"):
        return Path(name)
    phase = out / f"{name}.pt"
    if phase.exists() or not (RECIPES / f"{name}.toml").exists():
        return phase
    return Path("build") / name / "train" / "final.pt"


def load_network(path: Path, student: Any, role: str = "Teacher") -> QuantNetwork:
    """The network of a finished phase or training, or of a manifest, on the CPU.

    TrainingError where it has other classes or image channels than the student's configuration.
    """
    network = thawed(path) if path.is_dir() else trained(path, role)
    for what in ("classes", "in_channels"):
        has, wanted = getattr(network.config, what), getattr(student, what)
        if has != wanted:
            raise TrainingError(f"{role} {path} has {has} {what}, the student {wanted}")
    return network


def trained(path: Path, role: str) -> QuantNetwork:
    """The network of a checkpoint; TrainingError where it is not that of a finished phase."""
    state = read(path)
    if "config" not in state:
        raise TrainingError(f"{role} {path} is not a finished network; name a phase's file or final.pt")
    network = build_network(state["config"])
    network.load_state_dict(state["model"])
    return network


def thawed(path: Path) -> QuantNetwork:
    """The network of the manifest in `path`; TrainingError where it cannot be read or trained."""
    try:
        network = manifest.load(path)
        images, count = data.load(network.data), data.CALIBRATION_IMAGES
        return thaw(network, images.train_images[:count], images.train_labels[:count])
    except (manifest.ManifestError, ThawError) as error:
        raise TrainingError(str(error)) from error


def load_teacher(path: Path, student: Any, device: torch.device) -> QuantNetwork:
    """A network for its outputs only."""
    return load_network(path, student).to(device).eval().requires_grad_(False)
