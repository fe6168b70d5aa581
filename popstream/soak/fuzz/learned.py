"""What training reads: recipes, sweeps, checkpoints, and the data sets that come as pickles or MATLAB's files."""

import io
import pickle
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import scipy.io
import torch

from popstream.model.data.cifar10 import read_batch
from popstream.model.data.imagesets import DataError, read_mat
from popstream.model.networks import build_network
from popstream.model.sweeping.spec import SPECS, load_spec
from popstream.model.training import checkpoint
from popstream.model.training.checkpoint import TrainingError
from popstream.model.training.recipe import RECIPES, RecipeError, load_recipe
from popstream.soak.draw import mutate
from popstream.soak.fuzz.files import mutate_words
from popstream.soak.fuzz.target import Target, attempt, scratch

__all__ = ["TARGETS"]

CONFIG = {
    "classes": 10, "in_channels": 1, "depth": 6, "widths": [2, 3], "first_bits": [4, 4], "weight_bits": 1,
    "act_bits": 2,
}  # fmt: skip
ALL = 2**20  # bytes


def of_recipe(data: bytes) -> str:
    """A recipe's TOML."""
    path = scratch() / "hostile.toml"
    path.write_bytes(data)
    return attempt(lambda: load_recipe(path), RecipeError)


def of_sweep(data: bytes) -> str:
    """A sweep's TOML."""
    path = scratch() / "hostile.toml"
    path.write_bytes(data)
    return attempt(lambda: load_spec(path), RecipeError)


def texts(folder: Path) -> Sequence[bytes]:
    """The files of a folder."""
    return [path.read_bytes() for path in sorted(folder.glob("*.toml"))]


def of_checkpoint(data: bytes) -> str:
    """A checkpoint: to go on from, or a network to begin from; the first byte chooses."""
    path, way = scratch() / "hostile.pt", data[0] if data else 0
    path.write_bytes(data[1:])

    def read() -> None:
        if way & 1:
            checkpoint.read_state(path, small_recipe())
        else:
            checkpoint.load_network(path, SimpleNamespace(**CONFIG), "Teacher", "digits")

    return attempt(read, TrainingError)


@cache
def small_recipe() -> dict:
    """A recipe that a state may be of."""
    return load_recipe(RECIPES / "digits-w1a2.toml")


def checkpoint_seeds() -> Sequence[bytes]:
    """A finished network, and a state to go on from."""
    network = build_network(CONFIG)
    weights = network.state_dict()
    finished = {"config": CONFIG, "model": weights, "data": "digits"}
    recipe = checkpoint.recipe_up_to(small_recipe(), 0)
    state = {
        "recipe": recipe, "phase": 0, "epoch": 1, "log": [{"loss": 1.0}], "model": {"w": torch.zeros(2)},
        "optimizer": {"state": {}, "param_groups": []}, "generator": torch.Generator().get_state(),
        "rng": torch.zeros(4, dtype=torch.uint8),
    }  # fmt: skip
    found = []
    for way, content in ((0, finished), (1, state), (0, state), (1, [1])):
        for zipped in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=zipped)
            found.append(bytes([way]) + file.getvalue())
    return found


def mutate_checkpoint(rng: np.random.Generator, data: bytes) -> bytes:
    """Another pickle or tensor in an archive that is whole."""
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data[1:])) as archive, zipfile.ZipFile(out, "w") as changed:
            names = archive.namelist()
            chosen = names[0] if rng.random() < 0.7 else names[int(rng.integers(len(names)))]
            for entry in archive.infolist():
                if entry.file_size > ALL:
                    raise ValueError("a bomb")
                content = archive.read(entry)
                packed = zipfile.ZIP_DEFLATED if rng.random() < 0.01 else zipfile.ZIP_STORED
                changed.writestr(entry.filename, mutate(rng, content) if entry.filename == chosen else content, packed)
    except Exception:  # it is no archive any more
        return mutate(rng, data)
    return data[:1] + out.getvalue()


def of_cifar10(data: bytes) -> str:
    """A batch."""
    path = scratch() / "data_batch_1"
    path.write_bytes(data)
    return attempt(lambda: read_batch(path), DataError)


def cifar10_seeds() -> Sequence[bytes]:
    """Two images of zeros, as every protocol has them."""
    batch = {b"batch_label": b"one", b"labels": [3, 9], b"data": np.zeros((2, 3072), np.uint8), b"filenames": [b"a"]}
    return [pickle.dumps(batch, protocol) for protocol in range(6)]


def of_svhn(data: bytes) -> str:
    """A file of MATLAB's."""
    path = scratch() / "train_32x32.mat"
    path.write_bytes(data)
    return attempt(lambda: read_mat(path), DataError)


def svhn_seeds() -> Sequence[bytes]:
    """Two images of zeros."""
    found = []
    for compressed in (False, True):
        file = io.BytesIO()
        content = {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": np.array([[1], [10]], np.uint8)}
        scipy.io.savemat(file, content, do_compression=compressed)
        found.append(file.getvalue())
    return found


TARGETS = {
    "recipe": Target("recipes", lambda: texts(RECIPES), of_recipe, mutate_words),
    "sweep": Target("sweeps", lambda: texts(SPECS), of_sweep, mutate_words),
    "checkpoint": Target("checkpoints", checkpoint_seeds, of_checkpoint, mutate_checkpoint),
    "cifar10": Target("batches of CIFAR-10", cifar10_seeds, of_cifar10, mutate),
    "svhn": Target("SVHN's .mat files", svhn_seeds, of_svhn, mutate),
}
