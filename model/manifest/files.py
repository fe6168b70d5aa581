"""A manifest's two files: network.json, checked by its type, and the safetensors file that it names, by its SHA-256."""

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from popstream.model.checked import convert, read_bytes, read_json
from popstream.model.files import write_whole
from popstream.model.manifest.node import ManifestError, Node

SCHEMA = 1
JSON_FILE = "network.json"
TENSOR_FILE = "network.safetensors"
TENSOR_FILES = re.compile(r"network(-[0-9a-f]{16})?\.safetensors")  # what `write` makes
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
MOST_TENSORS = 2**32  # bytes that are read at all
FileName = Annotated[
    str, msgspec.Meta(pattern=rf"^{FILE_NAME.pattern}\Z", description="a file name beside it of letters, digits, '_.-'")
]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 hexadecimal digits")]


class Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """network.json as it stands; `sha256` is that of the file `tensors`, and finds a flipped bit in a weight."""

    schema: Literal[1]
    name: str
    data: str
    classes: list[str]
    tensors: FileName
    sha256: Digest
    nodes: list[dict[str, Any]]
    accuracy: dict[str, Any]
    training: dict[str, Any]


class NodeHead(msgspec.Struct, frozen=True, kw_only=True):
    """What every node has; all other keys are attributes of its op."""

    name: str
    op: str
    inputs: list[str]

    def node(self, content: dict[str, Any], tensors: dict[str, np.ndarray]) -> Node:
        """The node that `content` describes, of which this was read."""
        attributes = {key: value for key, value in content.items() if key not in self.__struct_fields__}
        return Node(self.name, self.op, tuple(self.inputs), attributes, tensors)


class Entry(NodeHead, frozen=True, kw_only=True):
    """The same in network.json, with the places of its tensors."""

    tensors: dict[str, str]


def read(path: Path) -> Stored:
    """network.json, its outer types checked; ManifestError names the file and the key."""
    content = read_json(path, ManifestError, "`make export` writes one from a checkpoint")
    return convert(content, Stored, path, ManifestError, "the manifest")


def read_tensors(path: Path, digest: str, source: Path) -> dict[str, np.ndarray]:
    """The tensors by their names; ManifestError where the file is not the one that `source` was written with."""
    data = read_bytes(path, MOST_TENSORS, ManifestError, f"{source} names it as its tensors")
    try:
        tensors = safetensors.numpy.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path}: damaged or cut short ({error})") from None
    given = hashlib.sha256(data).hexdigest()
    if digest != given:
        raise ManifestError(f"{path}: damaged, SHA-256 is {given[:16]}..., but {source} says {digest[:16]}...")
    return tensors


def nodes_of(stored: Stored, tensors: dict[str, np.ndarray], source: Path) -> list[Node]:
    """The nodes with their tensors; attributes are all keys but those of Entry."""
    nodes = []
    for index, content in enumerate(stored.nodes):
        name = content.get("name")
        where = f"{source}: node {name!r}" if isinstance(name, str) else f"{source}: node {index}"
        entry = convert(content, Entry, where, ManifestError, "it")
        for local, place in entry.tensors.items():
            if place not in tensors:
                raise ManifestError(f"{where}, tensor {local!r}: {place!r} is missing from the tensor file")
        own = {local: tensors[place] for local, place in entry.tensors.items()}
        nodes.append(entry.node(content, own))
    return nodes


def tensor_file(path: Path, digest: str) -> str:
    """The name of the tensor file with this digest: not one that the manifest at `path` needs for another."""
    if not path.exists():
        return TENSOR_FILE
    with contextlib.suppress(ManifestError):
        stored = read(path)
        if stored.sha256 == digest:
            return stored.tensors
    return f"network-{digest[:16]}.safetensors"


def write(folder: Path, head: dict[str, Any], tensors: dict[str, np.ndarray], tail: dict[str, Any]) -> Path:
    """Write both files and return the path of network.json, which holds `head`, the tensor file and `tail`.

    network.json is renamed into its place last: until then the old one stands, and the tensors it names are there,
    since new ones beside it get a name by their digest. Only then are the old ones removed.
    """
    data = safetensors.numpy.save(tensors)
    digest = hashlib.sha256(data).hexdigest()
    path = folder / JSON_FILE
    name = tensor_file(path, digest)
    content = head | {"tensors": name, "sha256": digest} | tail
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    made, new = not folder.exists(), not (folder / name).exists()
    try:
        write_whole(folder / name, data)
        write_whole(path, text.encode())
    except BaseException:
        if new:
            (folder / name).unlink(missing_ok=True)
        if made and folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
        raise
    for other in folder.iterdir():
        if other.name != name and TENSOR_FILES.fullmatch(other.name):
            with contextlib.suppress(OSError):
                other.unlink()
    return path
