"""What is known of a file's tensors while its nodes are read one after the other, and how a node asks for it."""

from fractions import Fraction
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from popstream.model.qonnx.load import QonnxError, shown
from popstream.model.qonnx.monotone import Affine, Step, rationals
from popstream.model.qonnx.signals import Constant, Signal

__all__ = ["Context", "Value", "attributes", "scaled"]

ONE, ZERO = (Fraction(1),), (Fraction(0),)
Value = Constant | Signal


class Context:
    """values: every tensor so far; shapes: those of the file; rows: what each node of the file was taken as.

    padded: the tensors that a convolution puts a border of zeros around.
    """

    def __init__(self, values: dict[str, Value], shapes: dict[str, tuple[int, ...]]):
        self.values, self.shapes = values, shapes
        self.rows: dict[str, str] = {}
        self.padded: set[str] = set()

    def signal(self, node: NodeProto, index: int) -> Signal:
        """An input that depends on the image."""
        value = self.values[node.input[index]]
        if not isinstance(value, Signal):
            raise QonnxError(f"{shown(node)}: its input {node.input[index]!r} is constant where an activation must be")
        return value

    def constant(self, node: NodeProto, index: int) -> Constant:
        """An input that does not."""
        value = self.values[node.input[index]]
        if not isinstance(value, Constant):
            what = "weights" if node.op_type in ("Conv", "Gemm", "MatMul") else "parameters"
            raise QonnxError(
                f"{shown(node)}: its {what} {node.input[index]!r} depend on the image; let them be constant"
            )
        return value

    def channelwise(
        self, node: NodeProto, values: np.ndarray, signal: Signal, by_channel: bool = False
    ) -> tuple[Fraction, ...]:
        """A constant that is combined with a signal: one for all, or each channel (by_channel: as BatchNorm's)."""
        channels = signal.shape[0]
        flat = values.reshape(-1)
        if not np.isfinite(flat.astype(np.float64)).all():
            raise QonnxError(f"{shown(node)}: a constant of it is not finite")
        if flat.size and (flat == flat[0]).all():
            return rationals(flat[:1])
        rank = 2 if signal.flat or (signal.shape[1:] == (1, 1) and len(self.shapes.get(node.output[0], ())) == 2) else 4
        wanted = (1, channels) if rank == 2 else (1, channels, 1, 1)
        shape = (1,) * (rank - values.ndim) + values.shape
        if (shape != wanted and not (by_channel and flat.size == channels)) or signal.flat:
            raise QonnxError(
                f"{shown(node)}: a constant of shape {list(values.shape)} is neither one for all nor one for each of "
                f"{channels} channels"
            )
        return rationals(flat)

    def note(self, node: NodeProto, text: str) -> None:
        self.rows[shown(node)] = text

    def folded(self, node: NodeProto, step: Step) -> Signal:
        """The node's input with a step behind it."""
        self.note(node, "folded into what reads it")
        return self.signal(node, 0).then(step)


def attributes(node: NodeProto) -> dict[str, Any]:
    """The node's attributes by their names."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def scaled(factor: int | Fraction) -> Affine:
    """factor x."""
    return Affine((Fraction(factor),), ZERO)
