"""A QONNX file run by its own executor (the package qonnx), every tensor of it, beside the golden model."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from popstream.model.manifest import Network
from popstream.sim import golden

__all__ = ["Compared", "compare_written", "execute", "with_batch"]


@dataclass(frozen=True)
class Compared:
    """Values of one node compared over all images, and how many differ."""

    node: str
    values: int
    mismatches: int


def execute(model: ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of the graph for these inputs."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    return execute_onnx(ModelWrapper(model), inputs, return_full_exec_context=True)


def with_batch(model: ModelProto, images: int) -> ModelProto:
    """A model that popstream wrote, for so many images at once; its graph holds no size of a batch, but its tensors."""
    taken = ModelProto()
    taken.CopyFrom(model)
    weights = {node.output[0] for node in taken.graph.node if node.op_type in ("Quant", "BipolarQuant")}
    for value in (*taken.graph.input, *taken.graph.value_info, *taken.graph.output):
        if value.name not in weights:
            value.type.tensor_type.shape.dim[0].dim_value = images
    return taken


def compare_written(network: Network, model: ModelProto, images: np.ndarray) -> Iterator[Compared]:
    """Golden's value at every node against that of the executor, for the tensor of the node's name.

    model: as model/qonnx/write.py makes it. images: codes uint8 [N, C, H, W].
    """
    found = execute(with_batch(model, len(images)), {network.input.name: images.astype(np.float32)})
    _, taps = golden.run(network, images, [node.name for node in network.nodes])
    for node in network.nodes:
        expected = taps[node.name]
        given = found[node.name].reshape(expected.shape)
        yield Compared(node.name, expected.size, int(np.count_nonzero(given != expected)))
