#!/usr/bin/env bash
# qonnx 1.0.0: clean-up of a network with tied weights leaves one layer without weights, and the executor takes zeros.
#
# Expected, before the run: where one Quant of stored weights feeds a MatMul and a Transpose in front of another MatMul
# (a decoder that shares its encoder's weights), clean-up keeps what the network gives. Seen: the Transpose is folded
# into the weights (FoldTransposeIntoQuantInit), as if nothing else read them. The Quant's output gets a new name, and
# the first MatMul goes on reading the old one, which no node makes. No warning or error: qonnx's executor starts every
# tensor as zeros, so the whole network gives zeros. onnx's own checker refuses the graph; clean-up does not ask it.
# Around it: a Quant for each reader, and onnx.checker.check_model after clean-up.
#
# Four bits, scale 1, so that Quant changes none of W = [[1, 2, -1], [0, 1, 3]]. By hand, for x = [1, 1]: x W is
# [1, 3, 2], and that times W transposed [1 + 6 - 2, 0 + 3 + 6] = [5, 9]. Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check qonnx==1.0.0 onnx==1.23.2 onnxruntime==1.32.0
cat > tied.py <<'EOP'
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.cleanup import cleanup_model

DOMAIN = "qonnx.custom_op.general"
X = np.array([[1, 1]], np.float32)


def quant(output):
    how = dict(domain=DOMAIN, signed=1, narrow=0, rounding_mode="ROUND")
    return helper.make_node("Quant", ["weights", "scale", "zero", "bits"], [output], **how)


def show(what, quants, transposed):
    nodes = [quant(name) for name in quants] + [
        helper.make_node("Transpose", [transposed], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "w"], ["code"]),
        helper.make_node("MatMul", ["code", "wt"], ["y"]),
    ]
    stored = {"weights": [[1, 2, -1], [0, 1, 3]], "scale": 1, "zero": 0, "bits": 4}
    kept = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in stored.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "tied", ends[:1], ends[1:], kept)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    before = execute_onnx(ModelWrapper(model).transform(InferShapes()), {"x": X})["y"].tolist()
    cleaned = cleanup_model(ModelWrapper(model))
    after = execute_onnx(cleaned, {"global_in": X})["global_out"].tolist()
    try:
        onnx.checker.check_model(cleaned.model)
        verdict = "valid"
    except onnx.checker.ValidationError:
        verdict = "no valid graph"
    print(f"{what}: {before}, after clean-up {after}, {verdict}")


show("one Quant, two readers", ["w"], "w")
show("a Quant for each", ["w", "v"], "v")
EOP
v/bin/python tied.py 2> errors | tee seen || { cat errors; exit 1; }
printf '%s\n' 'one Quant, two readers: [[5.0, 9.0]], after clean-up [[0.0, 0.0]], no valid graph' \
    'a Quant for each: [[5.0, 9.0]], after clean-up [[5.0, 9.0]], valid' |
    diff - seen || { echo "changed: clean-up keeps weights that two layers read"; exit 1; }
