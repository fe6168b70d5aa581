"""Quantized networks as their exporters write them, made by onnx alone: for tests of the import, in moments."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Graph", "mlp", "residual", "signs"]

GENERAL = "qonnx.custom_op.general"
QUANTS = ("Quant", "BipolarQuant", "Trunc", "MultiThreshold")


class Graph:
    """Grows node by node from the input `x`; each method returns the name of what it makes.

    domain: that of the quantizers. version: which is imported of it, or None for no import, as old files have it.
    """

    def __init__(self, shape: tuple[int, ...], seed: int = 0, domain: str = GENERAL, version: int | None = 2):
        self.rng = np.random.default_rng(seed)
        self.shape, self.domain, self.version = shape, domain, version
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.power_of_two = False

    def keep(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"p{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def node(self, op: str, *inputs: Any, **how: Any) -> str:
        """A node; inputs that are no names are stored."""
        names = [value if isinstance(value, str) else self.keep(value) for value in inputs]
        domain = self.domain if op in QUANTS else ""
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [f"t{len(self.nodes)}"], name=name, domain=domain, **how))
        return self.nodes[-1].output[0]

    def scale(self, low: float, high: float) -> float:
        """One drawn; a power of two where the network has such."""
        drawn = float(self.rng.uniform(low, high))
        return 2.0 ** round(np.log2(drawn)) if self.power_of_two else drawn

    def quant(
        self, source: Any, scale: Any, bits: int, signed: int = 1, narrow: int = 0, zero: float = 0, mode="ROUND"
    ):
        return self.node(
            "Quant", source, scale, zero, float(bits), signed=signed, narrow=narrow, rounding_mode=mode
        )  # fmt: skip

    def weights(self, shape: tuple[int, ...], bits: int, narrow: int = 1, per_channel: bool = False) -> str:
        """Quantized random weights; of one bit bipolar."""
        drawn = self.rng.normal(0, 1, shape)
        if bits == 1:
            return self.node("BipolarQuant", drawn, self.scale(0.05, 0.2))
        scale: Any = self.scale(1, 2) / 2 ** (bits - 1)
        if per_channel:
            scale = (scale * self.rng.uniform(0.5, 1.5, shape[0])).reshape(-1, *[1] * (len(shape) - 1))
        return self.quant(drawn, scale, bits, narrow=narrow)

    def conv(self, source: str, weights: str, *bias: Any, pad: int = 1, stride: int = 1, **how: Any) -> str:
        return self.node("Conv", source, weights, *bias, pads=[pad] * 4, strides=[stride] * 2, **how)

    def norm(self, source: str, channels: int, spread: float, negative: bool = False) -> str:
        """BatchNorm of sums that vary by about `spread`."""
        gamma = self.rng.uniform(0.5, 1.5, channels)
        if negative:
            gamma[::2] *= -1
        beta, mean = self.rng.normal(0, 0.3, channels), self.rng.normal(0, spread / 4, channels)
        var = spread**2 * self.rng.uniform(0.5, 1.5, channels)
        if self.power_of_two:
            gamma, beta = 2.0 ** np.round(np.log2(np.abs(gamma))), np.round(beta * 4) / 4
            mean, var = np.round(mean * 4) / 4, 4.0 ** np.round(np.log2(var) / 2)
            return self.node("BatchNormalization", source, gamma, beta, mean, var, epsilon=0.0)
        return self.node("BatchNormalization", source, gamma, beta, mean, var)

    def model(self, output: str) -> onnx.ModelProto:
        """The whole, the output's shape left to inference."""
        ends = [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape),
            helper.make_tensor_value_info(output, TensorProto.FLOAT, None),
        ]
        graph = helper.make_graph(self.nodes, "g", [ends[0]], [ends[1]], self.stored)
        opsets = [helper.make_opsetid("", 13)]
        if self.version is not None:
            opsets.append(helper.make_opsetid(self.domain, self.version))
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def residual(
    seed: int = 0,
    *,
    bits: tuple[int, int] = (2, 2),
    narrow: int = 1,
    per_channel: bool = False,
    negative: bool = False,
    power_of_two: bool = False,
    separate: float = 1,
    zero: float = 0,
    mode: str = "ROUND",
    pool: str = "ROUND",
    trunc: int = 2,
    domain: str = GENERAL,
    version: int | None = 2,
    classes: int = 3,
) -> onnx.ModelProto:
    """He's residual network as Brevitas exports it: an identity block and one with a projection, shared quantizers.

    separate: the scale of an addition's second branch, in that of the first. zero: the zero point of
    the image's quantizer. pool: the rounding mode of Trunc behind the average, of `trunc` version; "" for none.
    """
    g = Graph((1, 3, 8, 8), seed, domain, version)
    g.power_of_two = power_of_two
    weight, act = bits
    codes = 2**act - (0 if power_of_two else 1)

    def layer(source: str, ins: int, outs: int, kernel: int, stride: int = 1) -> str:
        w = g.weights((outs, ins, kernel, kernel), weight, narrow, per_channel)
        sums = g.conv(source, w, pad=kernel // 2, stride=stride)
        return g.norm(sums, outs, 0.7 * np.sqrt(ins * kernel**2 / (10 if weight == 1 else 1)), negative)

    def activate(source: str, scale: float) -> str:
        return g.quant(g.node("Relu", source), scale, act, signed=0, mode=mode)

    x = g.quant("x", 1 / 128 if power_of_two else 1 / 255 if not zero else 1 / 100, 8, signed=0, zero=zero)
    sums = g.conv(x, g.weights((4, 3, 3, 3), 8), pad=1)
    x = activate(g.norm(sums, 4, 2.0, negative), g.scale(1, 2) / codes)
    for ins, outs, stride in ((4, 4, 1), (4, 6, 2)):
        inner = activate(layer(x, ins, outs, 3, stride), g.scale(1, 2) / codes)
        shared = g.scale(0.01, 0.03)
        branch = g.quant(layer(inner, outs, outs, 3), shared, 8, mode=mode)
        other = layer(x, ins, outs, 1, stride) if stride == 2 else x
        skip = g.quant(other, shared * separate, 8, mode=mode)
        last_scale = g.scale(1, 2) / codes
        x = activate(g.node("Add", branch, skip), last_scale)
    mean = g.node("GlobalAveragePool", x)
    if pool:
        # Of 16 pixels: eight bits hold sums of 16 x 15, else the lowest are cut off.
        unit, fine = np.float32(last_scale) / np.float32(16), act + 4
        if trunc == 2:
            out = unit * np.float32(2.0 ** max(0, fine - 6))
            mean = g.node("Trunc", mean, unit, 0.0, float(fine), out, 6.0, rounding_mode=pool, signed=0, narrow=0)
        else:
            mean = g.node("Trunc", mean, unit, 0.0, float(fine), float(min(fine, 6)), rounding_mode=pool)
    flat = g.node("Flatten", mean, axis=1)
    w = g.weights((classes, 6), 8)
    return g.model(g.node("Gemm", flat, w, g.rng.normal(0, 0.3, classes), transB=1))


def signs(padding: int, zero: float = 0, mode: str = "ROUND", seed: int = 0) -> onnx.ModelProto:
    """Codes -1 and +1 (less `zero`) read by two convolutions with `padding`, one behind a max-pool; their average."""
    g = Graph((1, 3, 12, 12), seed)
    x, ins = g.quant("x", 1 / 255, 8, signed=0), 3
    for size in (1, 2, 1):
        x = g.norm(g.conv(x, g.weights((4, ins, 3, 3), 1 if ins > 3 else 8), pad=padding), 4, 3.0, negative=True)
        x = g.quant(x, 0.5, 1, zero=zero) if zero else g.node("BipolarQuant", x, 0.5)
        x = g.node("MaxPool", x, kernel_shape=[size] * 2, strides=[size] * 2) if size > 1 else x
        ins = 4
    edge = 6 if padding else 2
    unit, out = np.float32(0.5 / edge**2), np.float32(0.5 / edge**2) * np.float32(2)
    mean = g.node(
        "Trunc", g.node("GlobalAveragePool", x), unit, 0.0, 7.0, out, 6.0, rounding_mode=mode, signed=1, narrow=0
    )  # fmt: skip
    flat = g.node("Flatten", mean, axis=1)
    return g.model(g.node("Gemm", flat, g.weights((3, 4), 8), g.rng.normal(0, 0.3, 3), transB=1))


def mlp(
    seed: int = 0, bipolar: bool = True, domain: str = "onnx.brevitas", version: int | None = None, tied: bool = False
) -> onnx.ModelProto:
    """Linear layers in a row as the TFC networks of the model zoo: an image in a row, 2 x - 1, signed activations.

    With `tied` one more, whose weights are the last one's, transposed.
    """
    g = Graph((1, 1, 4, 4), seed, domain, None)
    row = g.node("Reshape", "x", g.keep([1, -1], np.int64))
    x = g.node("Sub", g.node("Mul", row, 2.0), [1.0])
    for ins, outs in ((16, 12), (12, 12)):
        x = g.node("BipolarQuant", x, 1.0) if bipolar else g.quant(x, 1.0, 2, narrow=1)
        w = g.weights((ins, outs), 1) if bipolar else g.quant(g.rng.normal(0, 1, (ins, outs)), 1.0, 2, narrow=1)
        x = g.norm(g.node("MatMul", x, w), outs, 3.0, negative=True)
    x = g.node("BipolarQuant", x, 1.0) if bipolar else g.quant(x, 1.0, 2, narrow=1)
    if tied:
        x = g.norm(g.node("MatMul", x, g.node("Transpose", w, perm=[1, 0])), 12, 3.0, negative=True)
        x = g.quant(x, 1.0, 2, narrow=1)
    logits = g.node("MatMul", x, g.quant(g.rng.normal(0, 1, (12, 3)), 1.0, 2, narrow=1))
    scaled = g.node("Div", g.node("Sub", logits, [0.44]), [17.8])
    return g.model(g.node("Softmax", scaled, axis=1))
