"""Where a quantizer's levels begin, for each whole number that a channel of its source can have."""

from fractions import Fraction

import numpy as np

from popstream.model.qonnx.requant import Stairs
from popstream.model.qonnx.signals import Levels, Pixels

__all__ = ["level_at", "rising_stairs", "stairs_of", "table_of"]


def stairs_of(levels: Levels, c: int, low: int, high: int) -> Stairs:
    """Of channel c, over sums low..high; of the negated sum, from -high to -low, where the channel falls."""
    function, quantizer, place = levels.signal.function, levels.quantizer, c
    a, b = function.line(c)
    falls = function.slope(c) < 0
    if falls:
        function, place, low, high = function.mirrored(c), 0, -high, -low
    at = [function.first(place, *quantizer.bound(c, u), low, high) for u in range(1, quantizer.count)]
    scale = abs(quantizer.scale_of(c))
    return Stairs(
        quantizer.least + 1, np.array(at, np.int64), low, high, falls, abs(a) / scale, b / scale + quantizer.zero
    )  # fmt: skip


def rising_stairs(levels: Levels, low: list[int], high: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds int64 [C, 2^bits - 1], and which channels fall (their thresholds are of the negated sum)."""
    bits, count = levels.quantizer.bits, levels.quantizer.count
    found = [stairs_of(levels, c, low[c], high[c]) for c in range(levels.shape[0])]
    never = 2**bits - count
    rows = [np.concatenate([stairs.at, np.full(never, stairs.high + 1)]) for stairs in found]
    return np.stack(rows), np.array([stairs.falls for stairs in found])


def level_of(levels: Levels, c: int, value: Fraction) -> int:
    """The level of f_c(value)."""
    y = levels.signal.function.value(c, value)
    level = 0
    for u in range(1, levels.quantizer.count):
        bound, reached = levels.quantizer.bound(c, u)
        if y < bound or (y == bound and not reached):
            break
        level = u
    return level


def level_at(levels: Levels, c: int, x: int) -> int:
    """The level at the whole number x of the source."""
    source = levels.signal.source
    return level_of(levels, c, source.values[c][x] if isinstance(source, Pixels) else Fraction(x))


def table_of(levels: Levels, source: Pixels) -> np.ndarray:
    """Levels int64 [C, number of pixel values]."""
    alike = levels.signal.function.alike and len(levels.quantizer.scale) == 1
    rows: dict[object, list[int]] = {}
    for c, values in enumerate(source.values):
        key = values if alike else c
        if key not in rows:
            rows[key] = [level_of(levels, c, value) for value in values]
    return np.array([rows[values if alike else c] for c, values in enumerate(source.values)], np.int64)
