"""The manifest: an integer network as `network.json` with its tensors beside it in one safetensors file.

    from model.manifest import load
    network = load(Path("model/zoo/resnet20-w1a2"))
    network.node("stem.conv")["kernel"], network.output.shape

Everything after training starts from here; nothing here needs torch. A Network is valid by construction: `build` and
`load` check every name, type, shape, bit and connection, and raise ManifestError with one line that says where and
what. Tensors are read-only. The ops and their integer semantics: model/manifest/node.py, sim/golden/__init__.py.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from popstream.model.manifest.checks import check_nodes, fork_of
from popstream.model.manifest.files import FILE_NAME, JSON_FILE, SCHEMA, nodes_of, read, read_tensors, write
from popstream.model.manifest.node import (
    ManifestError,
    Node,
    accumulator_range,
    entry_bits,
    node_weights,
    signed_width,
    weight_integers,
)

__all__ = [
    "ManifestError", "Network", "Node", "accumulator_range", "entry_bits", "find", "fork", "load", "node_weights",
    "save", "signed_width", "weight_integers", "zoo",
]  # fmt: skip

ZOO = Path(__file__).parents[1] / "zoo"  # the trained networks


@dataclass(frozen=True, eq=False)
class Network:
    """A checked network; `nodes` are in topological order with shape, kind and bits filled in.

    accuracy: top1_float and top1_frozen in percent, images; training: free-form JSON. Make one with `build`.
    """

    name: str
    data: str
    classes: tuple[str, ...]
    nodes: tuple[Node, ...]
    accuracy: dict[str, Any]
    training: dict[str, Any]

    @classmethod
    def build(
        cls,
        name: str,
        data: str,
        classes: Iterable[str],
        nodes: Iterable[Node],
        accuracy: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
        source: str | None = None,
    ) -> "Network":
        """Check everything and return the network; ManifestError's message begins with `source`."""
        source = source or f"network {name!r}"
        if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
            raise ManifestError(f"{source}: name must be letters, digits, '_', '.' or '-', not {name!r}")
        if not isinstance(data, str) or not data or not data.isprintable():
            raise ManifestError(f"{source}: data must name a data set, not {data!r}")
        ordered = check_nodes(tuple(nodes), source)
        labels = tuple(classes)
        output = next(node for node in ordered if node.op == "linear")
        shown = all(isinstance(label, str) and label and label.isprintable() for label in labels)
        if not shown or len(set(labels)) != len(labels):
            raise ManifestError(f"{source}: classes must be distinct names of printable letters, not {list(labels)!r}")
        if len(labels) != output.shape[0]:
            raise ManifestError(
                f"{source}: node {output.name!r}: out_features is {output.shape[0]}, but classes are {len(labels)}"
            )
        check_accuracy(accuracy or {}, source)
        check_training(training or {}, source)
        return cls(name, data, labels, ordered, dict(accuracy or {}), dict(training or {}))

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        """The node of this name; KeyError if there is none."""
        return self._by_name[name]

    def consumers(self, name: str) -> list[Node]:
        """The nodes that read the output of `name`, in topological order."""
        return [node for node in self.nodes if name in node.inputs]

    @cached_property
    def input(self) -> Node:
        return next(node for node in self.nodes if node.op == "input")

    @property
    def entry_bits(self) -> int:
        """Bits of a value that enters: a code of the input (rule R1), or a pixel for its table (R29)."""
        return entry_bits(self.input)

    @cached_property
    def output(self) -> Node:
        """The linear node that gives the logits."""
        return next(node for node in self.nodes if node.op == "linear")

    def __eq__(self, other: object) -> bool:
        """Whether both compute the same; so a network keys a cache, however often it is loaded."""
        return isinstance(other, Network) and other.hash == self.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    @cached_property
    def hash(self) -> str:
        """SHA-256 in hex over all nodes and tensors, whatever their order; names, accuracy and training don't count."""
        digest = hashlib.sha256()
        for node in sorted(self.nodes, key=lambda n: n.name):
            fields = [node.name, node.op, list(node.inputs), node.attributes]
            digest.update(json.dumps(fields, sort_keys=True).encode() + b"\n")
            for key, tensor in sorted(node.tensors.items()):
                digest.update(f"{key} {tensor.dtype.name} {list(tensor.shape)}\n".encode())
                digest.update(tensor.astype(tensor.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def fork(network: Network, node: Node) -> tuple[Node, list[Node], list[Node]]:
    """Where the two inputs of a requant with skip, or of an add, part: (fork, first chain, second chain), each from the
    fork to its input.

    Neither chain holds the fork or `node`; an identity skip's chain is empty. ValueError if `node` has no skip.
    """
    if len(node.inputs) != 2:
        raise ValueError(f"Node {node.name!r} has no skip input")
    name, chains = fork_of(node, network._by_name)
    assert name is not None  # checked when the network was built
    main, skip = ([network.node(n) for n in reversed(chain)] for chain in chains)
    return network.node(name), main, skip


def check_accuracy(accuracy: Any, source: str) -> None:
    """Keys top1_* in percent (or null) and images, a count."""
    if not isinstance(accuracy, dict):
        raise ManifestError(f"{source}: accuracy must be an object, not {accuracy!r}")
    for key, value in accuracy.items():
        if key == "images":
            good = type(value) is int and value >= 0
        elif isinstance(key, str) and key.startswith("top1_"):
            good = value is None or (type(value) in (int, float) and 0 <= value <= 100)
        else:
            raise ManifestError(f"{source}: unknown accuracy {key!r}; known are top1_float, top1_frozen, images")
        if not good:
            allowed = "a count" if key == "images" else "0 to 100 percent or null"
            raise ManifestError(f"{source}: accuracy {key!r} must be {allowed}, not {value!r}")


def check_training(training: dict[str, Any], source: str) -> None:
    """Whatever JSON has, so that it can be written again."""
    try:
        json.dumps(training, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise ManifestError(f"{source}: training is no JSON ({error})") from None


def load(path: Path | str) -> Network:
    """Read and check a network; `path` is network.json or its folder. ManifestError names what is wrong and where."""
    path = Path(path)
    path = path / JSON_FILE if path.is_dir() else path
    stored = read(path)
    tensors = read_tensors(path.parent / stored.tensors, stored.sha256, path)
    network = Network.build(
        stored.name, stored.data, stored.classes, nodes_of(stored, tensors, path), stored.accuracy, stored.training,
        source=str(path),
    )  # fmt: skip
    used = {name for entry in stored.nodes for name in entry["tensors"].values()}
    unused = sorted(tensors.keys() - used)
    if unused:
        raise ManifestError(f"{path}: tensor {unused[0]!r} of {stored.tensors} belongs to no node")
    return network


def save(network: Network, folder: Path | str) -> Path:
    """Write the network into `folder` and return the path of network.json; if it is killed, what was there stays.

    The tensors go into a file of their own name, then network.json, which names them, takes the place of the old one.
    """
    tensors = {f"{node.name}.{key}": tensor for node in network.nodes for key, tensor in node.tensors.items()}
    nodes = [
        {"name": node.name, "op": node.op, "inputs": list(node.inputs), **node.attributes}
        | {"tensors": {key: f"{node.name}.{key}" for key in node.tensors}}
        for node in network.nodes
    ]
    head = {"schema": SCHEMA, "name": network.name, "data": network.data, "classes": list(network.classes)}
    tail = {"nodes": nodes, "accuracy": network.accuracy, "training": network.training}
    return write(Path(folder), head, tensors, tail)


def zoo() -> list[Path]:
    """The folders of the trained networks, by name."""
    return sorted(path.parent for path in ZOO.glob(f"*/{JSON_FILE}"))


def find(net: str | Path) -> Path:
    """The manifest that NET names: a path to one or to its folder, else a folder of the zoo; else ManifestError."""
    given, kept = Path(net), ZOO / net
    if given.is_file() or (given / JSON_FILE).is_file():
        return given
    if FILE_NAME.fullmatch(str(net)) and (kept / JSON_FILE).is_file():
        return kept
    known = ", ".join(folder.name for folder in zoo()) or "it is empty"
    raise ManifestError(f"{net}: neither a manifest nor a network of model/zoo ({known})")
