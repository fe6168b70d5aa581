"""`make bitstream` as its user runs it: a real network on a real board, refusals, and all boards by one command."""

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from popstream.boards.fitting.capacity import fold
from popstream.boards.flow import bitstreams
from popstream.boards.flow import build as build_module
from popstream.boards.flow.build import finished
from popstream.boards.known import boards, find
from popstream.cli import main
from popstream.hw.folding.folding import interval
from popstream.model import manifest
from tests.boards.tiny import Echo

ROOT = Path(__file__).parents[3]
KEYS = (
    "network", "board", "lut", "lut_total", "ff", "ff_total", "ebr", "ebr_total", "dsp", "dsp_total",
    "target_mhz", "fmax_mhz", "seed", "minutes", "tools", "network_hash", "folding", "folding_hash",
)  # fmt: skip


def make(*variables: str) -> subprocess.CompletedProcess:
    """`make bitstream` in an environment that is set up."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-o", ".venv/.build", "bitstream", *variables]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def errors(done: subprocess.CompletedProcess) -> list[str]:
    """The lines on standard error that are not make's own."""
    return [line for line in done.stderr.splitlines() if not line.startswith("make")]


def only_error(done: subprocess.CompletedProcess) -> str:
    """The one line that says why there is no bitstream."""
    said = errors(done)
    assert len(said) == 1, done.stderr
    return said[0]


@pytest.mark.timeout(1800)
def test_the_digits_network_on_a_ulx3s(tmp_path):
    done = make("BOARD=ulx3s-25f", "NET=digits-w1a2", f"ARGUMENTS=--interval 5000 --out {tmp_path}")
    assert (done.returncode, errors(done)) == (0, [])
    figures = json.loads((tmp_path / "bitstream.json").read_text())
    for key in KEYS:
        assert key in figures, key
    assert (figures["network"], figures["board"], figures["seed"]) == ("digits-w1a2", "ulx3s-25f", 0)
    assert figures["timing_met"]
    assert figures["fmax_mhz"] >= figures["target_mhz"] == 60
    assert 3_000 < figures["lut"] <= figures["lut_total"] == 24_288
    assert 2_000 < figures["ff"] <= figures["ff_total"]
    assert 0 < figures["ebr"] <= figures["ebr_total"] == 56
    assert 0 < figures["dsp"] <= figures["dsp_total"] == 28
    assert 0 < figures["minutes"] < 30
    assert set(figures["tools"]) == {"yosys", "nextpnr-ecp5", "ecppack"}
    assert all(any(digit.isdigit() for digit in text) for text in figures["tools"].values())
    assert figures["network_hash"] == manifest.load(manifest.find("digits-w1a2")).hash
    bitstream = (tmp_path / "top.bit").read_bytes()
    assert bitstream[:2] == b"\xff\x00"
    assert b"LFE5U-25F" in bitstream[:300]
    assert bytes.fromhex("bdb3") in bitstream[:300]  # the preamble of an ECP5's configuration
    assert len(bitstream) > 100_000
    assert finished(find("ulx3s-25f"), tmp_path) == figures
    for said in (
        "synthesis (log: ",
        "place and route, seed 0, 60 MHz (log: ",
        "digits-w1a2 on ulx3s-25f (LFE5U-25F)",
    ):
        assert said in done.stdout
    for log in ("synth.log", "seed0/route.log"):
        assert (tmp_path / log).stat().st_size > 1_000


def test_an_unknown_board():
    done = make("BOARD=nonsense", "NET=digits-w1a2")
    assert done.returncode != 0
    error = only_error(done)
    assert error.startswith("error: BOARD: 'nonsense' is no board; known are ")
    assert "icebreaker" in error


def test_no_board():
    done = make("NET=digits-w1a2")
    assert done.returncode != 0
    assert errors(done) == [f"error: BOARD is missing; known are {', '.join(boards())}; see popstream bitstream --help"]


def test_a_network_that_is_too_large_says_by_how_much_and_what_would_take_it():
    done = make("BOARD=icebreaker", "NET=resnet20-w1a2")
    assert done.returncode != 0
    error = only_error(done)
    assert error.startswith("error: resnet20-w1a2 at ")
    assert "does not fit icebreaker (iCE40 UP5K), estimated: LUT " in error
    assert " too many)" in error
    named = re.search("of the boards, (.*) would take it", error)[1].split(", ")
    assert "ulx3s-85f" in named
    assert "upduino-v3" not in named


# All boards


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The zoo's network by its path, in an empty working folder, with a link that is tiny."""
    path = manifest.find("digits-w1a2").resolve()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build_module, "HostLink", Echo)
    return str(path)


def test_each_board_is_built_and_the_command_goes_on_where_it_stopped(elsewhere, tmp_path, capsys, monkeypatch):
    options = ["bitstreams", elsewhere, "upduino-v3", "icebreaker"]
    real, asked = build_module.synthesise, []

    def stopped(board, folder, progress):
        asked.append(board.name)
        if board.name == "icebreaker":
            raise KeyboardInterrupt
        return real(board, folder, progress)

    monkeypatch.setattr(build_module, "synthesise", stopped)
    assert main(options) == 130
    assert "interrupted; the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr(
        build_module, "synthesise", lambda board, *given: asked.append(board.name) or real(board, *given)
    )
    assert main(options) == 0
    assert asked == ["upduino-v3", "icebreaker", "icebreaker"]
    said = json.loads((tmp_path / "build" / "digits-w1a2" / "bitstreams.json").read_text())
    assert list(said["boards"]) == ["upduino-v3", "icebreaker"]
    assert all(figures["timing_met"] for figures in said["boards"].values())
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row[1].strip() for row in rows] == ["board", "-" * len(rows[1][1].strip()), "upduino-v3", "icebreaker"]
    assert len({len(row) for row in rows}) == 1


def test_a_board_that_fails_is_named_and_the_others_are_built(elsewhere, tmp_path, capsys, monkeypatch):
    real = build_module.route

    def late(board, folder, mhz, seed, progress):
        result = real(board, folder, mhz, seed, progress)
        return replace(result, met=board.name != "icebreaker")

    monkeypatch.setattr(build_module, "route", late)
    assert main(["bitstreams", elsewhere, "icebreaker", "upduino-v3"]) == 1
    out, error = capsys.readouterr()
    assert error == "error: no bitstream for icebreaker\n"
    assert "1 of 2 boards -> build/digits-w1a2/bitstreams.json" in out
    said = json.loads((tmp_path / "build" / "digits-w1a2" / "bitstreams.json").read_text())["boards"]
    assert "timing not met" in said["icebreaker"]["error"]
    assert said["upduino-v3"]["timing_met"]
    assert not (tmp_path / "build" / "digits-w1a2" / "icebreaker" / "top.bin").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["digits-w1a2", "nonsense"], "'nonsense' is no board"),
        (["digits-w1a2", "--seeds", "0"], "--seeds must be at least 1, not 0"),
        (["digits-w1a2", "arty-a7-100"], "no open place and route; see popstream bitstream digits-w1a2 arty-a7-100"),
        (["nonsense", "icebreaker"], "'nonsense' is no network"),
    ],
)
def test_what_cannot_be_started_is_one_line(given, said, capsys):
    assert main(["bitstreams", *given]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error


def test_an_interval_is_taken_where_the_board_holds_it():
    network = manifest.load(manifest.find("digits-w1a2"))
    asked = bitstreams.folding_for(find("ulx3s-25f"), network, 5_000)
    assert 4_000 <= max(interval(network, asked).values()) <= 5_000
    small = find("icebreaker")
    assert bitstreams.folding_for(small, network, 5_000) == fold(small, network, None)
    assert max(interval(network, bitstreams.folding_for(small, network, 5_000)).values()) > 5_000
