"""Builds that are refused: in one line, by how much, and what would do; nothing of an earlier build is left."""

import json
import re
import shutil
from dataclasses import replace

import pytest

from popstream.boards.board import devices
from popstream.boards.fitting.capacity import FILL, fastest, fold, holds, lacking, need, refusal
from popstream.boards.flow import build as build_module
from popstream.boards.flow import toolchain
from popstream.boards.flow.toolchain import ToolError
from popstream.boards.known import boards, find
from popstream.cli import main
from popstream.hw.cost.network import ICE40_PRICES
from popstream.hw.folding.folding import FoldingError, interval
from popstream.hw.solver.solve import solve
from popstream.model import manifest
from tests.boards.tiny import Echo


@pytest.fixture(scope="module")
def digits():
    return manifest.load(manifest.find("digits-w1a2"))


def one_line(capsys) -> str:
    """What was said on standard error, checked to be one line of error."""
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The zoo's network by its path, in an empty working folder."""
    path = manifest.find("digits-w1a2").resolve()
    monkeypatch.chdir(tmp_path)
    return str(path)


@pytest.fixture
def stale(tmp_path):
    """A folder with what an earlier build left."""
    folder = tmp_path / "stale"
    folder.mkdir()
    for name in ("top.bin", "bitstream.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--interval", "500"], "does not fit icebreaker"),
        (["--interval", "1"], "no folding takes at most 1 cycles"),
        (["--folding", __file__], "test_refusals.py: "),
    ],
)
def test_a_refused_build_leaves_no_earlier_bitstream(elsewhere, capsys, stale, options, said):
    assert main(["bitstream", elsewhere, "icebreaker", "--out", str(stale), *options]) == 1
    assert said in one_line(capsys)
    assert list(stale.iterdir()) == []


def test_an_unknown_board(capsys):
    assert main(["bitstream", "digits-w1a2", "ulx3s"]) == 2
    assert "BOARD: 'ulx3s' is no board; did you mean ulx3s-" in one_line(capsys)


def test_an_unknown_network(capsys):
    assert main(["bitstream", "no-such-net", "icebreaker"]) == 2
    assert "NET: 'no-such-net' is no network; known are " in one_line(capsys)


@pytest.mark.parametrize("verb", ["bitstream", "fold", "bench", "board-sim"])
def test_a_clock_that_the_pll_cannot_make_is_refused_first(verb, capsys):
    assert main([verb, "digits-w1a2", "icebreaker", "--freq", "300"]) == 2
    said = "--freq 300 cannot be had on icebreaker: The iCE40 PLL's output must be 16 to 275 MHz, not 300 MHz"
    assert said in one_line(capsys)


def test_a_network_that_does_not_fit_says_by_how_much_and_what_would(elsewhere, capsys, monkeypatch):
    monkeypatch.setattr(build_module, "synthesise", lambda *given: pytest.fail("it went on"))
    assert main(["bitstream", elsewhere, "icebreaker", "--interval", "500"]) == 1
    error = one_line(capsys)
    assert "does not fit icebreaker (iCE40 UP5K), estimated: LUT" in error
    assert "too many" in error
    assert re.search(r"--interval \d+ would fit \(ARGUMENTS=", error)


def test_the_synthesised_design_is_checked_again(elsewhere, capsys, monkeypatch):
    monkeypatch.setattr(build_module, "HostLink", Echo)
    monkeypatch.setattr(build_module, "synthesise", lambda *given: {"lut": 30_000, "ff": 9, "ebr": 60, "dsp": 1})
    monkeypatch.setattr(build_module, "route", lambda *given: pytest.fail("it went on"))
    assert main(["bitstream", elsewhere, "ulx3s-25f"]) == 1
    error = one_line(capsys)
    assert "synthesised: LUT 30,000 of 24,288 (5,712 too many), EBR 60 of 56 (4 too many)" in error
    assert "a larger interval may fit" in error


def test_the_packed_design_is_checked_again(elsewhere, capsys, monkeypatch):
    monkeypatch.setattr(build_module, "HostLink", Echo)
    monkeypatch.setattr(build_module, "synthesise", lambda *given: {"lut": 5_000, "ff": 4_000, "ebr": 9, "dsp": 1})

    def overfull(board, folder, mhz, seed, progress):
        (folder / f"seed{seed}").mkdir()
        (folder / f"seed{seed}" / "route.log").write_text("Info: \t   ICESTORM_LC:    5662/   5280   107%\n")
        raise ToolError("nextpnr-ice40 failed")

    monkeypatch.setattr(build_module, "route", overfull)
    assert main(["bitstream", elsewhere, "icebreaker"]) == 1
    assert "packed: LUT 5,662 of 5,280 (382 too many)" in one_line(capsys)


def test_no_interval_would_fit_names_the_boards_that_would(digits, monkeypatch):
    small = find("icebreaker")
    tiny = replace(small.device, capacity={"lut": 100, "ff": 100, "ebr": 1, "dsp": 0})
    monkeypatch.setitem(devices.DEVICES, small.part, tiny)
    folding = fold(small, digits, None)
    text = refusal(small, digits, need(small, digits, folding), 10, boards().values(), "estimated")
    named = re.search("of the boards, (.*) would take it", text)[1].split(", ")
    assert named.index("ulx3s-25f") < named.index("ulx3s-45f") < named.index("ulx3s-85f")  # the smallest first
    assert "upduino" not in text
    assert set(named) == {
        board.name for board in boards().values() if board.name != small.name and holds(board, digits)
    }


@pytest.mark.parametrize("tool", ["yosys", "nextpnr-ecp5", "ecppack"])
def test_a_missing_tool_is_named_with_its_package(elsewhere, capsys, monkeypatch, tool):
    monkeypatch.setattr(build_module, "HostLink", Echo)
    found = shutil.which

    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None if tool in name else found(name) or name)
    monkeypatch.setattr(toolchain.sys, "executable", "/nowhere/python")
    assert main(["bitstream", elsewhere, "ulx3s-25f"]) == 1
    assert f"No {tool} or yowasp-{tool} on the PATH; make bitstream brings yowasp-" in one_line(capsys)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--seeds", "0"], "--seeds must be at least 1, not 0"),
        (["--seed", "-1"], "--seed must be at least 0, not -1"),
        (["--freq", "900"], "--freq must be 1 to 400 MHz, not 900"),
        (["--interval", "0"], "--interval must be at least 1, not 0"),
    ],
)
def test_numbers_out_of_range(wrong, said, capsys):
    assert main(["bitstream", "digits-w1a2", "icebreaker", *wrong]) == 2
    assert said in one_line(capsys)


# Foldings


def test_a_lean_folding_keeps_the_interval_and_is_smaller(digits):
    board = find("icebreaker")
    small, plain = solve(digits, 40_000, ICE40_PRICES, lean=True), solve(digits, 40_000)
    assert max(interval(digits, small).values()) <= 40_000
    assert need(board, digits, small)["lut"] < need(board, digits, plain)["lut"]
    with pytest.raises(FoldingError, match="no folding takes at most 10 cycles an image"):
        solve(digits, 10, ICE40_PRICES, lean=True)


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s-25f"])
def test_the_fastest_folding_leaves_room(digits, name):
    board = find(name)
    target, folding = fastest(board, digits)
    assert max(interval(digits, folding).values()) <= target
    assert not lacking(board, need(board, digits, folding), FILL[board.family])


def test_missed_timing(elsewhere, capsys, monkeypatch, stale):
    monkeypatch.setattr(build_module, "HostLink", Echo)
    assert (
        main(
            ["bitstream", elsewhere, "icebreaker", "--freq", "264", "--seed", "5", "--seeds", "1", "--out", str(stale)]
        )
        == 1
    )
    error = one_line(capsys)
    assert "timing not met on icebreaker: " in error
    assert "of 264 MHz is the best of seeds 5; try SEEDS=2, FREQ=" in error
    assert not (stale / "top.bin").exists()
    assert json.loads((stale / "bitstream.json").read_text())["timing_met"] is False
