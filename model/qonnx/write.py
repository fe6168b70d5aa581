"""A network as a QONNX file: one graph of whole numbers for one image, and in its metadata what the graph cannot say.

The metadata under the key `popstream.network` holds network.json less its tensors, and the network's hash; back.py
makes the same network of both.
"""

import json
from pathlib import Path

import onnx

from popstream.model.files import write_whole
from popstream.model.manifest import Network
from popstream.model.qonnx.graph import Graph
from popstream.model.qonnx.ops import OPS, looked_up

__all__ = ["KEY", "entry_of", "model_of", "write"]

KEY = "popstream.network"


def entry_of(network: Network) -> str:
    """The tensor that the model takes: the input's codes, or the pixels for its table (R29)."""
    return f"{network.input.name}.pixels" if "table" in network.input.tensors else network.input.name


def model_of(network: Network) -> onnx.ModelProto:
    """The ONNX model: input float32 [1, C, H, W] of codes or pixels, output the logits [1, O]; named as the nodes.

    ManifestError where a node's sums pass what float32 holds.
    """
    graph = Graph(network.name)
    source = entry_of(network)
    graph.declare(source, (1, *network.input.shape))
    if source != network.input.name:
        looked_up(graph, network.input, source)
    for node in network.nodes:
        if node.op != "input":
            OPS[node.op](graph, node, *node.inputs)
    nodes = [
        {"name": node.name, "op": node.op, "inputs": list(node.inputs), **node.attributes} for node in network.nodes
    ]
    content = {
        "schema": 1,
        "hash": network.hash,
        "name": network.name,
        "data": network.data,
        "classes": list(network.classes),
        "nodes": nodes,
        "accuracy": network.accuracy,
        "training": network.training,
    }
    model = graph.model(source, network.output.name, {KEY: json.dumps(content)})
    # The annotation by which qonnx knows that the input is whole numbers of so many bits.
    annotation = model.graph.quantization_annotation.add(tensor_name=source)
    annotation.quant_parameter_tensor_names.add(key="finn_datatype", value=f"UINT{network.entry_bits}")
    return model


def write(network: Network, path: Path) -> Path:
    """Write the network to `path`, whole; returns it."""
    write_whole(path, model_of(network).SerializeToString(deterministic=True))
    return path
