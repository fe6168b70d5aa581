"""Ways to change a saved manifest behind its back, for tests."""

import json
from collections.abc import Callable
from pathlib import Path

import safetensors.numpy


def edit(folder: Path, change: Callable) -> None:
    content = json.loads((folder / "network.json").read_text())
    change(content)
    (folder / "network.json").write_text(json.dumps(content))


def edit_tensors(folder: Path, change: Callable) -> None:
    tensors = {key: value.copy() for key, value in safetensors.numpy.load_file(folder / "network.safetensors").items()}
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "network.safetensors")


def entry(content: dict, name: str) -> dict:
    return next(node for node in content["nodes"] if node["name"] == name)
