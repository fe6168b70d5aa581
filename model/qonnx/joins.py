"""Additions of two signals, and pools."""

from fractions import Fraction
from math import gcd

from onnx import NodeProto

from popstream.model.qonnx.context import Context, Value, attributes, scaled
from popstream.model.qonnx.load import QonnxError, shown
from popstream.model.qonnx.monotone import Affine, Function
from popstream.model.qonnx.signals import SHARE, Added, Levels, Operand, Pooled, Pooling, Signal

__all__ = ["average", "join", "maxpool"]

MOST = 2**60  # of an exact sum


def join(reader: Context, node: NodeProto, first: Signal, second: Signal) -> Signal:
    """Two signals added: whole numbers of one unit, the greatest that both scales are multiples of."""
    if node.op_type not in ("Add", "Sub"):
        raise QonnxError(f"{shown(node)}: multiplies or divides two activations; only constants can be")
    if first.shape != second.shape:
        raise QonnxError(f"{shown(node)}: adds {list(first.shape)} and {list(second.shape)}; shapes must be equal")
    if first.source is second.source and first.function == second.function and node.op_type == "Add":
        reader.note(node, "folded into what reads it: twice the same")
        return first.then(scaled(2))
    slopes, offsets = [], []
    for signal, sign in ((first, 1), (second, -1 if node.op_type == "Sub" else 1)):
        line = signal.function.affine
        if not isinstance(signal.source, Levels | Added) or line is None:
            raise QonnxError(
                f"{shown(node)}: adds a value that no quantizer bounds; put one QuantIdentity before the addition, "
                "which both branches share"
            )
        if len({*line.a}) != 1 or not line.a[0]:
            raise QonnxError(f"{shown(node)}: adds a value of another scale in each channel; take one for all")
        step = signal.source.quantizer.step if isinstance(signal.source, Levels) else 1
        least = signal.source.least if isinstance(signal.source, Levels) else 0
        slope = line.a[0] / step
        slopes.append(sign * slope)
        offsets.append(tuple(sign * (b - slope * least) for b in line.b))
    unit = Fraction(
        gcd(*(slope.numerator * other.denominator for slope, other in (slopes, slopes[::-1]))),
        slopes[0].denominator * slopes[1].denominator,
    )
    factors = [slope / unit for slope in slopes]
    operands, low, high = [], 0, 0
    for signal, factor in zip((first, second), factors, strict=True):
        source = signal.source
        assert isinstance(source, Levels | Added)
        ends = (source.least, source.most) if isinstance(source, Levels) else (source.low, source.high)
        least, most = sorted(int(factor) * end for end in ends)
        low, high = low + least, high + most
        operands.append(Operand(source, int(factor)))
    wide = max(map(len, offsets))
    b = tuple(sum(pair, Fraction(0)) for pair in zip(*(o * (wide // len(o)) for o in offsets), strict=True))
    scales = " and ".join(f"{float(abs(slope)):.6g}" for slope in slopes)
    added = Added(first.shape, (operands[0], operands[1]), low, high, f"{shown(node)}: adds values of scales {scales}")
    again = [o.source for o in operands if isinstance(o.source, Added)]
    if max(-low, high) >= MOST or (added.uneven and again):
        why = "and what is added is a sum already" if again else "too far apart"
        raise QonnxError(f"{added.where}, {why}; {SHARE}")
    if added.uneven:
        reader.note(node, f"an addition of scales {scales}, as whole numbers for what reads it: exact for every pair")
    else:
        reader.note(node, f"an addition of streams, {low:,} to {high:,}: exact")
    return Signal(added, Function(first.shape[0], (Affine((unit,), b),)), first.shape, first.flat)


def maxpool(reader: Context, node: NodeProto) -> Value:
    signal, how = reader.signal(node, 0), attributes(node)
    size = tuple(how.get("kernel_shape", ()))
    c, h, w = signal.shape
    line = signal.function.affine
    if not isinstance(signal.source, Levels | Pooling) or line is None or any(a <= 0 for a in line.a):
        raise QonnxError(f"{shown(node)}: reads no codes; put it behind a quantizer")
    plain = not any(how.get("pads", [0])) and not how.get("ceil_mode") and set(how.get("dilations", [1])) == {1}
    if len(size) != 2 or size[0] != size[1] or not 2 <= size[0] <= 8 or tuple(how.get("strides", ())) != size:
        plain = False
    if not plain:
        raise QonnxError(f"{shown(node)}: takes other than squares of 2 to 8, side by side; let its stride be its size")
    shape = (c, h // size[0], w // size[0])
    reader.note(node, f"a max-pool of codes, {size[0]} x {size[0]}: exact")
    return Signal(Pooling(shape, signal.source, size[0]), signal.function, shape)


def average(reader: Context, node: NodeProto) -> Value:
    signal, how = reader.signal(node, 0), attributes(node)
    c, h, w = signal.shape
    whole = node.op_type != "AveragePool" or (
        list(how.get("kernel_shape", ())) == [h, w] and not any(how.get("pads", [0]))
    )
    if node.op_type == "ReduceMean":
        axes = how.get("axes") or (reader.constant(node, 1).array.tolist() if len(node.input) > 1 else [])
        whole = sorted(axis % 4 for axis in axes) == [2, 3]
    if not whole:
        raise QonnxError(f"{shown(node)}: averages a part of {h} x {w} pixels; only averages over all of them can be")
    line, source = signal.function.affine, signal.source
    if not isinstance(source, Levels | Added) or line is None:
        raise QonnxError(f"{shown(node)}: averages values that no quantizer bounds; put a quantizer before it")
    ends = (0, source.quantizer.count - 1) if isinstance(source, Levels) else (source.low, source.high)
    pooled = Pooled((c, 1, 1), source, h * w, *(h * w * end for end in ends))
    reader.note(node, f"a sum over {h} x {w} pixels: exact")
    mean = Affine(tuple(a / (h * w) for a in line.a), line.b)
    return Signal(pooled, Function(c, (mean,)), (c, 1, 1))
