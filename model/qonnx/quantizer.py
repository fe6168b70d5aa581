"""What the quantizing ops of QONNX do, as levels and the places between them; rounding and ties as qonnx executes them.

Measured on qonnx 1.0.0, against which a test holds this: Quant clips, then rounds; ROUND takes halves to even, HALF_UP
away from zero; a signed Quant of one bit takes the sign and gives -1 and +1, whatever narrow and the rounding mode say.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from popstream.model.qonnx.load import QonnxError
from popstream.model.qonnx.monotone import rationals

__all__ = ["MODES", "Quantizer", "bipolar", "quantizer"]

MODES = ("ROUND", "HALF_EVEN", "HALF_UP", "HALF_DOWN", "FLOOR", "CEIL", "UP", "DOWN")
HALF = Fraction(1, 2)
MOST_BITS = 8


def bound(mode: str, k: int) -> tuple[Fraction, bool]:
    """Where rounding first gives k or more: (v, whether v itself does)."""
    if mode in ("ROUND", "HALF_EVEN"):
        return k - HALF, k % 2 == 0
    if mode == "HALF_UP":  # away from zero
        return k - HALF, k >= 1
    if mode == "HALF_DOWN":
        return k - HALF, k < 1
    up = mode == "CEIL" or (mode == "UP" and k >= 1) or (mode == "DOWN" and k < 1)
    return (Fraction(k - 1), False) if up else (Fraction(k), True)


@dataclass(frozen=True)
class Quantizer:
    """Levels u of 0..count-1 for y = x / scale + zero; level u gives scale (step u + least - zero).

    scale: one, or one a channel, above 0 (of BipolarQuant alone any but 0). mode: of MODES, or "SIGN", whose two levels
    are 2 apart. gives: the scale of what comes out, where it is another (Trunc).
    """

    scale: tuple[Fraction, ...]
    zero: Fraction
    least: int
    count: int
    mode: str
    gives: tuple[Fraction, ...] | None = None

    @property
    def step(self) -> int:
        return 2 if self.mode == "SIGN" and self.count == 2 else 1

    def with_middle(self) -> "Quantizer":
        """Of -1 and +1 the levels 0 and 2: between them is a code for 0, which padding needs and no value gets."""
        return replace(self, count=3) if self.step == 2 else self

    @property
    def most(self) -> int:
        """The greatest of the numbers that the levels stand for, of which `least` is the smallest."""
        return self.least + self.step * (self.count - 1)

    @property
    def bits(self) -> int:
        """Of the codes 0..count-1."""
        return max(1, (self.count - 1).bit_length())

    def scale_of(self, c: int) -> Fraction:
        return self.scale[c if len(self.scale) > 1 else 0]

    def bound(self, c: int, level: int) -> tuple[Fraction, bool]:
        """Where x of channel c first gives `level` or more (1..count-1): (x, whether x itself does).

        Of a bipolar quantizer the scale plays no part.
        """
        if self.mode == "SIGN":
            return -self.zero * abs(self.scale_of(c)), True
        y, reached = bound(self.mode, level + self.least)
        return (y - self.zero) * self.scale_of(c), reached

    def line(self) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
        """(a, b) of value = a u + b for each entry of the scale."""
        scale = self.gives or self.scale
        return tuple(s * self.step for s in scale), tuple(s * (self.least - self.zero) for s in scale)


def quantizer(
    scale: np.ndarray, zero: np.ndarray, bits: np.ndarray, signed: bool, narrow: bool, mode: str, what: str
) -> Quantizer:
    """Of a Quant's inputs and attributes; QonnxError, begun by `what`, for those that no integers are behind."""
    width = single(bits, f"{what}: bit width")
    if width != int(width) or not 1 <= width <= MOST_BITS:
        raise QonnxError(f"{what}: bit width must be a whole number from 1 to {MOST_BITS}, not {width:g}")
    z = single(zero, f"{what}: zero point")
    if not np.isfinite(z):
        raise QonnxError(f"{what}: zero point must be finite, not {z:g}")
    mode = mode.upper()
    if mode not in MODES:
        raise QonnxError(f"{what}: rounding mode must be one of {', '.join(MODES)}, not {mode!r}")
    found = check_scale(scale, what)
    if (scale <= 0).any():
        raise QonnxError(f"{what}: scale must be above 0, not {scale.min():g}")
    b = int(width)
    if signed and b == 1:
        return Quantizer(found, Fraction(z), -1, 2, "SIGN")
    least = -(2 ** (b - 1)) + narrow if signed else 0
    most = 2 ** (b - 1) - 1 if signed else 2**b - 1 - narrow
    if most == least:
        raise QonnxError(f"{what}: {b} unsigned narrow bits have no value but 0; take more bits, or not narrow")
    return Quantizer(found, Fraction(z), least, most - least + 1, mode)


def bipolar(scale: np.ndarray, what: str) -> Quantizer:
    """Of a BipolarQuant: 0 counts as +1."""
    return Quantizer(check_scale(scale, what), Fraction(0), -1, 2, "SIGN")


def check_scale(scale: np.ndarray, what: str) -> tuple[Fraction, ...]:
    """Finite scales that are not 0; weights that are all 0 give Brevitas an infinite or undefined one."""
    if not np.isfinite(scale).all() or (scale == 0).any():
        wrong = next(v for v in scale.reshape(-1).tolist() if not np.isfinite(v) or v == 0)
        raise QonnxError(f"{what}: scale must be finite and not 0, not {wrong:g}; were weights or statistics all 0?")
    return rationals(scale)


def single(values: np.ndarray, what: str) -> float:
    """The one value of a scalar, or of a tensor whose entries are all alike."""
    if not values.size or (values != values.reshape(-1)[0]).any():
        raise QonnxError(f"{what} must be one for all channels, not {sorted(set(values.reshape(-1).tolist()))[:5]}")
    return float(values.reshape(-1)[0])
