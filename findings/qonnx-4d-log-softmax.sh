#!/usr/bin/env bash
# qonnx 1.0.0: Change3DTo4DTensors turns a LogSoftmax over the last axis into one that gives 0 for every class.
#
# Expected, before the run: the transformation makes [N, C, T] to [N, C, T, 1] and lets an axis that is counted from the
# end count from the front, as it does for ArgMax, TopK and Flatten; LogSoftmax is among the ops that it takes, so the
# numbers stay. Seen: axis=-1 of LogSoftmax is left as it is (the code looks for "LogSoftMax", which no op is called),
# and now means the new axis, of one value. Over one value, log(exp(x) / exp(x)) is 0, whatever x is. Nothing warns. So
# an audio network of Conv1d layers that ends in LogSoftmax(dim=-1) tells the first class for every sound.
# Around it: axis=2 in the file.
#
# By hand, for x = [0, ln 3]: exp gives 1 and 3, their sum is 4, so LogSoftmax is [ln 1/4, ln 3/4] = [-1.386, -0.288].
# Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check qonnx==1.0.0 onnx==1.23.2 onnxruntime==1.32.0
cat > softmax.py <<'EOP'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.change_3d_tensors_to_4d import Change3DTo4DTensors
from qonnx.transformation.infer_shapes import InferShapes

for axis in (-1, 2):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 2]) for name in ("x", "y")]
    node = helper.make_node("LogSoftmax", ["x"], ["y"], axis=axis)
    graph = helper.make_graph([node], "classes", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    x = np.log(np.array([[[1, 3]]], np.float32))
    (runtime,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    before = ModelWrapper(model).transform(InferShapes())
    after = before.transform(Change3DTo4DTensors())
    onnx.checker.check_model(after.model, full_check=True)
    found = execute_onnx(before, {"x": x})["y"], execute_onnx(after, {"x": x[..., None]})["y"]
    lists = [[round(float(value), 3) for value in each.flatten()] for each in (runtime, *found)]
    print(f"axis {axis}: onnxruntime {lists[0]}, qonnx {lists[1]}, in four dimensions {found[1].shape} {lists[2]}")
EOP
v/bin/python softmax.py 2> errors | tee seen || { cat errors; exit 1; }
printf '%s\n' \
    'axis -1: onnxruntime [-1.386, -0.288], qonnx [-1.386, -0.288], in four dimensions (1, 1, 2, 1) [0.0, 0.0]' \
    'axis 2: onnxruntime [-1.386, -0.288], qonnx [-1.386, -0.288], in four dimensions (1, 1, 2, 1) [-1.386, -0.288]' |
    diff - seen || { echo "changed: LogSoftmax keeps its axis"; exit 1; }
