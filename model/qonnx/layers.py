"""Convolutions and linear layers: weights as whole numbers, and sums over the codes of what they read."""

from fractions import Fraction
from typing import Any

import numpy as np
from onnx import NodeProto

from popstream.model.manifest import signed_width
from popstream.model.qonnx.load import QonnxError, shown
from popstream.model.qonnx.monotone import Affine, Function, rationals
from popstream.model.qonnx.quantizer import check_scale
from popstream.model.qonnx.signals import Constant, Layer, Levels, Pixels, Pooled, Pooling, Signal

__all__ = ["layer_of", "weight_attributes", "weight_codes", "weights_of"]

WEIGHT_BITS = 8


def weights_of(
    value: Constant, node: NodeProto, parameters: list[np.ndarray], how: dict[str, Any], mode: str
) -> Constant:
    """Quantized weights by qonnx's own division in the file's precision, and the whole numbers behind them."""
    from qonnx.custom_op.general.quant import quant

    scale, zero, bits = parameters
    check_scale(scale, shown(node))
    given = quant(value.array, scale, zero, bits, how.get("signed", 1), how.get("narrow", 1), mode)
    return Constant(np.asarray(given, np.float32), np.rint(given / scale).astype(np.int64), scale)


def whole_weights(weights: Constant, where: str) -> tuple[np.ndarray, np.ndarray]:
    """(w int64, scale) with weights = w scale; scale broadcasts against w. Floats may be whole already."""
    if weights.whole is not None:
        assert weights.scale is not None
        return weights.whole, np.asarray(weights.scale, np.float64)
    if (weights.array != np.rint(weights.array)).any():
        raise QonnxError(f"{where}: its weights are not quantized; use a layer with a weight quantizer (QuantConv2d)")
    return np.rint(weights.array).astype(np.int64), np.array(1.0)


def lattice(signal: Signal, where: str) -> tuple[Any, Function]:
    """The source whose codes the layer reads, and the function of them, an affine one."""
    source, function = signal.source, signal.function
    if isinstance(source, Pixels):
        lines = []
        for values in source.values:
            step = values[1] - values[0]
            if step <= 0 or any(value != values[0] + step * x for x, value in enumerate(values)):
                raise QonnxError(
                    f"{where}: reads the image, which no quantizer has made whole numbers; put a QuantIdentity before "
                    "it, or say with --raw, --mean and --std how pixels enter in even steps"
                )
            lines.append((step, values[0]))
        steps, offsets = (tuple(column) for column in zip(*lines, strict=True))
        return source, Function(len(lines), (Affine(steps, offsets),)).extended(list(function.steps))
    if not isinstance(source, Levels | Pooled | Pooling):
        raise QonnxError(f"{where}: reads values that no quantizer has made codes of; put a quantizer before it")
    return source, function


def top_of(source: Levels | Pixels | Pooled | Pooling, where: str) -> int:
    """The greatest code."""
    if isinstance(source, Pooling):
        return top_of(source.source, where)
    if isinstance(source, Pooled):
        if source.low < 0 or source.high > 255:
            raise QonnxError(
                f"{where}: reads an average whose sums of {source.low} to {source.high} do not fit into 8 bits; "
                "quantize it (TruncAvgPool2d)"
            )
        return source.high
    return len(source.values[0]) - 1 if isinstance(source, Pixels) else source.quantizer.count - 1


def geometry(node: NodeProto, how: dict[str, Any], weights: np.ndarray, signal: Signal) -> tuple[int, int]:
    """Stride and padding of a Conv; QonnxError for kernels that no stage has."""
    where = shown(node)
    if weights.ndim != 4:
        raise QonnxError(f"{where}: convolves over {weights.ndim - 2} axes; only images can be")
    if how.get("group", 1) != 1:
        raise QonnxError(f"{where}: is in {how['group']} groups (depthwise?); only group = 1 can be")
    if set(how.get("dilations", [1])) != {1}:
        raise QonnxError(f"{where}: is dilated; only dilation 1 can be")
    k, strides, pads = weights.shape[2], set(how.get("strides", [1])), set(how.get("pads", [0]))
    if weights.shape[3] != k or k % 2 == 0 or k > 31:
        raise QonnxError(f"{where}: has a kernel of {weights.shape[2]} x {weights.shape[3]}; only odd squares can be")
    if len(strides) != 1 or not strides <= {1, 2}:
        raise QonnxError(f"{where}: has strides {how['strides']}; only 1 or 2 in both directions can be")
    if how.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or len(pads) != 1:
        raise QonnxError(f"{where}: pads its sides differently; give one padding for all four")
    return strides.pop(), pads.pop()


def layer_of(
    node: NodeProto, how: dict[str, Any], signal: Signal, weights: Constant, bias: np.ndarray | None
) -> tuple[Signal, str]:
    """The layer's sums as a signal: scale_w scale_a times them, and the bias; and what to say of it."""
    where = shown(node)
    w, scale = whole_weights(weights, where)
    if node.op_type == "Conv":
        stride, padding = geometry(node, how, w, signal)
        scale = scale.reshape(-1) if scale.size == 1 else each(scale, (len(w), 1, 1, 1), where)
    else:
        if how.get("transA") or how.get("alpha", 1.0) != 1.0 or how.get("beta", 1.0) != 1.0:
            raise QonnxError(f"{where}: has alpha, beta or transA; export a plain linear layer")
        turned = how.get("transB", 0)
        outs = w.shape[0] if turned else w.shape[1]
        scale = scale.reshape(-1) if scale.size == 1 else each(scale, (outs, 1) if turned else (1, outs), where)
        w = as_kernel(w if turned else w.T, signal, where)
        stride, padding = 1, 0
    if w.shape[1] != signal.shape[0]:
        raise QonnxError(f"{where}: takes {w.shape[1]} channels, and gets {signal.shape[0]}")
    source, function = lattice(signal, where)
    line = function.affine
    if line is None:
        raise QonnxError(f"{where}: reads codes behind a ReLU or clip; put a quantizer before it")
    if len({*line.a}) != 1 or not line.a[0]:
        raise QonnxError(f"{where}: reads codes of another scale in each channel; take one for all (per tensor)")
    pad_code = 0
    if padding:
        code = -line.b[0] / line.a[0]
        top = top_of(source, where)
        if len({*line.b}) != 1 or code.denominator != 1 or not 0 <= code <= top:
            raise QonnxError(
                f"{where}: pads with 0, for which its input has no code (levels {float(line.b[0]):g} + "
                f"{float(line.a[0]):g} u); take a quantizer that has 0, or no padding"
            )
        pad_code = int(code)
    size = (
        (signal.shape[1] + 2 * padding - w.shape[2]) // stride + 1,
        (signal.shape[2] + 2 * padding - w.shape[3]) // stride + 1,
    )
    layer = Layer((len(w), *size), source, w, stride, padding, pad_code, top_of(source, where))
    scales = rationals(scale) * (len(w) // scale.size)
    sums = w.sum((2, 3)).tolist()
    offsets = line.b * (w.shape[1] // len(line.b))
    shift = [sum((o * s for o, s in zip(offsets, row, strict=True)), Fraction(0)) for row in sums]
    added = rationals(np.zeros(1) if bias is None else bias)
    if len(added) not in (1, len(w)):
        raise QonnxError(f"{where}: has {len(added)} biases for {len(w)} channels")
    added = added * (len(w) // len(added))
    a = tuple(line.a[0] * s for s in scales)
    b = tuple(s * o + extra for s, o, extra in zip(scales, shift, added, strict=True))
    low, high = layer.ranges
    text = f"sums of {int(np.abs(w).max())} x {layer.top} at most, {int(low.min()):,} to {int(high.max()):,}: exact"
    return Signal(layer, Function(len(w), (Affine(a, b),)), layer.shape), text


def each(scale: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Scales of the output channels."""
    if scale.shape != shape:
        raise QonnxError(
            f"{where}: weights have scales of shape {list(scale.shape)}; one for all or for each output channel, "
            f"{list(shape)}, can be"
        )
    return scale.reshape(-1)


def as_kernel(w: np.ndarray, signal: Signal, where: str) -> np.ndarray:
    """A linear layer's weights [O, I] as a kernel over the image that was flattened."""
    c, h, pixels = signal.shape
    if not signal.flat:
        return w[:, :, None, None]
    if h != pixels or h % 2 == 0 or h > 31:
        raise QonnxError(f"{where}: reads {h} x {pixels} pixels in a row; only odd squares can be; pool before")
    return w.reshape(len(w), c, h, pixels) if w.shape[1] == c * h * pixels else w[:, :, None, None]


def weight_attributes(weights: np.ndarray) -> dict[str, Any]:
    """The fewest bits that hold the weights: one odd bit where all are -1 or +1, else two's complement."""
    if (np.abs(weights) == 1).all():
        return dict(weight_bits=1, weights="odd")
    width = signed_width(int(weights.min()), int(weights.max()))
    if width > WEIGHT_BITS:
        raise QonnxError(
            f"weights of {int(weights.min())} to {int(weights.max())} (some negated, for a BatchNorm of negative gain) "
            f"need {width} bits, of {WEIGHT_BITS}; take narrow weights, or no zero point"
        )
    return dict(weight_bits=width, weights="signed")


def weight_codes(weights: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    """The codes q (R2, R24)."""
    if attributes["weights"] == "odd":
        return ((weights + 1) // 2).astype(np.uint8)
    return (weights & (2 ** attributes["weight_bits"] - 1)).astype(np.uint8)
