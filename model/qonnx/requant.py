"""Steps of a quantizer as multiply, add and shift (rule R5): exact for every sum of a channel, or not at all.

A rising staircase is where it first reaches each of its levels. So is what M, B and F make, and both are equal where
all these places are: a few comparisons a channel prove it for every sum.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

__all__ = ["Stairs", "fit"]

SHIFTS = (*range(16, 32), *range(15, 0, -1))
SMALL = 2**15  # a multiplier below it takes one 18x18 multiplier
MOST = 2**31
ROOM = 2**62  # of |sum M + B|


@dataclass(frozen=True)
class Stairs:
    """For one channel: the smallest sum of low..high at which each of the levels first..first + len(at) - 1 is reached,
    high + 1 where never. falls: the channel falls with the sum, and all this is of the negated sum.
    """

    first: int
    at: np.ndarray
    low: int
    high: int
    falls: bool
    slope: Fraction  # levels a unit of the sum, at least 0
    offset: Fraction  # the level, as a real number, of the sum 0

    def opened(self, below: bool, above: bool) -> "Stairs":
        """With the level below the first (always reached) and above the last (never), where nothing clips there."""
        at, first = self.at, self.first
        if below:
            at, first = np.concatenate([[self.low], at]), first - 1
        if above:
            at = np.concatenate([at, [self.high + 1]])
        return replace(self, first=first, at=at)


def bounds(stairs: Stairs, multiplier: int, shift: int, even: bool) -> tuple[int, int]:
    """The least and the greatest B for which (sum M + B) / 2^shift, rounded, has these stairs; crossed: none."""
    levels = np.arange(stairs.first, stairs.first + len(stairs.at), dtype=np.int64)
    needed = levels * 2**shift - 2 ** (shift - 1)  # of sum M + B, for the level
    if even:
        needed = needed + levels % 2  # a half goes to the even level below
    reached, missed = stairs.at <= stairs.high, stairs.at > stairs.low
    least = (needed - stairs.at * multiplier)[reached]
    most = (needed - (stairs.at - 1) * multiplier - 1)[missed]
    return int(least.max(initial=-ROOM)), int(most.min(initial=ROOM))


def fit_channel(stairs: Stairs, shift: int, even: bool, wanted: Fraction) -> tuple[int, int] | None:
    """(M, B) of one channel, of the true sum; None where no B does."""
    nearest = round(stairs.slope * 2**shift)
    for multiplier in dict.fromkeys((nearest, nearest + 1, max(0, nearest - 1))):
        if multiplier >= MOST or abs(multiplier) * max(abs(stairs.low), abs(stairs.high)) >= ROOM // 2:
            continue
        least, most = bounds(stairs, multiplier, shift, even)
        if least <= most:
            bias = min(max(round(wanted * 2**shift), least), most)
            return (-multiplier if stairs.falls else multiplier), bias
    return None


def fit(channels: list[Stairs], wanted: list[Fraction]) -> tuple[int, str, np.ndarray, np.ndarray] | None:
    """F, ties, M int32 [C] and B int64 [C] that give every channel's stairs; None where there are none.

    wanted: the level, as a real number, of the sum 0, to which B is near. Multipliers of 16 bits come first.
    """
    steepest = max(stairs.slope for stairs in channels)
    for limit in (SMALL, MOST):
        shifts = [shift for shift in SHIFTS if steepest * 2**shift < limit - 1]
        for even in (False, True):
            for shift in sorted(shifts, reverse=True)[:4]:
                found = []
                for stairs, offset in zip(channels, wanted, strict=True):
                    pair = fit_channel(stairs, shift, even, offset)
                    if pair is None:
                        break
                    found.append(pair)
                else:
                    m, b = zip(*found, strict=True)
                    return shift, "even" if even else "up", np.array(m, np.int32), np.array(b, np.int64)
    return None
