"""Boards: every one elaborates with its clock, UART and LED; what they say of themselves is checked."""

import re
from pathlib import Path

import pytest

from popstream.boards import known
from popstream.boards.board.board import Board, BoardError
from popstream.boards.board.devices import DEVICES, family_of, nextpnr_options
from popstream.boards.board.top import START_US, Top, clock_plan
from popstream.boards.clock.pll import Ecp5Pll, Ice40Pll
from popstream.boards.known import boards, butterstick, find
from tests.boards.tiny import Echo
from tests.command import run_cli

NAMES = sorted(boards())
WANTED = {
    "ulx3s-85f", "ulx3s-45f", "ulx3s-25f", "ulx3s-12f", "ecpix5-85f", "ecpix5-45f", "orangecrab-85f", "orangecrab-25f",
    "icepi-zero", "icesugar-pro", "butterstick", "versa-ecp5", "icebreaker", "upduino-v3", "tang-nano-9k",
    "tang-primer-20k", "arty-a7-100",
}  # fmt: skip


def test_the_boards_are_these():
    assert set(NAMES) == WANTED


CONSTRAINTS = {"ecp5": "top.lpf", "ice40": "top.pcf", "gowin": "top.cst", "xilinx": "top.xdc"}
PIN = r'(?:COMP "|set_io |IO_LOC "|LOC \S+ \[get_ports ")'
CLOCK = r"(?:FREQUENCY PORT|set_frequency) \S+ ([0-9.]+)"
PRIMITIVE = {
    "ecp5": r"cell \\EHXPLLL ",
    "ice40": r"cell \\SB_PLL40_CORE ",
    "gowin": r"cell \\rPLL ",
    "xilinx": r"PLLE2_BASE #\(",
}


def prepared(board: Board, mhz: float) -> tuple[str, str, Top]:
    """RTLIL, for Vivado Verilog, and pin constraints of the board's top."""
    top = Top(board, clock_plan(board, mhz), Echo())
    files = board.create().prepare(top, "top").files
    return str(files["top.v" if board.family == "xilinx" else "top.il"]), str(files[CONSTRAINTS[board.family]]), top


@pytest.mark.parametrize("name", NAMES)
def test_every_board_elaborates(name):
    board = find(name)
    design, constraints, top = prepared(board, board.mhz)
    assert top.mhz == pytest.approx(board.mhz, rel=0.005)
    for port in ("uart_0__rx__io", "uart_0__tx__io", f"{board.clock}_0__"):
        assert len(re.findall(f"{PIN}{port}", constraints)) >= 1, port
    if board.family in ("ecp5", "ice40"):  # a Gowin's clock is constrained by --freq
        clock = re.search(CLOCK, constraints)
        assert clock is not None
        assert float(clock[1]) == pytest.approx(board.mhz_in * (1e6 if board.family == "ecp5" else 1))
    elif board.family == "xilinx":
        assert "-period 10.0" in constraints
    primitive = r"cell \\SB_PLL40_PAD " if board.pll_pad else PRIMITIVE[board.family]
    assert len(re.findall(primitive, design)) == 1
    if board.led is not None:
        assert re.search(f"{PIN}{board.led[0]}_{board.led[1]}_", constraints)


@pytest.mark.parametrize("name", ["ulx3s-25f", "icebreaker"])
def test_without_a_pll_the_oscillator_is_the_clock(name):
    board = find(name)
    rtlil, _, top = prepared(board, board.mhz_in)
    assert top.pll is None
    assert top.mhz == board.mhz_in
    assert "PLL" not in rtlil


@pytest.mark.parametrize("name", NAMES)
def test_a_uart_divides_the_clock_well(name):
    board = find(name)
    ratio = clock_plan(board, board.mhz).mhz * 1e6 / board.baud
    assert abs(ratio - round(ratio)) / ratio < 0.02
    assert ratio >= 4


@pytest.mark.parametrize("name", NAMES)
def test_every_board_has_a_device_of_its_family(name):
    board = find(name)
    assert board.device is DEVICES[board.part]
    assert board.device.synthesis.split()[0] == f"synth_{board.family}"
    assert ("-nowidelut" in board.device.synthesis) == (board.family in ("ecp5", "gowin"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ulx3s-85f", "--85k --package CABGA381 --speed 6"),
        ("ulx3s-12f", "--12k --package CABGA381 --speed 6"),
        ("versa-ecp5", "--um-45k --package CABGA381 --speed 8"),
        ("butterstick", "--um5g-85k --package CABGA381 --speed 8"),
        ("orangecrab-25f", "--25k --package CSFBGA285 --speed 8"),
        ("icebreaker", "--up5k --package sg48"),
        ("tang-nano-9k", "--device GW1NR-LV9QN88PC6/I5 --vopt family=GW1N-9C"),
    ],
)
def test_nextpnr_is_told_the_device(name, options):
    board = find(name)
    assert nextpnr_options(board.platform(), board.part) == options.split()


def test_what_has_no_open_place_and_route_or_no_family_is_refused():
    arty = find("arty-a7-100")
    with pytest.raises(ValueError, match="no open place and route for xc7a100ti"):
        nextpnr_options(arty.platform(), arty.part)
    with pytest.raises(ValueError, match="Device EP4CE22 is of no known family; their names begin with LFE5, iCE40"):
        family_of("EP4CE22")


def test_the_clock_is_the_plls():
    assert clock_plan(find("ulx3s-85f"), 60) == Ecp5Pll(25, 5, 12, 10)
    assert isinstance(clock_plan(find("icebreaker"), 24), Ice40Pll)


def test_an_unknown_board_lists_the_known():
    with pytest.raises(
        BoardError, match=r"Unknown board 'ulx3s'; known are .*ulx3s-85f, .*arty-a7-100 \(make boards\)"
    ):
        find("ulx3s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Two Words"}, "name must be lower case letters, digits and '-', not 'Two Words'"),
        ({"name": 3}, "Board 3: name must be lower case letters, digits and '-', not 3"),
        ({"mhz": 0}, "Board 'x': mhz must be a number above 0 and at most 1000, not 0"),
        ({"mhz": float("nan")}, "mhz must be a number above 0 and at most 1000, not nan"),
        ({"mhz": "12"}, "mhz must be a number above 0 and at most 1000, not '12'"),
        ({"loader": ("-b", 3)}, r"loader\[1\] must be text, not 3"),
        ({"loader": "-b"}, "loader must be a list, each text, not '-b'"),
        ({"flash": True}, "flash must be a list, each text or null, not True"),
        ({"pll_pad": "no"}, "pll_pad must be true or false, not 'no'"),
        ({"baud": 0}, "baud must be a whole number from 1200 to 12000000, not 0"),
        ({"clock": None}, "clock must be text, not None"),
        ({"note": 1}, "note must be text, not 1"),
    ],
)
def test_a_wrong_board_is_refused(change, message):
    good = find("icebreaker")
    fields = {"name": "x", "platform": good.platform, "clock": "clk12", "led": None, "mhz": 12, "loader": ()}
    with pytest.raises(BoardError, match=message):
        Board(**{**fields, **change})


def test_an_unknown_device_is_refused():
    class Odd(find("icebreaker").platform):
        device = "iCE40HX1K"

    with pytest.raises(BoardError, match="device iCE40HX1K is not known; known are LFE5U-12F, "):
        Board("odd", Odd, "clk12", None, 12, ())


def test_a_new_file_is_a_new_board(monkeypatch, tmp_path):
    text = Path(known.__path__[0], "icebreaker.py").read_text()
    (tmp_path / "twin.py").write_text(text.replace('"icebreaker"', '"twin"'))
    monkeypatch.setattr(known, "__path__", [*known.__path__, str(tmp_path)])
    assert find("twin").mhz == find("icebreaker").mhz


def test_a_name_is_there_once(monkeypatch, tmp_path):
    (tmp_path / "again.py").write_text(Path(known.__path__[0], "icebreaker.py").read_text())
    monkeypatch.setattr(known, "__path__", [*known.__path__, str(tmp_path)])
    with pytest.raises(BoardError, match="'icebreaker' is defined twice"):
        boards()


def test_syzygy_voltages():
    """Against the regulator's equation solved for the voltage."""
    for volts in (3.3, 1.8, 1.2):
        control = butterstick.duty(volts) / 1024 * 3.3
        current = 0.6 / 13_000 - (control - 0.6) / 68_000
        assert 0.6 + current * 53_600 == pytest.approx(volts, abs=0.01)
    with pytest.raises(ValueError, match=r"must be 1.2 to 3.3 V, not 5"):
        butterstick.duty(5)


def test_reset_outlasts_the_block_ram():
    assert START_US > 3 * 5


def test_the_catalog_lists_every_board():
    status, out, _ = run_cli("boards", "digits-w1a2", "digits-react-w1a1")
    assert status == 0
    for name in NAMES:
        assert name in out
    assert "digits-w1a2" in out
    assert "digits-react-w1a1" in out
    assert "close the OSC jumper" in out


def test_the_catalog_refuses_a_missing_manifest():
    status, _, said = run_cli("boards", "no/such")
    assert status == 2
    assert said.startswith("error: NETS: 'no/such' is no network; known are ")
