"""The convolutional network that qonnx's package holds, up to its resize: its codes are averaged and make three logits.

    python -m tests.model.qonnx.package build/espcn-before-resize.onnx

Its own end, an image of twice the size, is none that popstream has. Small images do: no layer of it asks for a size.
"""

import sys
from importlib import resources
from math import log2
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["before_resize"]

FILE = "data/onnx/bsd300x3-espcn/nn_resize/quant_model.onnx"
CHANNELS, CLASSES = 32, 3


def before_resize(size: int) -> onnx.ModelProto:
    """For images of 3 channels and `size` pixels a side, a power of two."""
    model = onnx.load_model_from_string((resources.files("qonnx") / FILE).read_bytes())
    graph = model.graph
    (at,) = (index for index, node in enumerate(graph.node) if node.op_type == "Resize")
    last = graph.node[at - 1]
    del graph.node[at:], graph.value_info[:], graph.output[:], graph.input[1:]
    (scale,) = (numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == last.input[1])
    values = {
        "sums": scale / np.float32(size**2), "zero": 0, "wide": 8 + 2 * log2(size), "narrow": 8,
        "classes": np.random.default_rng(0).integers(-7, 8, (CLASSES, CHANNELS)),
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(np.float32(value), name) for name, value in values.items())
    graph.node.extend([
        helper.make_node("GlobalAveragePool", last.output, ["mean"]),
        helper.make_node("Trunc", ["mean", *list(values)[:4]], ["codes"], domain=last.domain, rounding_mode="FLOOR"),
        helper.make_node("Flatten", ["codes"], ["row"], axis=1),
        helper.make_node("Gemm", ["row", "classes"], ["logits"], transB=1),
    ])  # fmt: skip
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, None))
    sizes = graph.input[0].type.tensor_type.shape.dim
    for dimension in sizes[2:]:
        dimension.dim_value = size
    return model


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(before_resize(16).SerializeToString())
