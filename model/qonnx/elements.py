"""Ops that leave each pixel where it is: BatchNorm, ReLU, clips and constants become steps of a signal's function."""

from fractions import Fraction

import numpy as np
from onnx import NodeProto

from popstream.model.qonnx.context import ONE, ZERO, Context, Value, attributes, scaled
from popstream.model.qonnx.joins import join
from popstream.model.qonnx.load import QonnxError, shown
from popstream.model.qonnx.monotone import Affine, Clip, Leaky, root
from popstream.model.qonnx.quantizer import single
from popstream.model.qonnx.signals import Added, Constant, Signal

__all__ = ["arithmetic", "clip", "leaky", "negated", "norm", "relu"]


def relu(reader: Context, node: NodeProto) -> Value:
    signal = reader.signal(node, 0)
    line = signal.function.affine
    if isinstance(signal.source, Added) and line is not None and all(a > 0 for a in line.a) and set(line.b) == {0}:
        reader.note(node, "the addition's ReLU")
        return Signal(signal.source.rectified(), signal.function, signal.shape, signal.flat)
    return reader.folded(node, Clip(Fraction(0), None))


def clip(reader: Context, node: NodeProto) -> Value:
    how = attributes(node)
    ends: list[Fraction | None] = []
    for index, key in ((1, "min"), (2, "max")):
        given = how.get(key)
        if len(node.input) > index and node.input[index]:
            given = single(reader.constant(node, index).array, f"{shown(node)}: {key}")
        ends.append(None if given is None or np.isinf(given) else Fraction(float(given)))
    return reader.folded(node, Clip(*ends))


def leaky(reader: Context, node: NodeProto) -> Value:
    slope = Fraction(attributes(node).get("alpha", 0.01))
    if slope <= 0:
        raise QonnxError(f"{shown(node)}: its slope must be above 0, not {float(slope):g}")
    return reader.folded(node, Leaky(slope))


def norm(reader: Context, node: NodeProto) -> Value:
    signal, how = reader.signal(node, 0), attributes(node)
    gamma, beta, mean, var = (
        reader.channelwise(node, reader.constant(node, i).array, signal, by_channel=True) for i in range(1, 5)
    )
    if how.get("training_mode"):
        raise QonnxError(f"{shown(node)}: is exported in training mode; call model.eval() before")
    epsilon = Fraction(how.get("epsilon", 1e-5))
    if any(v + epsilon <= 0 for v in var):
        raise QonnxError(f"{shown(node)}: its variance must be above 0")
    wide = max(map(len, (gamma, beta, mean, var)))
    gamma, beta, mean, var = (values * (wide // len(values)) for values in (gamma, beta, mean, var))
    a = tuple(g / root(v + epsilon) for g, v in zip(gamma, var, strict=True))
    b = tuple(o - m * g for o, m, g in zip(beta, mean, a, strict=True))
    reader.note(node, "folded into what reads it, in rationals")
    return signal.then(Affine(a, b))


def arithmetic(reader: Context, node: NodeProto) -> Value:
    """Add, Sub, Mul and Div with a constant, or of two signals."""
    first, second = (reader.values[name] for name in node.input)
    if isinstance(first, Signal) and isinstance(second, Signal):
        return join(reader, node, first, second)
    signal, fixed = (first, second) if isinstance(first, Signal) else (second, first)
    assert isinstance(signal, Signal)
    assert isinstance(fixed, Constant)
    values, swapped = reader.channelwise(node, fixed.array, signal), isinstance(first, Constant)
    if node.op_type == "Div" and (swapped or 0 in values):
        raise QonnxError(f"{shown(node)}: divides by {'an activation' if swapped else '0'}; only constants can be")
    minus = tuple(-v for v in values)
    step = {
        "Add": Affine(ONE, values),
        "Sub": Affine((Fraction(-1),), values) if swapped else Affine(ONE, minus),
        "Mul": Affine(values, ZERO),
        "Div": Affine(tuple(1 / v if v else v for v in values), ZERO),
    }[node.op_type]
    reader.note(node, "folded into what reads it")
    return signal.then(step)


def negated(reader: Context, node: NodeProto) -> Value:
    return reader.folded(node, scaled(-1))
