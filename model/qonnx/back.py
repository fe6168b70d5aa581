"""A QONNX file that popstream wrote, as the network that it was written from: the same hash, or QonnxError.

Attributes come from the file's metadata, every integer from its graph.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from onnx import ModelProto

from popstream.model.checked import convert
from popstream.model.manifest import ManifestError, Network, Node
from popstream.model.manifest.files import NodeHead
from popstream.model.qonnx.load import QonnxError, array_of
from popstream.model.qonnx.write import KEY

__all__ = ["read_back", "written_by_us"]


class Kept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What write.py keeps in the metadata."""

    schema: int
    hash: str
    name: str
    data: str
    classes: list[str]
    nodes: list[dict[str, Any]]
    accuracy: dict[str, Any]
    training: dict[str, Any]


def written_by_us(model: ModelProto) -> bool:
    """Whether the metadata hold what `read_back` reads."""
    return any(entry.key == KEY for entry in model.metadata_props)


def codes(w: np.ndarray, node: Node) -> np.ndarray:
    """The codes q of integers w (R2, R24), in the manifest's order of axes."""
    bits, whole = node["weight_bits"], w.astype(np.int64)
    whole = whole.T if node.op == "linear" else whole
    q = whole & (2**bits - 1) if node["weights"] == "signed" else (whole + 2**bits - 1) // 2
    return q.astype(np.uint8)


def flat(values: np.ndarray, dtype: Any) -> np.ndarray:
    return values.reshape(-1).astype(dtype)


TENSORS: dict[str, Callable[[np.ndarray, Node], np.ndarray]] = {
    "weight": codes,
    "thresholds": lambda values, node: values.astype(np.int32),
    "multiplier": lambda values, node: flat(values, np.int32),
    "bias": lambda values, node: (
        flat(values, np.int64) - 2 ** (node["shift"] - 1) if node.op == "requant" else flat(values, np.int32)
    ),
    "table": lambda values, node: flat(values, np.uint8 if node.op == "input" else np.int32),
    "shift_in": lambda values, node: flat(values, np.int32),
    "slope": lambda values, node: flat(values, np.int32),
    "shift_out": lambda values, node: flat(values, np.int32),
}


def read_back(model: ModelProto, source: str) -> Network:
    """The network; QonnxError, begun by `source`, where graph and metadata are not those of one network any more."""
    (text,) = (entry.value for entry in model.metadata_props if entry.key == KEY)
    where = f"{source}: metadata {KEY!r}"
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise QonnxError(f"{where}: not valid JSON ({error}); take it out to have the graph read by itself") from None
    kept = convert(content, Kept, where, QonnxError)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for given in kept.nodes:
        head = convert(given, NodeHead, where, QonnxError, "a node")
        node = head.node(given, {})
        try:
            tensors = {
                key: take(array_of(stored[f"{node.name}.{key}"]), node)
                for key, take in TENSORS.items()
                if f"{node.name}.{key}" in stored
            }
            if "table" in tensors:  # a row for all, or one for each of those whose places in it are stored
                rows = f"{node.name}.rows"
                tensors["table"] = tensors["table"].reshape(stored[rows].dims[1] if rows in stored else 1, -1)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise QonnxError(f"{where}: node {node.name!r} does not go with its tensors ({error})") from None
        nodes.append(head.node(given, tensors))
    try:
        network = Network.build(
            kept.name, kept.data, kept.classes, nodes, kept.accuracy, kept.training, source=source
        )  # fmt: skip
    except ManifestError as error:
        raise QonnxError(str(error)) from None
    if network.hash != kept.hash:
        raise QonnxError(
            f"{source}: was written from a network with hash {kept.hash[:16]}..., now holds {network.hash[:16]}...: "
            f"it was changed; take out its metadata {KEY!r} to have the graph read by itself"
        )
    return network
