"""Clock multiplication on Gowin's and Xilinx's devices: divider solver and primitive of rPLL and PLLE2_BASE.

    Gowin:      f_pfd = f_in / (idiv+1)     f_vco = f_out * odiv      f_out = f_pfd * (fbdiv+1)
    7 series:   f_pfd = f_in / divclk       f_vco = f_pfd * mult      f_out = f_vco / outdiv

Limits in MHz: Gowin DS117 (GW1N) and DS226 (GW2A), as Apicula's gowin_pll has them; Xilinx DS181 (Artix-7), grade -1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Const, Instance, Module, Signal

from popstream.boards.clock.pll import Pll, check_range, nearest, solve_ecp5, solve_ice40, within

__all__ = ["GowinPll", "XilinxPll", "plan_pll", "solve_gowin", "solve_xilinx"]

GOWIN_DIV = range(64)
GOWIN_ODIV = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
GOWIN_LIMITS: Mapping[str, tuple] = {  # device: phase detector, VCO, output
    "GW1NR-9C": ((3, 400), (400, 1200), (3.125, 600)),
    "GW2A-18C": ((3, 500), (500, 1250), (3.90625, 625)),
}
XILINX_IN, XILINX_PFD, XILINX_VCO, XILINX_OUT = (19, 800), (19, 450), (800, 1600), (6.25, 800)
XILINX_DIVCLK, XILINX_MULT, XILINX_OUTDIV = range(1, 57), range(2, 65), range(1, 129)


@dataclass(frozen=True)
class GowinPll:
    """Dividers of an rPLL of `device` that makes `mhz` of `mhz_in`."""

    device: str
    mhz_in: float
    idiv: int
    fbdiv: int
    odiv: int

    @property
    def pfd(self) -> float:
        return self.mhz_in / (self.idiv + 1)

    @property
    def mhz(self) -> float:
        return self.pfd * (self.fbdiv + 1)

    @property
    def vco(self) -> float:
        return self.mhz * self.odiv

    def instance(self, clock_in: Any, clock: Signal, locked: Signal, pad: bool = False) -> Instance:
        """The primitive; its input is a signal always."""
        unused = {"RESET": 1, "RESET_P": 1, "CLKFB": 1, "FBDSEL": 6, "IDSEL": 6, "ODSEL": 6, "PSDA": 4, "DUTYDA": 4}
        return Instance(
            "rPLL",
            p_FCLKIN=f"{self.mhz_in:g}",
            p_DEVICE=self.device,
            p_IDIV_SEL=self.idiv,
            p_FBDIV_SEL=self.fbdiv,
            p_ODIV_SEL=self.odiv,
            i_CLKIN=clock_in,
            o_CLKOUT=clock,
            o_LOCK=locked,
            **{f"i_{name}": Const(0, width) for name, width in {**unused, "FDLY": 4}.items()},
        )


@dataclass(frozen=True)
class XilinxPll:
    """Dividers of a PLLE2_BASE that makes `mhz` of `mhz_in`."""

    mhz_in: float
    divclk: int
    mult: int
    outdiv: int

    @property
    def pfd(self) -> float:
        return self.mhz_in / self.divclk

    @property
    def vco(self) -> float:
        return self.pfd * self.mult

    @property
    def mhz(self) -> float:
        return self.vco / self.outdiv

    def instance(self, clock_in: Any, clock: Signal, locked: Signal, pad: bool = False) -> Module:
        """The primitive with the buffer of the global clock; feedback is its own, since the phase does not matter."""
        m = Module()
        feedback, output = Signal(name="feedback"), Signal(name="output")
        m.submodules.pll = Instance(
            "PLLE2_BASE",
            p_CLKIN1_PERIOD=1000 / self.mhz_in,
            p_DIVCLK_DIVIDE=self.divclk,
            p_CLKFBOUT_MULT=self.mult,
            p_CLKOUT0_DIVIDE=self.outdiv,
            i_CLKIN1=clock_in,
            i_CLKFBIN=feedback,
            i_RST=Const(0),
            i_PWRDWN=Const(0),
            o_CLKFBOUT=feedback,
            o_CLKOUT0=output,
            o_LOCKED=locked,
        )
        m.submodules.global_buffer = Instance("BUFG", i_I=output, o_O=clock)
        return m


def solve_gowin(device: str, mhz_in: float, mhz: float) -> GowinPll:
    """Dividers for `mhz` from `mhz_in`; PllError if limits or the tolerance are missed."""
    if device not in GOWIN_LIMITS:
        raise ValueError(f"The PLL of {device} is not known; known are those of {', '.join(GOWIN_LIMITS)}")
    pfd_limits, vco_limits, out_limits = GOWIN_LIMITS[device]
    check_range(device, mhz_in, mhz, pfd_limits, out_limits)
    found = []
    for idiv in GOWIN_DIV:
        pfd = mhz_in / (idiv + 1)
        fbdiv = round(mhz / pfd) - 1
        if within(pfd, pfd_limits) and fbdiv in GOWIN_DIV:
            pairs = [GowinPll(device, mhz_in, idiv, fbdiv, odiv) for odiv in GOWIN_ODIV]
            found += [pll for pll in pairs if within(pll.vco, vco_limits)]
    return nearest(found, mhz_in, mhz, sum(vco_limits) / 2)


def solve_xilinx(mhz_in: float, mhz: float) -> XilinxPll:
    """Dividers for `mhz` from `mhz_in`; PllError if limits or the tolerance are missed."""
    check_range("7 series", mhz_in, mhz, XILINX_IN, XILINX_OUT)
    found = []
    for divclk in XILINX_DIVCLK:
        pfd = mhz_in / divclk
        if not within(pfd, XILINX_PFD):
            continue
        for outdiv in XILINX_OUTDIV:
            mult = round(mhz * outdiv / pfd)
            if mult in XILINX_MULT and within(pfd * mult, XILINX_VCO):
                found.append(XilinxPll(mhz_in, divclk, mult, outdiv))
    return nearest(found, mhz_in, mhz, sum(XILINX_VCO) / 2)


def plan_pll(device: str, family: str, mhz_in: float, mhz: float) -> Pll:
    """The PLL of `device` that makes `mhz` of `mhz_in`; PllError if it cannot."""
    if family == "gowin":
        return solve_gowin(device, mhz_in, mhz)
    if family == "xilinx":
        return solve_xilinx(mhz_in, mhz)
    return solve_ecp5(mhz_in, mhz) if family == "ecp5" else solve_ice40(mhz_in, mhz)
