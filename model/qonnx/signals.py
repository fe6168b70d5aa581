"""What flows between the nodes of a file, as functions of whole numbers that the manifest has: sources and signals.

A signal is a function (monotone.py), one a channel, of its source's whole number: a pixel, a layer's sum, the level
that a quantizer gives, a sum of two streams, or a sum over all pixels. Nothing becomes a node of the manifest before
somebody needs it as codes or as a stream (build.py).
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from popstream.model.manifest import signed_width
from popstream.model.qonnx.monotone import Affine, Function, Step
from popstream.model.qonnx.quantizer import Quantizer

__all__ = [
    "SHARE", "STREAM_BITS", "Added", "Constant", "Layer", "Levels", "Operand", "Pixels", "Pooled", "Signal", "Source",
    "uniform",
]  # fmt: skip

STREAM_BITS = 16  # at most
SHARE = "let both branches share one QuantIdentity"  # what helps where two cannot be added
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor of the file; of a quantized one the whole numbers w, too, with array = w * scale.

    scale is broadcast against the array.
    """

    array: np.ndarray
    whole: np.ndarray | None = None
    scale: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Pixels:
    """What enters: values[c][x] for a pixel, or an input code, x of 0 to len(values[c]) - 1."""

    shape: Shape
    values: tuple[tuple[Fraction, ...], ...]

    def reshaped(self, shape: Shape) -> "Pixels":
        """As so many channels of 1 x 1 pixels."""
        each = shape[0] // self.shape[0]
        return Pixels(shape, tuple(row for row in self.values for _ in range(each)))


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution's or a linear layer's sums of w u [C, H, W] over codes u: w int64 [O, I, K, K]."""

    shape: Shape
    source: "Levels | Pixels | Pooled | Pooling"
    weights: np.ndarray
    stride: int
    padding: int
    pad_code: int
    top: int  # greatest code

    @property
    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest sum of each channel."""
        flat = self.weights.reshape(len(self.weights), -1)
        return self.top * np.minimum(flat, 0).sum(1), self.top * np.maximum(flat, 0).sum(1)


@dataclass(frozen=True, eq=False)
class Operand:
    """One of two that are added: whole numbers, `factor` times those of the source."""

    source: "Levels | Added"
    factor: int

    @property
    def values(self) -> np.ndarray:
        """All that it can be, by level, or from the lowest sum to the highest."""
        return self.factor * self.source.values


@dataclass(frozen=True, eq=False)
class Added:
    """The sum r of two operands, a stream; with relu at least 0."""

    shape: Shape
    operands: tuple[Operand, Operand]
    low: int
    high: int
    where: str  # the node of the file and its scales, for messages
    relu: bool = False
    memo: dict = field(default_factory=dict)

    @property
    def values(self) -> np.ndarray:
        """All that it can be."""
        return np.arange(self.low, self.high + 1)

    @property
    def uneven(self) -> bool:
        """Whether no stream holds it: its scales are no small multiples of one unit."""
        return signed_width(self.low, self.high) > STREAM_BITS

    def rectified(self) -> "Added":
        """With ReLU behind, the same one whenever asked."""
        if "relu" not in self.memo:
            self.memo["relu"] = replace(self, relu=True, low=max(0, self.low), high=max(0, self.high), memo={})
        return self.memo["relu"]


@dataclass(frozen=True, eq=False)
class Pooled:
    """Sums over all `area` pixels of codes or of a stream, low..high."""

    shape: Shape
    source: "Levels | Added"
    area: int
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Pooling:
    """Codes that are max-pooled: the largest of squares of `size`."""

    shape: Shape
    source: "Levels | Pooling"
    size: int


Source = Pixels | Layer | Added | Pooled | Pooling


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels u that a quantizer makes of a signal; r = least + step u is what a stream of them holds.

    where: the node of the file, for messages; tensor: its output.
    """

    signal: "Signal"
    quantizer: Quantizer
    where: str
    tensor: str

    @property
    def shape(self) -> Shape:
        return self.signal.shape

    @property
    def values(self) -> np.ndarray:
        """r by level."""
        return self.quantizer.least + self.quantizer.step * np.arange(self.quantizer.count)

    @property
    def least(self) -> int:
        return self.quantizer.least

    @property
    def most(self) -> int:
        return self.quantizer.most


@dataclass(frozen=True, eq=False)
class Signal:
    """f_c of the source's whole number at each pixel; `flat`: shown as [1, C H W]."""

    source: "Source | Levels"
    function: Function
    shape: Shape
    flat: bool = False

    def then(self, step: Step) -> "Signal":
        return replace(self, function=self.function.then(step))


def uniform(step: Affine) -> tuple[Fraction, tuple[Fraction, ...]] | None:
    """The one slope of all channels, and the offsets; None where slopes differ."""
    return (step.a[0], step.b) if len(set(step.a)) == 1 else None
