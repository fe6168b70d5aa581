"""Amounts of a device's resources, and what one is worth beside the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

__all__ = ["DEVICE", "ECP5_PRICES", "ICE40_PRICES", "UNPAIRED", "Cost", "Prices"]

DEVICE = {"lut": 83_640, "ff": 83_640, "ebr": 208, "dsp": 156}
"""What an LFE5U-85F has."""

UNPAIRED = 0.3
"""iCE40: a logic cell holds a LUT and the flip-flop that it feeds. So many cells a flip-flop come on top of the LUTs
estimated, which are an ECP5's; about 10 % too many for digits-w1a2 on an UP5K, packed into 4,469 cells."""


@dataclass(frozen=True)
class Cost:
    """LUT4, flip-flops, block RAMs and 18 x 18 multipliers."""

    lut: int = 0
    ff: int = 0
    ebr: int = 0
    dsp: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.lut + other.lut, self.ff + other.ff, self.ebr + other.ebr, self.dsp + other.dsp)

    def __mul__(self, number: int) -> Cost:
        return Cost(self.lut * number, self.ff * number, self.ebr * number, self.dsp * number)

    def at(self, prices: Prices) -> float:
        """One number to compare by, in LUT4."""
        return self.lut * prices.lut + self.ff * prices.ff + self.ebr * prices.ebr + self.dsp * prices.dsp


@dataclass(frozen=True)
class Prices:
    """What a unit of each resource is worth, in LUT4.

    Block RAMs and multipliers are there anyway and cost little until they run out (hw.solver.solve raises their price
    then).
    """

    lut: float = 1.0
    ff: float = 0.25
    ebr: float = 100.0
    dsp: float = 60.0

    def raised(self, resources: Iterable[str], factor: float) -> Prices:
        """These prices, but `factor` times as much for each of `resources`."""
        return replace(self, **{name: factor * getattr(self, name) for name in resources})


ECP5_PRICES = Prices()
ICE40_PRICES = Prices(1.0, 0.93, 60.0, 5.0)
