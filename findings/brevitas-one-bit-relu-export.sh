#!/usr/bin/env bash
# Brevitas 0.13.4: a QuantReLU of one bit computes 0 or its scale; exported as QONNX, it gives the scale for every input.
#
# Guess, written before the run: export_qonnx of QuantReLU(bit_width=1) writes what Brevitas computes in eval mode, as it
# does for 2 to 8 bits (an unsigned Quant behind Relu), so that qonnx's executor gives 0 or scale as well. Seen: of one
# bit, Brevitas itself gives both values, and the file holds Relu and BipolarQuant, which counts 0 as +1: all that a
# ReLU leaves becomes +scale. The exporter warns of nothing. Of two bits both agree. Around it: two bits, or
# SignedBinaryActPerTensorConst without the ReLU, whose codes -1 and +1 the file keeps.
#
# Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check torch==2.13.0 brevitas==0.13.4 qonnx==1.0.0 onnx==1.23.2 \
    onnxruntime==1.32.0 onnxoptimizer==0.4.2 onnxscript==0.7.2
cat > relu.py <<'EOP'
import warnings

warnings.simplefilter("ignore")
import brevitas.nn as qnn
import torch
from brevitas import quant
from brevitas.export import export_qonnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model

for bits in (1, 2):
    torch.manual_seed(0)
    relu = qnn.QuantReLU(act_quant=quant.Uint8ActPerTensorFloat, bit_width=bits)
    relu.train()
    for _ in range(4):
        relu(torch.randn(1, 8))  # gives the scale
    relu.eval()
    x = torch.linspace(-2, 4, 8)[None]
    ours = relu(x).detach()
    export_qonnx(relu, args=x, export_path="relu.onnx", dynamo=False)
    model = cleanup_model(ModelWrapper("relu.onnx"))
    ends = model.graph.input[0].name, model.graph.output[0].name
    theirs = torch.from_numpy(execute_onnx(model, {ends[0]: x.numpy()})[ends[1]])
    step = ours[ours > 0].min()
    print(bits, "bits:", *(node.op_type for node in model.graph.node))
    print("  Brevitas:", *(ours / step).round().int().flatten().tolist())
    print("  file:    ", *(theirs / step).round().int().flatten().tolist())
EOP
v/bin/python relu.py 2> errors | tee seen || { cat errors; exit 1; }
printf '%s\n' '1 bits: Relu BipolarQuant' '  Brevitas: 0 0 0 0 1 1 1 1' '  file:     1 1 1 1 1 1 1 1' \
    '2 bits: Relu Quant' '  Brevitas: 0 0 0 1 3 3 3 3' '  file:     0 0 0 1 3 3 3 3' |
    diff - seen || { echo "changed: a QuantReLU of one bit is exported otherwise"; exit 1; }
