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
from popstream.model.networks.stored import CheckpointError, read_stored, rebuild

FINISHED = {
    "config": dict,
    "model": dict,
    "data": str,
    "recipe": dict,
    "log": list,
    "command": str,
    "top1_float": float,
}

CURVE = ("phase", "loss", "top1_train", "top1_test")  # of every epoch, which the manifest keeps


def read_checkpoint(path: Path) -> dict:
    """A finished checkpoint of training; raises FreezeError where it is missing, damaged or not finished."""
    if not path.exists():
        raise FreezeError(f"No {path}; run `make train NET=<net>` to its end first")
    try:
        state = read_stored(path, FINISHED, "it is no finished training; run `make train NET=<net>` to its end first")
    except CheckpointError as error:
        raise FreezeError(str(error)) from error
    if not state["log"]:
        raise FreezeError(f"{path}: its log is empty; run `make train NET=<net>` to its end first")
    return state


def export(name: str, checkpoint: Path, folder: Path) -> manifest.Network:
    """Freeze the checkpoint, evaluate its integers on the test set and save the manifest to `folder`."""
    if not manifest.FILE_NAME.fullmatch(name):  # it names folders, too
        raise FreezeError(f"A network's name must be letters, digits, '_', '.' or '-', not {name!r}")
    state = read_checkpoint(checkpoint)
    try:
        model = rebuild(state, checkpoint)
    except CheckpointError as error:
        raise FreezeError(str(error)) from error
    source = data.load(state["data"])
    training = {
        "recipe": state["recipe"], "last_epoch": state["log"][-1], "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(), "command": state["command"],
        "curve": [{key: row[key] for key in CURVE} for row in state["log"]],
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
    try:
        manifest.save(network, folder)
    except OSError as error:
        raise FreezeError(f"{folder} could not be written ({error.strerror}); what was there is unchanged") from error
    return network
