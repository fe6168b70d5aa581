"""Sums over all pixels as the manifest's pool (R10): a shift, where the quantizer behind an average is exactly one."""

from dataclasses import dataclass
from math import log2

import numpy as np

from popstream.model.qonnx.load import QonnxError
from popstream.model.qonnx.signals import Levels, Pooled
from popstream.model.qonnx.stairs import stairs_of

__all__ = ["Shift", "bits_of_sums", "shift_of"]

CODE_BITS, MOST_STREAM, MOST_SHIFT = 8, 2**15, 31
FINER = 12  # bits more that a stream may have so that its sum is rounded down


@dataclass(frozen=True)
class Shift:
    """(sum + half) >> shift, of codes u, or where `table` is given (a value for each of them) of 2^m u - d.

    The latter rounds down: the sum of all d is the half.
    """

    bits: int
    shift: int
    ties: str = "up"
    table: np.ndarray | None = None


def bits_of_sums(pooled: Pooled, where: str) -> int:
    """Bits of the sums as they are; QonnxError where they are no codes."""
    if pooled.low < 0 or pooled.high >= 2**CODE_BITS:
        raise QonnxError(
            f"{where}: no shift of the sums of {pooled.area} pixels does what it does, and sums of {pooled.low} to "
            f"{pooled.high} do not fit into 8 bits; average by TruncAvgPool2d"
        )
    return max(1, pooled.high.bit_length())


def shift_of(levels: Levels, pooled: Pooled, top: int) -> Shift | None:
    """The shift that gives the levels of every sum; None where none does. top: the greatest code that is summed."""
    if not levels.signal.function.alike or len(levels.quantizer.scale) != 1:
        raise QonnxError(f"{levels.where}: has another scale for each channel of a pool; take one for all")
    stairs, bits = stairs_of(levels, 0, pooled.low, pooled.high), levels.quantizer.bits
    if stairs.falls or levels.least or not stairs.slope:
        return None
    wanted = np.pad(stairs.at, (0, 2**bits - levels.quantizer.count), constant_values=pooled.high + 1)
    shift = round(-log2(stairs.slope))
    if not 0 <= shift <= MOST_SHIFT:
        return None
    code = np.arange(1, len(wanted) + 1, dtype=np.int64)
    half = 2**shift // 2
    for ties in ("up", "even"):
        at = code * 2**shift - half + (code % 2 if ties == "even" and shift else 0)
        if (wanted == np.clip(at, pooled.low, pooled.high + 1)).all():
            return Shift(bits, shift, ties)
    return finer(pooled, wanted, shift, bits, top) if isinstance(pooled.source, Levels) else None


def finer(pooled: Pooled, wanted: np.ndarray, shift: int, bits: int, top: int) -> Shift | None:
    """By codes that enter as 2^m u - d, with the least m that is exact."""
    code = np.arange(1, len(wanted) + 1, dtype=np.int64)
    for more in range(FINER):
        half = 2 ** (shift + more) // 2
        below = half // pooled.area
        if max(top << more, below) >= MOST_STREAM or shift + more > MOST_SHIFT:
            return None
        at = -((half - pooled.area * below - code * 2 ** (shift + more)) // 2**more)
        if (wanted == np.clip(at, pooled.low, pooled.high + 1)).all():
            return Shift(bits, shift + more, "up", (np.arange(top + 1) << more) - below)
    return None
