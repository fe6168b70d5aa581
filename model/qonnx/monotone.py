"""Monotone functions of a whole number, one a channel, in exact rationals: what lies between a sum and its quantizer.

A function is a row of steps: affine ones (scales, BatchNorm, biases) and clips (ReLU). All that is asked of it is where
it reaches a value, which is found backwards through the steps, without rounding.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, isqrt
from typing import Any

import numpy as np

__all__ = ["Affine", "Clip", "Function", "Leaky", "Step", "rationals", "root"]

ROOT_BITS = 256  # of an irrational root behind the point


@dataclass(frozen=True)
class Affine:
    """a[c] x + b[c]; each of one entry for all channels, or of one for each."""

    a: tuple[Fraction, ...]
    b: tuple[Fraction, ...]

    def at(self, c: int) -> tuple[Fraction, Fraction]:
        return self.a[c if len(self.a) > 1 else 0], self.b[c if len(self.b) > 1 else 0]


@dataclass(frozen=True)
class Clip:
    """min(max(x, low), high); None is no bound."""

    low: Fraction | None
    high: Fraction | None


@dataclass(frozen=True)
class Leaky:
    """x from 0 on, slope x below it; the slope is above 0."""

    slope: Fraction


Step = Affine | Clip | Leaky


def rationals(values: Any) -> tuple[Fraction, ...]:
    """Numbers as they stand in the file: each float is a rational."""
    return tuple(Fraction(value) for value in np.asarray(values, np.float64).reshape(-1).tolist())


def root(x: Fraction) -> Fraction:
    """The square root: exact where it is rational, else to ROOT_BITS bits behind the point."""
    above, below = isqrt(x.numerator), isqrt(x.denominator)
    if above**2 == x.numerator and below**2 == x.denominator:
        return Fraction(above, below)
    return Fraction(isqrt((x.numerator << 2 * ROOT_BITS) // x.denominator), 1 << ROOT_BITS)


@dataclass(frozen=True)
class Function:
    """The steps in their order, over `channels` channels."""

    channels: int
    steps: tuple[Step, ...] = ()

    def then(self, step: Step) -> "Function":
        """With one step more; affine ones behind one another become one."""
        last = self.steps[-1] if self.steps else None
        if isinstance(last, Affine) and isinstance(step, Affine):
            wide = max(len(last.a), len(last.b), len(step.a), len(step.b))
            pairs = [(last.at(c), step.at(c)) for c in range(wide)]
            a = tuple(second[0] * first[0] for first, second in pairs)
            b = tuple(second[0] * first[1] + second[1] for first, second in pairs)
            return Function(self.channels, (*self.steps[:-1], Affine(a, b)))
        return Function(self.channels, (*self.steps, step))

    def slope(self, c: int) -> int:
        """Whether channel c rises (1), falls (-1) or is constant (0), clips left aside."""
        sign = 1
        for step in self.steps:
            if isinstance(step, Affine):
                a = step.at(c)[0]
                sign *= (a > 0) - (a < 0)
        return sign

    @property
    def affine(self) -> Affine | None:
        """The only step where it is an affine one (the identity where there is none), else None."""
        if not self.steps:
            return Affine((Fraction(1),), (Fraction(0),))
        return self.steps[0] if len(self.steps) == 1 and isinstance(self.steps[0], Affine) else None

    @property
    def alike(self) -> bool:
        """Whether all channels have one and the same function."""
        return all(len({*step.a}) == 1 == len({*step.b}) for step in self.steps if isinstance(step, Affine))

    def line(self, c: int) -> tuple[Fraction, Fraction]:
        """a x + b of channel c, clips left aside."""
        a, b = Fraction(1), Fraction(0)
        for step in self.steps:
            if isinstance(step, Affine):
                more, offset = step.at(c)
                a, b = a * more, b * more + offset
        return a, b

    def value(self, c: int, x: Fraction | int) -> Fraction:
        """f_c(x)."""
        y = Fraction(x)
        for step in self.steps:
            if isinstance(step, Affine):
                a, b = step.at(c)
                y = a * y + b
            elif isinstance(step, Leaky):
                y = y * step.slope if y < 0 else y
            else:
                y = y if step.low is None else max(y, step.low)
                y = y if step.high is None else min(y, step.high)
        return y

    def first(self, c: int, target: Fraction, reached: bool, low: int, high: int) -> int:
        """The smallest x of low..high with f_c(x) >= target (> target where not `reached`), high + 1 if none.

        f_c must not fall.
        """
        for step in reversed(self.steps):
            if isinstance(step, Affine):
                a, b = step.at(c)
                if a == 0:
                    return low if b > target or (reached and b == target) else high + 1
                target = (target - b) / a
            elif isinstance(step, Leaky):
                target = target / step.slope if target < 0 else target
            else:
                least, most = step.low, step.high
                if least is not None and (least > target or (reached and least == target)):
                    return low
                if most is not None and (most < target or (not reached and most == target)):
                    return high + 1
        x = ceil(target) if reached else floor(target) + 1
        return min(max(x, low), high + 1)

    def mirrored(self, c: int) -> "Function":
        """Channel c alone, as a function of -x."""
        steps: list[Step] = []
        for step in self.steps:
            steps.append(Affine((step.at(c)[0],), (step.at(c)[1],)) if isinstance(step, Affine) else step)
        return Function(1, (Affine((Fraction(-1),), (Fraction(0),)),)).extended(steps)

    def extended(self, steps: list[Step]) -> "Function":
        """With all of `steps` behind."""
        result = self
        for step in steps:
            result = result.then(step)
        return result
