"""Export a trained network: `popstream export resnet20-w1a2` writes model/zoo/<net>/.

`make export` packs its ROM image (model/rom/image.py) after that.
The manifest carries the accuracy of the frozen integers on every test image, and how the network was trained.
"""

import dataclasses
import platform
from pathlib import Path

import torch

from popstream.model import data, manifest
from popstream.model.freezing import frozen
from popstream.model.freezing.freeze import FreezeError, freeze
from popstream.model.networks import build_network


def read_checkpoint(path: Path) -> dict:
    """A finished checkpoint of training; raises FreezeError where it is missing, damaged or not finished."""
    if not path.exists():
        raise FreezeError(f"No {path}; run `make train NET=<net>` to its end first")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different type for each kind of damage
        raise FreezeError(f"{path} is damaged ({type(error).__name__}); remove it and train again") from error
    if not {"top1_float", "command"} <= state.keys():
        raise FreezeError(f"{path} is not a finished training; run `make train NET=<net>` to its end first")
    return state


def export(name: str, checkpoint: Path, folder: Path) -> manifest.Network:
    """Freeze the checkpoint, evaluate its integers on the test set and save the manifest to `folder`."""
    if not manifest.FILE_NAME.fullmatch(name):  # it names folders, too
        raise FreezeError(f"A network's name must be letters, digits, '_', '.' or '-', not {name!r}")
    state = read_checkpoint(checkpoint)
    model = build_network(state["config"])
    model.load_state_dict(state["model"])
    source = data.load(state["data"])
    training = {
        "recipe": state["recipe"], "last_epoch": state["log"][-1], "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(), "command": state["command"],
    }  # fmt: skip
    calibration = source.train_images[: data.CALIBRATION_IMAGES]
    stream_bits = state["recipe"].get("export", {}).get("stream_bits", 16)
    network = freeze(model, calibration, name, source.name, source.classes, stream_bits, training=training)
    logits = frozen.run(network, source.test_images, progress=True)
    accuracy = {
        "top1_float": round(state["top1_float"], 2),
        "top1_frozen": round(frozen.top1(logits, source.test_labels), 2),
        "images": len(logits),
    }
    network = dataclasses.replace(network, accuracy=accuracy)
    manifest.save(network, folder)
    return network
