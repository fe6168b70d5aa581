"""Quant, BipolarQuant and Trunc: of weights whole numbers, of activations levels."""

from fractions import Fraction

import numpy as np
from onnx import NodeProto

from popstream.model.qonnx.context import Context, Value, attributes
from popstream.model.qonnx.layers import weights_of
from popstream.model.qonnx.load import QonnxError, shown
from popstream.model.qonnx.monotone import Affine, Clip, Function, rationals
from popstream.model.qonnx.quantizer import Quantizer, bipolar, quantizer, single
from popstream.model.qonnx.signals import Constant, Levels, Pooled, Signal

__all__ = ["bipolar_quant", "quant", "trunc"]

MOST_CODE = 255


def quant(reader: Context, node: NodeProto) -> Value:
    """Quant, of constants with as many bits as it likes: biases may have 32."""
    value, how = reader.values[node.input[0]], attributes(node)
    scale, zero, bits = parameters = [reader.constant(node, i).array for i in range(1, len(node.input))]
    mode = how.get("rounding_mode", b"ROUND").decode()
    if isinstance(value, Constant):
        reader.note(node, f"a constant of {float(bits.reshape(-1)[0]):g} bits, in whole numbers")
        return weights_of(value, node, parameters, how, mode)
    signed, narrow = bool(how.get("signed", 1)), bool(how.get("narrow", 1))
    return levels_of(reader, node, value, quantizer(scale, zero, bits, signed, narrow, mode, shown(node)))


def bipolar_quant(reader: Context, node: NodeProto) -> Value:
    value, scale = reader.values[node.input[0]], reader.constant(node, 1).array
    found = bipolar(scale, shown(node))
    if isinstance(value, Constant):
        reader.note(node, "a constant of 1 bit, -1 and +1")
        sign = np.where(value.array >= 0, 1, -1)
        return Constant((sign * scale).astype(np.float32), sign.astype(np.int64), scale)
    steps = value.function.steps
    if steps and isinstance(steps[-1], Clip) and steps[-1].low is not None and steps[-1].low >= 0:
        raise QonnxError(
            f"{shown(node)}: makes +1 of all that a ReLU leaves, as Brevitas exports a QuantReLU of 1 bit; take 2 "
            "bits, or leave out the ReLU"
        )
    return levels_of(reader, node, value, found)


def levels_of(reader: Context, node: NodeProto, signal: Signal, found: Quantizer) -> Signal:
    """A quantizer's output."""
    channels = signal.shape[0]
    if len(found.scale) not in (1, channels):
        raise QonnxError(f"{shown(node)}: has {len(found.scale)} scales for {channels} channels")
    if node.output[0] in reader.padded and not found.zero:
        found = found.with_middle()
    if isinstance(signal.source, Pooled) and found.step == 1 and found.least < 0 and positive(signal, found):
        found = Quantizer(found.scale, found.zero, 0, found.least + found.count, found.mode, found.gives)
    levels = Levels(signal, found, shown(node), node.output[0])
    a, b = found.line()
    return Signal(levels, Function(channels, (Affine(a, b),)), signal.shape, signal.flat)


def positive(signal: Signal, found: Quantizer) -> bool:
    """Whether all that a pool gives is 0 or more, with a quantizer without zero point."""
    pooled = signal.source
    assert isinstance(pooled, Pooled)
    ends = [signal.function.value(c, x) for c in range(signal.shape[0]) for x in (pooled.low, pooled.high)]
    return found.zero == 0 and min(ends) >= 0


def trunc(reader: Context, node: NodeProto) -> Value:
    """Of an average over all pixels, whose sums it finds again by its first scale and then shifts."""
    signal, how = reader.signal(node, 0), attributes(node)
    values = [single(reader.constant(node, i).array, f"{shown(node)}: input {i}") for i in range(1, len(node.input))]
    scale, zero, *rest = values
    line = signal.function.affine
    if not isinstance(signal.source, Pooled) or line is None or not signal.function.alike:
        raise QonnxError(f"{shown(node)}: stands behind no average over all pixels, where alone it is a shift")
    pooled, step = signal.source, signal.source.source.quantizer.step if isinstance(signal.source.source, Levels) else 1
    a, b = line.at(0)
    a /= step
    begin = round(b / a)  # the sums that the file means are `step` times those of the codes, and so much more
    low, high = step * pooled.low + begin, step * pooled.high + begin
    if zero or b != begin * a or abs(a / Fraction(scale) - 1) * max(abs(low), abs(high)) >= Fraction(1, 4):
        raise QonnxError(
            f"{shown(node)}: its scale {scale:g} is not that of the sums that it reads, {float(a):g}, or it has "
            "a zero point; export it with the quantizer before it"
        )
    mode = how.get("rounding_mode", b"FLOOR").decode().upper()
    if len(rest) == 2:  # version 1: bits before and after; keeps the scale, clips nothing
        steps, gives, bits, signed, narrow = rest[0] - rest[1], scale, 8.0, False, False
    else:
        _, out, bits = rest
        steps, gives = round(np.log2(out / scale)), out
        signed, narrow = bool(how.get("signed", 1)), bool(how.get("narrow", 0))
    found = quantizer(
        np.array(1.0), np.array(0.0), np.array(bits), signed, narrow, mode, shown(node)
    )  # fmt: skip
    found = Quantizer((a * Fraction(2) ** int(steps),), Fraction(0), found.least, found.count, mode, rationals(gives))
    most = found.least + found.count - 1
    if steps < 0 and low >= 0 and high <= min(255, most * 2**steps):  # a gain: the sums as they are
        found = Quantizer((a,), Fraction(0), 0, high + 1, mode, rationals(gives * 2.0**-steps))
    if len(rest) == 2 and (low < 0 or high / 2**steps > 255):
        raise QonnxError(
            f"{shown(node)}: gives codes below 0 or above 255; let it keep 8 bits or fewer, of codes from 0"
        )
    return levels_of(reader, node, signal, found)
