"""Manifests made to do harm: what reads without end, what steers a terminal, and names that lead elsewhere."""

import os
from pathlib import Path

import pytest

from tests.model.damage import edit, refused


def test_a_pipe_in_place_of_the_tensors_is_not_waited_for(folder: Path):
    (folder / "network.safetensors").unlink()
    os.mkfifo(folder / "network.safetensors")
    assert refused(folder).endswith("network.safetensors: is no regular file; copy what it gives into one")


def test_a_link_to_bytes_without_end_is_not_read(folder: Path):
    (folder / "network.safetensors").unlink()
    (folder / "network.safetensors").symlink_to("/dev/zero")
    assert "is no regular file" in refused(folder)


@pytest.mark.parametrize("label", ["\x1b[31mred", "a\nb", "a\u202eb", "\x07"])
def test_a_class_that_would_steer_the_terminal(folder: Path, label: str):
    edit(folder, lambda content: content["classes"].__setitem__(0, label))
    assert "classes must be distinct names of printable letters, not " in refused(folder)


@pytest.mark.parametrize("name", ["../evil", "/etc/x", "a/b", "..", "a\x00b", ".hidden"])
def test_a_name_that_leads_elsewhere(folder: Path, name: str):
    """It becomes a folder's, below --root."""
    edit(folder, lambda content: content.update(name=name))
    assert f"name must be letters, digits, '_', '.' or '-', not {name!r}" in refused(folder)
    edit(folder, lambda content: content.update(name="x", tensors=name))
    assert "tensors must be a file name beside it" in refused(folder)
