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
from popstream.model.qonnx.ops import OPS

__all__ = ["KEY", "model_of", "write"]

KEY = "popstream.network"


def model_of(network: Network) -> onnx.ModelProto:
    """The ONNX model: input float32 [1, C, H, W] of codes, output the logits [1, O]; tensors are named as the nodes.

    ManifestError where a node's sums pass what float32 holds.
    """
    graph = Graph(network.name)
    graph.declare(network.input.name, (1, *network.input.shape))
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
    model = graph.model(network.input.name, network.output.name, {KEY: json.dumps(content)})
    # The annotation by which qonnx knows that the input is whole numbers of so many bits.
    annotation = model.graph.quantization_annotation.add(tensor_name=network.input.name)
    annotation.quant_parameter_tensor_names.add(key="finn_datatype", value=f"UINT{network.input.bits}")
    return model


def write(network: Network, path: Path) -> Path:
    """Write the network to `path`, whole; returns it."""
    write_whole(path, model_of(network).SerializeToString(deterministic=True))
    return path
