#!/usr/bin/env bash
# qonnx 1.0.0: QCDQToQuant changes weights that a file stores as integers, if they have a zero point or several scales.
#
# Expected, before the run: DequantizeLinear of a stored tensor becomes a Quant of the same numbers. ONNX defines
# them as (x - x_zero_point) * x_scale, where several scales go along `axis`.
# Seen, without a warning:
# - uint8 with zero point 128, so that weights can be below zero: the difference is taken in uint8 and wraps. Each
#   weight below zero becomes the largest of all, as Quant clips what comes of it.
# - two scales, axis 0: the stored values are scaled along the last axis. A square matrix is wrong in silence; another
#   shape ends in an error of broadcasting.
# So a network of 8 bits or fewer that comes from QDQ tools is another one as QONNX, while its graph looks right. Right
# are stored weights of zero point 0 and one scale, and float weights behind QuantizeLinear and DequantizeLinear.
#
# y = x W for x = the identity, so y is W itself. Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check qonnx==1.0.0 onnx==1.23.2 onnxruntime==1.32.0
cat > weights.py <<'EOP'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.qcdq_to_qonnx import QCDQToQuant


def show(what, weights, scale, zero):
    stored = {"w": weights, "scale": np.array(scale, np.float32), "zero": zero}
    how = {"axis": 0} if stored["scale"].ndim else {}
    last = "w"
    nodes = []
    if weights.dtype == np.float32:
        nodes.append(helper.make_node("QuantizeLinear", ["w", "scale", "zero"], ["q"], **how))
        last = "q"
    nodes.append(helper.make_node("DequantizeLinear", [last, "scale", "zero"], ["d"], **how))
    nodes.append(helper.make_node("MatMul", ["x", "d"], ["y"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("x", "y")]
    kept = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "weights", ends[:1], ends[1:], kept)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    x = np.eye(2, dtype=np.float32)
    (runtime,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    before = ModelWrapper(model).transform(InferShapes())
    after = before.transform(QCDQToQuant()).transform(InferShapes())
    assert [node.op_type for node in after.graph.node] == ["Quant", "MatMul"]
    found = [execute_onnx(each, {"x": x})["y"].tolist() for each in (before, after)]
    assert runtime.tolist() == found[0]
    print(f"{what}: {found[0]}, as Quant {found[1]}")


# By hand: (100 - 128) / 2 = -14, (130 - 128) / 2 = 1, (0 - 128) / 2 = -64, (228 - 128) / 2 = 50.
right = np.array([[-14, 1], [-64, 50]], np.float32)
show("uint8, zero point 128", np.array([[100, 130], [0, 228]], np.uint8), 0.5, np.uint8(128))
show("int8, zero point 0", np.array([[-28, 2], [-128, 100]], np.int8), 0.5, np.int8(0))
show("float, zero point 128", right, 0.5, np.uint8(128))
# By hand: row 0 times 1, row 1 times 10.
zeros = np.zeros(2, np.int8)
show("int8, scales 1 and 10", np.array([[1, 2], [3, 4]], np.int8), [1, 10], zeros)
show("float, scales 1 and 10", np.array([[1, 2], [30, 40]], np.float32), [1, 10], zeros)
EOP
v/bin/python weights.py 2> errors | tee seen || { cat errors; exit 1; }
printf '%s\n' \
    'uint8, zero point 128: [[-14.0, 1.0], [-64.0, 50.0]], as Quant [[63.5, 1.0], [63.5, 50.0]]' \
    'int8, zero point 0: [[-14.0, 1.0], [-64.0, 50.0]], as Quant [[-14.0, 1.0], [-64.0, 50.0]]' \
    'float, zero point 128: [[-14.0, 1.0], [-64.0, 50.0]], as Quant [[-14.0, 1.0], [-64.0, 50.0]]' \
    'int8, scales 1 and 10: [[1.0, 2.0], [30.0, 40.0]], as Quant [[1.0, 20.0], [0.0, 40.0]]' \
    'float, scales 1 and 10: [[1.0, 2.0], [30.0, 40.0]], as Quant [[1.0, 2.0], [30.0, 40.0]]' |
    diff - seen || { echo "changed: stored weights become other numbers, or the right ones"; exit 1; }
