"""A file as an ONNX model, checked before anything computes with it: whole, bounded, in order, all its data inside.

What qonnx does with a file later rests on these checks: it imports a node's domain as a Python module, computes all
that is constant, and expects its nodes sorted.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from popstream.model.checked import InputError, read_bytes
from popstream.model.qonnx.graph import DOMAIN

__all__ = ["DOMAINS", "MOST_FILE", "QonnxError", "array_of", "load_model", "shown"]

MOST_FILE = 2**29  # bytes that are read at all
MOST_NODES = 2**14
DOMAINS = (DOMAIN, "onnx.brevitas", "finn.custom_op.general", "finn", "")  # of qonnx's ops, as files had it over time
PACKED: dict[int, str] = {  # where a tensor's numbers stand that are not in raw_data
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    **dict.fromkeys(
        (TensorProto.INT32, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.BOOL), "int32_data"
    ),
}


class QonnxError(InputError):
    """A file that is no QONNX network, or none that popstream can take; one line: the node, why, what would do."""


def shown(node: onnx.NodeProto) -> str:
    """A node in a message: its op, and its name or what it makes."""
    return f"{node.op_type} {(node.name or next(iter(node.output), ''))!r}"


def load_model(path: Path) -> ModelProto:
    """The model in `path`; QonnxError says in one line what is wrong with it. Nothing outside the file is read."""
    data = read_bytes(path, MOST_FILE, QonnxError)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise QonnxError(f"{path}: not an ONNX file, or cut short ({error})") from None
    if not model.graph.node or not model.graph.input or not model.graph.output:
        raise QonnxError(f"{path}: holds no network: no nodes, no input or no output; export it anew")
    try:
        check(model)
    except QonnxError as error:
        raise QonnxError(f"{path}: {error}") from None
    return model


def check(model: ModelProto) -> None:
    """QonnxError for what no later step should meet."""
    if model.functions or model.graph.sparse_initializer:
        raise QonnxError("has functions or sparse tensors; export it without, as Brevitas does by default")
    if len(model.graph.node) > MOST_NODES:
        raise QonnxError(f"has {len(model.graph.node):,} nodes; at most {MOST_NODES:,} are read")
    for tensor in model.graph.initializer:
        check_tensor(tensor, f"tensor {tensor.name!r}")
    for node in model.graph.node:
        if node.domain not in (*DOMAINS, "ai.onnx"):
            raise QonnxError(f"{shown(node)}: domain {node.domain!r} is none of QONNX ({', '.join(DOMAINS[:3])})")
        for attribute in node.attribute:
            if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS, AttributeProto.SPARSE_TENSOR):
                raise QonnxError(f"{shown(node)}: holds a graph of its own; only plain nodes can be read")
            for tensor in [attribute.t] if attribute.HasField("t") else [*attribute.tensors]:
                check_tensor(tensor, f"{shown(node)}, tensor {attribute.name!r}")
    check_order(model)


def check_tensor(tensor: TensorProto, where: str) -> None:
    """Data of the promised size, in the file itself, and numbers."""
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise QonnxError(
            f"{where}: its data lie in another file; save the model in one (onnx.save without external data)"
        )
    if tensor.data_type not in PACKED or tensor.HasField("segment"):
        raise QonnxError(f"{where}: type {tensor.data_type} cannot be read; float32, float64 and integers can")
    if any(size < 0 for size in tensor.dims):
        raise QonnxError(f"{where}: sizes must be at least 0, not {list(tensor.dims)}")
    promised = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        item = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
        held = len(tensor.raw_data) / item
    else:
        held = len(getattr(tensor, PACKED[tensor.data_type]))
    if promised != held:
        raise QonnxError(
            f"{where}: promises {promised:,} numbers ({list(tensor.dims)}) and holds {held:,g}; cut short?"
        )
    if np.isnan(array_of(tensor).astype(np.float64)).any():
        raise QonnxError(
            f"{where}: holds nan, which no integer stands for; was the network trained, or all weights zero?"
        )


def array_of(tensor: TensorProto) -> np.ndarray:
    """A checked tensor's numbers."""
    return numpy_helper.to_array(tensor)


def made(model: ModelProto) -> Iterator[str]:
    """Names of what is there before any node runs."""
    yield ""  # an input that is left away
    yield from (value.name for value in model.graph.input)
    yield from (tensor.name for tensor in model.graph.initializer)


def check_order(model: ModelProto) -> None:
    """Each tensor is made once, and before it is read: so there is no cycle."""
    known = set(made(model))
    later = {name for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        for name in node.input:
            if name not in known:
                why = "is made only later, or out of itself (a cycle)" if name in later else "is made by no node"
                raise QonnxError(f"{shown(node)}: its input {name!r} {why}; nodes must stand in order")
        for name in node.output:
            if name and name in known:
                raise QonnxError(f"{shown(node)}: its output {name!r} is made twice")
            known.add(name)
    for value in model.graph.output:
        if value.name not in known:
            raise QonnxError(f"output {value.name!r} is made by no node")
