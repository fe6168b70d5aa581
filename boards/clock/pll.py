"""Clock multiplication on chip: divider solver and primitive of the ECP5's EHXPLLL and the iCE40's SB_PLL40.

boards/clock/others.py has those of other makers; all of them have the attributes and the method of `Pll`.

    ECP5:   f_pfd = f_in / refdiv     f_vco = f_out * outdiv          f_out = f_pfd * fbdiv      (feedback from CLKOP)
    iCE40:  f_pfd = f_in / (divr+1)   f_vco = f_pfd * (divf+1)        f_out = f_vco / 2^divq     (SIMPLE feedback)

Limits: Lattice FPGA-DS-02012 (ECP5 and ECP5-5G family) and FPGA-DS-02008 (iCE40 UltraPlus family), in MHz.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from amaranth.hdl import Const, Instance, Signal

__all__ = ["Ecp5Pll", "Ice40Pll", "Pll", "PllError", "check_range", "nearest", "solve_ecp5", "solve_ice40", "within"]

TOLERANCE = 0.005  # share of the wanted frequency that the nearest divider may miss: half of what a UART bears easily

ECP5_IN, ECP5_PFD, ECP5_VCO, ECP5_OUT = (8, 400), (3.125, 400), (400, 800), (3.125, 400)
ECP5_REFDIV, ECP5_FBDIV, ECP5_OUTDIV = range(1, 129), range(1, 81), range(1, 129)
ICE40_IN, ICE40_PFD, ICE40_VCO, ICE40_OUT = (10, 133), (10, 133), (533, 1066), (16, 275)
ICE40_DIVR, ICE40_DIVF, ICE40_DIVQ = range(16), range(128), range(1, 7)
ICE40_FILTERS = (17, 26, 44, 66, 101)  # f_pfd below the k-th of these takes loop filter k + 1, above all of them 6
P = TypeVar("P", bound="Pll")


class PllError(ValueError):
    """No divider makes the frequency; the message is one line."""


class Pll(Protocol):
    """A PLL's dividers: what they make of `mhz_in`, by which frequencies, and the primitive."""

    @property
    def mhz_in(self) -> float: ...

    @property
    def mhz(self) -> float: ...

    @property
    def pfd(self) -> float:
        """Frequency of the phase detector."""

    @property
    def vco(self) -> float:
        """Frequency of the oscillator."""

    def instance(self, clock_in: Any, clock: Signal, locked: Signal, pad: bool = False) -> Any:
        """What drives `clock` and `locked`; with `pad`, `clock_in` is the PLL's own pin (an IOPort), not a signal."""


def within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def check_range(family: str, mhz_in: float, mhz: float, limits_in: tuple, limits_out: tuple) -> None:
    for what, value, limits in (("input", mhz_in, limits_in), ("output", mhz, limits_out)):
        if not within(value, limits):
            raise PllError(f"The {family} PLL's {what} must be {limits[0]:g} to {limits[1]:g} MHz, not {value:g} MHz")


@dataclass(frozen=True)
class Ecp5Pll:
    """Dividers of an EHXPLLL that makes `mhz` of `mhz_in` at a VCO of `mhz * outdiv`."""

    mhz_in: float
    refdiv: int
    fbdiv: int
    outdiv: int

    @property
    def mhz(self) -> float:
        return self.mhz_in / self.refdiv * self.fbdiv

    @property
    def pfd(self) -> float:
        return self.mhz_in / self.refdiv

    @property
    def vco(self) -> float:
        return self.mhz * self.outdiv

    def instance(self, clock_in: Any, clock: Signal, locked: Signal, pad: bool = False) -> Instance:
        """The primitive; its input is a signal always."""
        return Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{self.mhz_in:.6f}",
            a_FREQUENCY_PIN_CLKOP=f"{self.mhz:.6f}",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_CPHASE=self.outdiv // 2,
            p_CLKOP_FPHASE=0,
            p_CLKI_DIV=self.refdiv,
            p_CLKFB_DIV=self.fbdiv,
            p_CLKOP_DIV=self.outdiv,
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=clock_in,
            i_CLKFB=clock,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(0),
            i_PHASESTEP=Const(0),
            i_PHASELOADREG=Const(0),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=clock,
            o_LOCK=locked,
        )


@dataclass(frozen=True)
class Ice40Pll:
    """Dividers of an SB_PLL40 that makes `mhz` of `mhz_in` at a VCO of `mhz * 2^divq`."""

    mhz_in: float
    divr: int
    divf: int
    divq: int

    @property
    def mhz(self) -> float:
        return self.vco / 2**self.divq

    @property
    def pfd(self) -> float:
        return self.mhz_in / (self.divr + 1)

    @property
    def vco(self) -> float:
        return self.pfd * (self.divf + 1)

    @property
    def filter_range(self) -> int:
        return 1 + sum(self.pfd >= limit for limit in ICE40_FILTERS)

    def instance(self, clock_in: Any, clock: Signal, locked: Signal, pad: bool = False) -> Instance:
        """The primitive, fed by the PLL's own pad (`clock_in` an IOPort) or from the fabric (a signal)."""
        source = {"i_PACKAGEPIN": clock_in} if pad else {"i_REFERENCECLK": clock_in}
        return Instance(
            "SB_PLL40_PAD" if pad else "SB_PLL40_CORE",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(self.divr, 4),
            p_DIVF=Const(self.divf, 7),
            p_DIVQ=Const(self.divq, 3),
            p_FILTER_RANGE=Const(self.filter_range, 3),
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=clock,
            o_LOCK=locked,
            **source,
        )


def nearest(candidates: Sequence[P], mhz_in: float, mhz: float, middle: float) -> P:
    """The candidate nearest to `mhz`; among equals the fastest phase detector, then the VCO nearest to `middle`."""
    best = min(
        candidates,
        key=lambda c: (round(abs(c.mhz - mhz), 9), -round(c.pfd, 9), abs(c.vco - middle)),
        default=None,
    )
    if best is None or abs(best.mhz - mhz) > TOLERANCE * mhz:
        near = "" if best is None else f"; the nearest is {best.mhz:.4g} MHz"
        raise PllError(f"No PLL divider makes {mhz:g} MHz of {mhz_in:g} MHz within {TOLERANCE:.1%}{near}")
    return best


def solve_ecp5(mhz_in: float, mhz: float) -> Ecp5Pll:
    """Dividers for `mhz` from `mhz_in`; PllError if limits or the tolerance are missed."""
    check_range("ECP5", mhz_in, mhz, ECP5_IN, ECP5_OUT)
    found = []
    for refdiv in ECP5_REFDIV:
        pfd = mhz_in / refdiv
        fbdiv = round(mhz / pfd)
        if not within(pfd, ECP5_PFD) or fbdiv not in ECP5_FBDIV:
            continue
        found += [
            Ecp5Pll(mhz_in, refdiv, fbdiv, outdiv) for outdiv in ECP5_OUTDIV if within(pfd * fbdiv * outdiv, ECP5_VCO)
        ]
    return nearest(found, mhz_in, mhz, sum(ECP5_VCO) / 2)


def solve_ice40(mhz_in: float, mhz: float) -> Ice40Pll:
    """Dividers for `mhz` from `mhz_in`; PllError if limits or the tolerance are missed."""
    check_range("iCE40", mhz_in, mhz, ICE40_IN, ICE40_OUT)
    found = []
    for divr in ICE40_DIVR:
        pfd = mhz_in / (divr + 1)
        for divq in ICE40_DIVQ:
            divf = round(mhz * 2**divq / pfd) - 1
            if within(pfd, ICE40_PFD) and divf in ICE40_DIVF and within(pfd * (divf + 1), ICE40_VCO):
                found.append(Ice40Pll(mhz_in, divr, divf, divq))
    return nearest(found, mhz_in, mhz, sum(ICE40_VCO) / 2)
