"""Ways to change a saved manifest behind its back, and what loading it then says, for tests."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.numpy

from popstream.model.manifest import ManifestError, load


def edit(folder: Path, change: Callable) -> None:
    content = json.loads((folder / "network.json").read_text())
    change(content)
    (folder / "network.json").write_text(json.dumps(content))


def edit_tensors(folder: Path, change: Callable) -> None:
    tensors = {key: value.copy() for key, value in safetensors.numpy.load_file(folder / "network.safetensors").items()}
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "network.safetensors")
    digest = hashlib.sha256((folder / "network.safetensors").read_bytes()).hexdigest()
    edit(folder, lambda content: content.update(sha256=digest))


def entry(content: dict, name: str) -> dict:
    return next(node for node in content["nodes"] if node["name"] == name)


def refused(folder: Path) -> str:
    """The message of the error that loading raises: one line that begins with a file's path."""
    with pytest.raises(ManifestError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    return message
