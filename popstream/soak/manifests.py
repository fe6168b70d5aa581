"""Mutated manifests: each loads as a network that the golden model computes, or is refused in one line."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from popstream.model import manifest
from popstream.model.manifest import ManifestError
from popstream.sim import golden
from popstream.sim.golden.drawn import random_images
from popstream.soak.draw import mutate, pick, tiny_network
from popstream.soak.kinds import GiB, Kind, WrongError, one_by_one

__all__ = ["KIND"]

JSON, TENSORS = "network.json", "network.safetensors"
LONGEST = 4000  # characters of a message
VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 3, 5, 7, 8, 16, 31, 32, 255, 256, 257, 4096, 65_535, 65_536, 2**31 - 1, 2**31,
    2**63, 2**64, -(2**31), 0.5, -0.0, 1e308, math.inf, math.nan, "", "x", "conv", "..", "é", "\0", "x" * 5000,
    [], {}, [[]], [None], {"": ""}, ["input"],
)  # fmt: skip
DTYPES = ("uint8", "int8", "int16", "int32", "int64", "float32", "float64", "bool")


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every (table or list, key or index) within some JSON."""
    found = []
    if isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(len(content)):
            found += [(content, key), *places(content[key])]
    return found


def change_json(rng: np.random.Generator, folder: Path) -> None:
    """Give up to four fields another value, take them away, exchange or double them."""
    content = json.loads((folder / JSON).read_text())
    for _ in range(pick(rng, (1, 1, 1, 2, 4))):
        (inside, key), (other, where) = (pick(rng, places(content)) for _ in range(2))
        way = rng.integers(8)
        if way < 3:
            inside[key] = pick(rng, VALUES)
        elif way == 3 and isinstance(inside[key], int | float):
            inside[key] = inside[key] + pick(rng, (-1, 1, 0.0, 2**8, -(2**16)))
        elif way == 4:
            del inside[key]
        elif way == 5:
            inside[key], other[where] = other[where], json.loads(json.dumps(inside[key]))
        elif way == 6 and isinstance(inside, list):
            inside.insert(key, json.loads(json.dumps(inside[key])))
        else:
            (inside if isinstance(inside, dict) else content)[str(pick(rng, (*VALUES, "tensors")))[:50]] = 1
        if not places(content):
            break
    (folder / JSON).write_text(json.dumps(content))


def change_bytes(rng: np.random.Generator, folder: Path) -> None:
    """Bytes of network.json, whatever they make of it."""
    path = folder / JSON
    path.write_bytes(mutate(rng, path.read_bytes()))


def change_tensors(rng: np.random.Generator, folder: Path) -> None:
    """Values, shapes and types of tensors, of a file whose digest is right."""
    tensors = {key: value.copy() for key, value in safetensors.numpy.load_file(folder / TENSORS).items()}
    for _ in range(pick(rng, (1, 1, 3))):
        name = pick(rng, sorted(tensors)) if tensors else "none"
        value = tensors.get(name, np.zeros(3, np.uint8))
        way = rng.integers(7)
        if way < 3 and value.size:
            limits = np.iinfo(value.dtype) if value.dtype.kind in "iu" else None
            extremes = (limits.min, limits.max) if limits else (0, 1)
            tensors[name].reshape(-1)[rng.integers(value.size)] = pick(rng, (0, 1, *extremes))
        elif way == 3:
            tensors[name] = value.astype(pick(rng, DTYPES))
        elif way == 4:
            tensors[name] = pick(rng, (value.reshape(-1), value[None], value[..., :0], np.zeros((0,), value.dtype)))
        elif way == 5:
            tensors.pop(name, None)
        else:
            tensors[pick(rng, ("more", name + "x", ""))] = value
    (folder / TENSORS).write_bytes(safetensors.numpy.save(tensors))
    sign(folder)


def change_tensor_bytes(rng: np.random.Generator, folder: Path) -> None:
    """Bytes of the tensor file; its digest is made right half of the time."""
    path = folder / TENSORS
    path.write_bytes(mutate(rng, path.read_bytes()))
    if rng.random() < 0.5:
        sign(folder)


def sign(folder: Path) -> None:
    """Make the digest that of the tensor file."""
    content = json.loads((folder / JSON).read_text())
    content["sha256"] = hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest()
    (folder / JSON).write_text(json.dumps(content))


WAYS: tuple[Callable[[np.random.Generator, Path], None], ...] = (
    change_json, change_json, change_json, change_bytes, change_tensors, change_tensor_bytes,
)  # fmt: skip


def draw(rng: np.random.Generator, place: Path) -> None:
    """A small network's manifest with one mutation."""
    manifest.save(tiny_network(rng), place)
    pick(rng, WAYS)(rng, place)


def check(place: Path, root: Path) -> Mapping[str, int]:
    """Load it; compute an image with it, and save it and load it again, if it is a network."""
    try:
        network = manifest.load(place)
    except ManifestError as error:
        text = str(error)
        if "\n" in text or len(text) > LONGEST or not text.startswith(str(place)):
            raise WrongError(f"not one line that names the file: {text[:300]!r}") from None
        return {"refused": 1}
    golden.run(network, random_images(network.input, 1, 1))
    manifest.save(network, place / "again")
    if manifest.load(place / "again").hash != network.hash:
        raise WrongError("saved and loaded again it is another network")
    return {"loaded": 1}


KIND = Kind(
    "manifests", "mutated; refused in one line, or computed by golden", draw, one_by_one(check), batch=100, seconds=60,
    memory=4 * GiB,
)  # fmt: skip
