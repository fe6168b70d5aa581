# amaranth: UnusedElaboratable=no
"""A board's complete top behind a pseudo-terminal, asked by the host program: golden's classes and logits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from popstream.boards.bench.harness import Script, board_text, compile_board
from popstream.boards.board.top import START_US, Top, clock_plan
from popstream.boards.known import boards, find
from popstream.boards.link.link import HostLink
from popstream.cli import main
from popstream.hw.packaging import waivers
from popstream.model.manifest import find as find_net
from popstream.model.manifest import load
from popstream.sim import golden
from popstream.sim.verilator.model import WAIVERS
from popstream.sim.verilator.tools import BuildError, run_tool, verilator_bin
from tests.boards.link_bench import ROOT, classify, images_and_logits, tiny_link
from tests.boards.tiny import Echo

NET, BOARD = "digits-w1a2", "icebreaker"
IMAGES = 20
OPTIONS = [NET, BOARD, "--root", str(ROOT), "--optimize", "1", "--baud", "3000000"]


@pytest.fixture(scope="module")
def network():
    return load(find_net(NET))


@pytest.fixture
def here(monkeypatch, tmp_path):
    """An empty folder to stand in; what is compiled and written goes where the other tests' models are."""
    root = Path.cwd()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(root))
    return [*OPTIONS[:3], str(root / ROOT), *OPTIONS[4:]]


def test_digits_through_the_uart_equal_golden(here, tmp_path, capsys):
    written = Path(here[3]) / NET / "board-sim.json"
    written.unlink(missing_ok=True)
    assert main(["board-sim", *here, "--images", str(IMAGES)]) == 0
    out = capsys.readouterr().out
    assert f"image {IMAGES} of {IMAGES}: " in out
    assert "220 classes and logits compared with golden, 0 mismatches" in out
    assert not list(tmp_path.iterdir())  # --root moves every file
    figures = json.loads(written.read_text())
    assert (figures["board"], figures["images"], figures["values"], figures["mismatches"]) == (BOARD, IMAGES, 220, 0)
    assert (figures["clock_mhz"], figures["baud"], figures["clocks_per_bit"]) == (24, 3_000_000, 8)
    assert figures["repeats"] == 0


def test_a_wrong_logit_is_found(here, monkeypatch, capsys):
    right = golden.run

    def wrong(network, codes):
        logits, taps = right(network, codes)
        logits[1, 3] += 1
        return logits, taps

    monkeypatch.setattr(golden, "run", wrong)
    assert main(["board-sim", *here, "--images", "2"]) == 1
    out = capsys.readouterr().out
    assert "image 1 of 2: 6, as golden" in out
    assert "golden says " in out
    assert "1 mismatches" in out


def test_the_board_knows_the_network_and_keeps_its_interval(capsys):
    assert main(["board-sim", *OPTIONS, "--", "selftest", "--count", "20", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    # an iCE40's folding has no prefetch, and its estimate leaves bubbles out
    assert said["cycles_estimated"] * 0.99 <= said["cycles_per_image"] <= said["cycles_estimated"] * 1.4


def test_it_prints_a_terminal_that_another_program_can_use(network):
    command = [sys.executable, "-m", "popstream", "board-sim", *OPTIONS, "--terminal"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as board:
        assert board.stdout is not None
        path, baud = board.stdout.readline().split()[:2]
        ask = [sys.executable, "-m", "popstream", "host", "identify", "--port", path, "--baud", baud, "--json"]
        said = json.loads(subprocess.run(ask, capture_output=True, text=True, check=True, timeout=60).stdout)
        board.terminate()
    assert said["network"] == NET
    assert said["hash"] == network.hash[:32]


def test_an_ecp5_board_too():
    """PLL from the fabric, pads of one direction, 20 clocks a bit, no reset net."""
    board, tiny = find("ulx3s-25f"), tiny_link()
    plan = clock_plan(board, board.mhz)
    link = HostLink(tiny.network, tiny.folding, plan.mhz * 1e6, 3e6)
    images, logits = images_and_logits(link, 4)
    with Script(compile_board(Top(board, plan, link), ROOT, 1), link) as bench:
        for index in range(len(images)):
            bench.send(classify(index, images[index]))
            (frame,) = bench.reply()
            assert list(frame.payload[5:]) == list(logits[index].astype("<i4").tobytes())
            assert frame.payload[0] == golden.labels(logits)[index]


@pytest.mark.parametrize("name", sorted(boards()))
def test_every_board_can_be_simulated(name, tmp_path):
    """Verilator finds a model for every cell and a pin for clock and UART."""
    board = find(name)
    top = Top(board, clock_plan(board, board.mhz), Echo())
    text = board_text(top)
    if board.family == "ecp5":
        assert "SGSR global_reset" in text
    else:
        assert f"'h{round(START_US * top.mhz):x}" in text  # the reset's length
    (tmp_path / "top.v").write_text(text)
    (tmp_path / WAIVERS).write_text(waivers())
    tool = str(verilator_bin().resolve() / "verilator")
    run_tool([tool, "--lint-only", "--top-module", "bench", WAIVERS, "top.v"], tmp_path)


def test_a_cell_without_a_model_is_named(tmp_path, monkeypatch):
    board = find("icebreaker")
    text = board_text(Top(board, clock_plan(board, board.mhz), Echo())).replace("module SB_PLL40_PAD", "module OTHER")
    (tmp_path / "top.v").write_text(text)
    (tmp_path / WAIVERS).write_text(waivers())
    tool = str(verilator_bin().resolve() / "verilator")
    with pytest.raises(BuildError, match="SB_PLL40_PAD"):
        run_tool([tool, "--lint-only", "--top-module", "bench", WAIVERS, "top.v"], tmp_path)


def test_errors_are_one_line(capsys, tmp_path, monkeypatch):
    root = ["--root", str(tmp_path)]
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))  # found out before anything is compiled
    assert main(["board-sim", "resnet20-w1a2", "ulx3s-85f", "--interval", "49152", *root]) == 1
    assert main(["board-sim", NET, "no-such-board", *root]) == 2
    assert main(["board-sim", "no-such-net", BOARD, *root]) == 2
    assert main(["board-sim", NET, BOARD, "--interval", "1", *root]) == 1
    assert main(["board-sim", NET, BOARD, "--baud", "4000000", *root]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines
    assert len(lines) == 5
    assert "CIFAR10_DIR" in lines[0]
    assert not Path(tmp_path / "verilator").exists()
