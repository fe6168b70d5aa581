#!/usr/bin/env bash
# qonnx 1.0.0: clean-up breaks a node that reads one tensor twice: x + x is refused by the executor afterwards.
#
# Guess, written before the run: qonnx.util.cleanup gives tensors new names and leaves what a graph computes, so that
# y = Relu(x); Add(y, y), a valid model, still gives 2 x for x > 0. Seen: before clean-up the executor gives 2 x. In the
# cleaned graph the first input of Add is called Relu_0_out0 and the second still y, which no node makes: a renamed
# tensor is looked for in a node's inputs once (ModelWrapper.rename_tensor). onnx's own checker refuses that graph.
# Around it: Identity between, for every input that a node has twice.
#
# Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check qonnx==1.0.0 onnx==1.23.2 onnxruntime==1.32.0
cat > twice.py <<'EOP'
import numpy as np
import onnx
from onnx import TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.cleanup import cleanup_model

ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "z")]
nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Add", ["y", "y"], ["z"])]
graph = helper.make_graph(nodes, "twice", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
onnx.checker.check_model(model)
x = np.array([[-1, 0, 1, 2]], np.float32)
print("before:", execute_onnx(ModelWrapper(model).transform(InferShapes()), {"x": x})["z"].tolist())
cleaned = cleanup_model(ModelWrapper(model))
print("inputs of Add after clean-up:", list(cleaned.graph.node[-1].input))
try:
    onnx.checker.check_model(cleaned.model)
    print("after: valid")
except onnx.checker.ValidationError:
    print("after: no valid graph")
EOP
v/bin/python twice.py | tee seen
printf '%s\n' 'before: [[0.0, 0.0, 2.0, 4.0]]' "inputs of Add after clean-up: ['Relu_0_out0', 'y']" 'after: no valid graph' |
    diff - seen || { echo "changed: clean-up keeps both inputs"; exit 1; }
