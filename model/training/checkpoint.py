"""Checkpoints of training: written beside and renamed, read back and checked, and networks rebuilt from them."""

import hashlib
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from popstream.model import data, manifest
from popstream.model.files import write_whole
from popstream.model.freezing.thaw import ThawError, thaw
from popstream.model.networks.layers import QuantNetwork
from popstream.model.networks.stored import CheckpointError, read_stored, rebuild
from popstream.model.training.recipe import PHASE_DEFAULTS, RECIPES, ZOO_PREFIX, recipe_up_to

STATE = {
    "recipe": str, "phase": int, "epoch": int, "log": list, "model": dict, "optimizer": dict, "generator": Tensor,
    "rng": Tensor,
}  # fmt: skip
WEIGHTS = {"model": dict}  # of a finished phase
NETWORK = WEIGHTS | {"config": dict}
RUN_PREFIX = "@/"  # of a teacher or start that is another run of the same sweep, in the folder beside


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what is kept."""


def save(state: dict, path: Path) -> None:
    """Write beside, then rename: `path` is always a whole checkpoint."""
    content = BytesIO()  # torch's own writing to a full disk fails in words that do not tell so
    torch.save(state, content)
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        reason = error.strerror or error
        raise TrainingError(f"{path} could not be written ({reason}); the checkpoint before it is intact") from error


def read(path: Path, needs: dict[str, Any], otherwise: str) -> dict:
    """A checkpoint, on the CPU; TrainingError where it is missing, damaged or lacks what it needs (read_stored)."""
    if not path.exists():
        raise TrainingError(f"No checkpoint {path}; train it first")
    try:
        return read_stored(path, needs, otherwise)
    except CheckpointError as error:
        raise TrainingError(str(error)) from error


def read_state(path: Path, recipe: dict) -> dict | None:
    """The checkpoint to go on from, or None; raises TrainingError where it is damaged or another recipe's."""
    if not path.exists():
        return None
    state = read(path, STATE, f"remove {path.parent} to start again")
    try:
        same = filled(state["recipe"]) == filled(recipe_up_to(recipe, state["phase"]))
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise TrainingError(f"{path}: its recipe cannot be read; remove {path.parent} to start again") from error
    if not same:
        raise TrainingError(f"{path} was made by another recipe; remove {path.parent} to start again")
    return state


def filled(recipe: str) -> dict:
    """A recipe stored as JSON, with the defaults of options that came after it was stored."""
    table = json.loads(recipe)
    return table | {"seed": table.get("seed", 0), "phase": [PHASE_DEFAULTS | phase for phase in table["phase"]]}


def restore(generator: torch.Generator, state: Tensor, seed: int) -> bool:
    """Set the generator of augmentation to a checkpoint's state.

    False where that is of another kind of device, which has other generators: it is seeded anew, by `seed`.
    """
    try:
        generator.set_state(state)
    except (RuntimeError, TypeError):
        generator.manual_seed(seed)
        return False
    return True


def host(model: nn.Module) -> dict:
    """The weights on the CPU."""
    return {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}


def source(name: str, out: Path) -> Path:
    """Where the network `name` lies: a file (.pt), the zoo (zoo/<net>), another run of the sweep ("@/<run>/final.pt"),
    a phase of this training in `out`, or another recipe's result.
    """
    if name.startswith(RUN_PREFIX):
        return out.parent / name.removeprefix(RUN_PREFIX)
    if name.startswith(ZOO_PREFIX):
        return manifest.ZOO / name.removeprefix(ZOO_PREFIX)
    if name.endswith(".pt"):
        return Path(name)
    phase = out / f"{name}.pt"
    if phase.exists() or not (RECIPES / f"{name}.toml").exists():
        return phase
    return Path("build") / name / "train" / "final.pt"


def digest_of(name: str) -> str | None:
    """SHA-256 of the network `name`, of the zoo or in a file; None where it is not here, or a phase of a training."""
    path = source(name, Path("of-no-training"))
    if path.is_dir():
        return manifest.load(path).hash
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def load_network(path: Path, student: Any, role: str = "Teacher", data_name: str | None = None) -> QuantNetwork:
    """The network of a finished phase or training, or of a manifest, on the CPU.

    TrainingError where it has other classes or image channels than the student's configuration, or was trained on
    another data set than `data_name`, if that is given.
    """
    network = thawed(path, role, data_name) if path.is_dir() else trained(path, role, data_name)
    for what in ("classes", "in_channels"):
        has, wanted = getattr(network.config, what), getattr(student, what)
        if has != wanted:
            raise TrainingError(f"{role} {path} has {has} {what}, the student {wanted}")
    return network


def other_data(trained_on: str | None, wanted: str | None) -> str:
    """What is to be said where a network was trained on another data set than the one wanted (any, if None)."""
    if None in (trained_on, wanted) or trained_on == wanted:
        return ""
    return f"was trained on {trained_on}, the recipe has {wanted}; if that is meant, write other_data = true"


def trained(path: Path, role: str, data_name: str | None) -> QuantNetwork:
    """The network of a checkpoint; TrainingError where it is not that of a finished phase."""
    state = read(path, NETWORK, f"as {role.lower()} name a finished network: a phase's file or final.pt")
    if other := other_data(state.get("data"), data_name):
        raise TrainingError(f"{role} {path} {other}")
    try:
        return rebuild(state, path)
    except CheckpointError as error:
        raise TrainingError(str(error)) from error


def thawed(path: Path, role: str, data_name: str | None) -> QuantNetwork:
    """The network of the manifest in `path`; TrainingError where it cannot be read or trained."""
    try:
        network = manifest.load(path)
        if other := other_data(network.data, data_name):
            raise TrainingError(f"{role} {path} {other}")
        images, count = data.load(network.data), data.CALIBRATION_IMAGES
        return thaw(network, images.train_images[:count], images.train_labels[:count])
    except (manifest.ManifestError, ThawError) as error:
        raise TrainingError(str(error)) from error


def load_teacher(path: Path, student: Any, device: torch.device, data_name: str | None = None) -> QuantNetwork:
    """A network for its outputs only."""
    return load_network(path, student, "Teacher", data_name).to(device).eval().requires_grad_(False)


def take_over(model: QuantNetwork, weights: dict, phase: str) -> None:
    """Load another network's weights; parameters of quantizers and RPReLUs that it lacks keep their first values."""
    own = model.state_dict()
    taken = {name: value for name, value in weights.items() if name in own or "quantizer." not in name}
    kept = [name for name in own.keys() - taken.keys() if "quantizer." in name or ".prelu." in name]
    try:
        model.load_state_dict(taken | {name: own[name] for name in kept})
    except RuntimeError as error:
        raise TrainingError(f"Phase {phase} cannot take over the weights: {error}") from error
