"""PLL solver: limits, exactness against a full search and against the families' own tools, errors."""

import re
import subprocess
from functools import partial

import pytest

from popstream.boards.clock.others import GOWIN_ODIV, GowinPll, XilinxPll, plan_pll, solve_gowin, solve_xilinx
from popstream.boards.clock.pll import Ecp5Pll, Ice40Pll, PllError, solve_ecp5, solve_ice40
from popstream.boards.flow.toolchain import locate

ECP5_WANTED = [(25, 60), (25, 100), (48, 60), (100, 60), (50, 75), (30, 125), (12, 36), (25, 62.5), (100, 10)]
ICE40_WANTED = [(12, 16), (12, 18), (12, 24), (12, 39), (48, 20), (12, 100), (100, 25)]


@pytest.mark.parametrize(("mhz_in", "mhz"), ECP5_WANTED)
def test_ecp5_dividers_are_legal_and_the_nearest(mhz_in, mhz):
    pll = solve_ecp5(mhz_in, mhz)
    assert 1 <= pll.refdiv <= 128
    assert 1 <= pll.fbdiv <= 80
    assert 1 <= pll.outdiv <= 128
    assert 3.125 <= mhz_in / pll.refdiv <= 400
    assert 400 <= pll.vco <= 800
    reachable = [
        mhz_in / r * f for r in range(1, 129) for f in range(1, 81)
        if mhz_in / r >= 3.125 and any(400 <= mhz_in / r * f * o <= 800 for o in range(1, 129))
    ]  # fmt: skip
    assert abs(pll.mhz - mhz) == pytest.approx(min(abs(value - mhz) for value in reachable), abs=1e-9)


@pytest.mark.parametrize(("mhz_in", "mhz"), ICE40_WANTED)
def test_ice40_dividers_are_legal_and_the_nearest(mhz_in, mhz):
    pll = solve_ice40(mhz_in, mhz)
    assert 0 <= pll.divr <= 15
    assert 0 <= pll.divf <= 127
    assert 1 <= pll.divq <= 6
    assert 10 <= mhz_in / (pll.divr + 1) <= 133
    assert 533 <= pll.vco <= 1066
    reachable = [
        mhz_in / (r + 1) * (f + 1) / 2**q for r in range(16) for f in range(128) for q in range(1, 7)
        if mhz_in / (r + 1) >= 10 and 533 <= mhz_in / (r + 1) * (f + 1) <= 1066
    ]  # fmt: skip
    assert abs(pll.mhz - mhz) == pytest.approx(min(abs(value - mhz) for value in reachable), abs=1e-9)


@pytest.mark.parametrize(("mhz_in", "mhz"), [(12, 18), (12, 39), (48, 20)])
def test_icepll_agrees(mhz_in, mhz):
    pll = solve_ice40(mhz_in, mhz)
    answer = subprocess.run(
        [locate("icepll"), "-i", str(mhz_in), "-o", str(mhz)], capture_output=True, text=True, check=True
    ).stdout
    said = {key: int(value) for key, value in re.findall(r"(DIV[RFQ]|FILTER_RANGE):\s+(\d+)", answer)}
    achieved = float(re.search(r"F_PLLOUT:\s+([0-9.]+) MHz \(achieved", answer)[1])
    assert pll.mhz == pytest.approx(achieved, abs=0.001)
    assert said["FILTER_RANGE"] == Ice40Pll(mhz_in, said["DIVR"], said["DIVF"], said["DIVQ"]).filter_range
    assert Ice40Pll(mhz_in, said["DIVR"], said["DIVF"], said["DIVQ"]).mhz == pytest.approx(achieved, abs=0.001)


@pytest.mark.parametrize(("mhz_in", "mhz"), [(25, 60), (100, 60)])
def test_ecppll_agrees(mhz_in, mhz):
    pll = solve_ecp5(mhz_in, mhz)
    answer = subprocess.run(
        [locate("ecppll"), "-i", str(mhz_in), "-o", str(mhz)], capture_output=True, text=True, check=True
    )
    text = answer.stdout + answer.stderr
    said = {key: int(value) for key, value in re.findall(r"(Refclk divisor|Feedback divisor): (\d+)", text)}
    assert (pll.refdiv, pll.fbdiv) == (said["Refclk divisor"], said["Feedback divisor"])


@pytest.mark.parametrize(("device", "mhz"), [("GW1NR-9C", 45), ("GW1NR-9C", 54), ("GW2A-18C", 60), ("GW2A-18C", 100)])
def test_gowin_dividers_are_legal_and_the_nearest(device, mhz):
    pll = solve_gowin(device, 27, mhz)
    least = {"GW1NR-9C": 400, "GW2A-18C": 500}[device]
    assert 0 <= pll.idiv < 64
    assert 0 <= pll.fbdiv < 64
    assert least <= pll.vco <= 1250
    reachable = [
        27 / i * f for i in range(1, 10) for f in range(1, 65)
        if any(least <= 27 / i * f * odiv <= 1200 for odiv in GOWIN_ODIV)
    ]  # fmt: skip
    assert abs(pll.mhz - mhz) == pytest.approx(min(abs(value - mhz) for value in reachable), abs=1e-9)


@pytest.mark.parametrize(("device", "name"), [("GW1NR-9C", "GW1NR-9 C6/I5"), ("GW2A-18C", "GW2A-18 C8/I7")])
def test_gowin_pll_agrees(device, name):
    answer = subprocess.run(
        [locate("gowin_pll"), "-i", "27", "-o", "54", "-d", name], capture_output=True, text=True, check=True
    ).stdout
    assert "Achieved output frequency:    54.000 MHz" in answer
    said = {key: int(value) for key, value in re.findall(r"(IDIV_SEL|FBDIV_SEL|ODIV_SEL)\((\d+)\)", answer)}
    pll = GowinPll(device, 27, said["IDIV_SEL"], said["FBDIV_SEL"], said["ODIV_SEL"])
    assert pll.mhz == solve_gowin(device, 27, 54).mhz == 54


@pytest.mark.parametrize("mhz", [60, 75, 100, 48, 6.25])
def test_7_series_dividers_are_legal_and_exact(mhz):
    pll = solve_xilinx(100, mhz)
    assert 1 <= pll.divclk <= 56
    assert 2 <= pll.mult <= 64
    assert 1 <= pll.outdiv <= 128
    assert 800 <= pll.vco <= 1600
    assert 19 <= pll.pfd <= 450
    assert pll.mhz == pytest.approx(mhz)


def test_every_family_has_its_pll():
    plans = {family: plan_pll("GW2A-18C", family, 27, 54) for family in ("ecp5", "ice40", "gowin", "xilinx")}
    assert [type(plan) for plan in plans.values()] == [Ecp5Pll, Ice40Pll, GowinPll, XilinxPll]
    with pytest.raises(ValueError, match="PLL of GW5A is not known; known are those of GW1NR-9C, GW2A-18C"):
        plan_pll("GW5A", "gowin", 27, 54)


@pytest.mark.parametrize(
    ("solver", "mhz_in", "mhz", "message"),
    [
        (solve_ecp5, 5, 60, "The ECP5 PLL's input must be 8 to 400 MHz, not 5 MHz"),
        (solve_ecp5, 25, 500, "The ECP5 PLL's output must be 3.125 to 400 MHz, not 500 MHz"),
        (solve_ecp5, 12, 34, "No PLL divider makes 34 MHz of 12 MHz within 0.5%; the nearest is 36 MHz"),
        (solve_ice40, 6, 60, "The iCE40 PLL's input must be 10 to 133 MHz, not 6 MHz"),
        (solve_ice40, 12, 12.5, "The iCE40 PLL's output must be 16 to 275 MHz, not 12.5 MHz"),
        (partial(solve_gowin, "GW1NR-9C"), 27, 601, "The GW1NR-9C PLL's output must be 3.125 to 600 MHz, not 601 MHz"),
        (partial(solve_gowin, "GW2A-18C"), 27, 611, "No PLL divider makes 611 MHz of 27 MHz within 0.5%"),
        (solve_xilinx, 12, 60, "The 7 series PLL's input must be 19 to 800 MHz, not 12 MHz"),
        (solve_ice40, 12, 267, "No PLL divider makes 267 MHz of 12 MHz within 0.5%"),
    ],
)
def test_what_cannot_be_made_is_said(solver, mhz_in, mhz, message):
    with pytest.raises(PllError) as caught:
        solver(mhz_in, mhz)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_frequencies_follow_the_formula():
    assert Ecp5Pll(25, 5, 12, 10).mhz == 60
    assert Ecp5Pll(25, 5, 12, 10).vco == 600
    assert Ice40Pll(12, 0, 47, 5).mhz == 18
    assert Ice40Pll(12, 0, 47, 5).filter_range == 1
