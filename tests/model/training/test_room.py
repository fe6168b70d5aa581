"""Networks and batches that memory does not hold: one line, before anything is allocated or where it ran out."""

import pytest
import torch

from popstream.model.training import room
from popstream.model.training.checkpoint import TrainingError
from popstream.model.training.room import told_of_memory
from popstream.model.training.train import train
from tests.model.training.test_train import RECIPE, write


def test_widths_that_no_memory_holds(tmp_path):
    path = write(tmp_path, RECIPE.replace("widths = [8]", "widths = [65535]"))
    said = (
        r"^phase 'float': 77,\d\d\d,\d\d\d,\d\d\d weights need 864.\d GiB to be trained, and .* are free; take smaller"
    )
    with pytest.raises(TrainingError, match=said):
        train(path, tmp_path / "out", torch.device("cpu"))
    assert not (tmp_path / "out").exists()


def test_what_is_free_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "free_memory", lambda: 1000)
    with pytest.raises(TrainingError, match=r"GiB to be trained, and 0\.0 are free"):
        train(write(tmp_path), tmp_path / "out", torch.device("cpu"))


def test_memory_that_runs_out_in_a_phase_is_one_line():
    phase = {"name": "low", "batch": 4096}
    for error in (torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("x: can't allocate memory: you")):
        with (
            pytest.raises(TrainingError, match=r"^low: memory ran out with batches of 4096; take"),
            told_of_memory(phase),
        ):
            raise error
    with pytest.raises(RuntimeError, match="another"), told_of_memory(phase):
        raise RuntimeError("another")
