"""An ONNX graph that grows node by node, every tensor with its shape, so that it runs without shape inference."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["DOMAIN", "Graph"]

DOMAIN = "qonnx.custom_op.general"
CUSTOM = {"Quant": 2, "BipolarQuant": 2, "MultiThreshold": 2}  # ops of DOMAIN
OPSET, IR = 20, 10
BOOL, FLOAT, DOUBLE, INT64 = TensorProto.BOOL, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64


class Graph:
    """Nodes, initializers and the tensors between them for one image; a tensor is named by who makes it.

    `types` and `shapes` are those of every tensor so far, initializers among them.
    """

    def __init__(self, name: str):
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.types: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}

    def declare(self, name: str, shape: Sequence[int], kind: int = FLOAT) -> str:
        """Note a tensor's shape and type; returns its name."""
        self.shapes[name], self.types[name] = tuple(shape), kind
        return name

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """An initializer; one of the same name has the same value and is kept."""
        if name not in self.shapes:
            array = np.array(value, dtype)
            self.initializers.append(numpy_helper.from_array(array, name))
            self.declare(name, array.shape, self.initializers[-1].data_type)
        return name

    def add(
        self, op: str, name: str, inputs: Sequence[str], shape: Sequence[int], kind: int = FLOAT, **more: Any
    ) -> str:
        """A node with one output, both called `name`; returns it."""
        domain = DOMAIN if op in CUSTOM else ""
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, domain=domain, **more))
        return self.declare(name, shape, kind)

    def cast(self, name: str, source: str, kind: int) -> str:
        """`source` in another type."""
        return self.add("Cast", name, [source], self.shapes[source], kind, to=kind)

    def model(self, source: str, output: str, metadata: dict[str, str]) -> onnx.ModelProto:
        """The whole from tensor `source` to tensor `output`; ValueError of onnx where it is not well-formed."""
        ends = [self._info(source)], [self._info(output)]
        stored = {tensor.name for tensor in self.initializers}
        between = [self._info(name) for name in self.shapes if name not in stored | {source, output}]
        graph = helper.make_graph(self.nodes, self.name, *ends, self.initializers, value_info=between)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 2)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="popstream")
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        return model

    def _info(self, name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, self.types[name], self.shapes[name])
