# amaranth: UnusedElaboratable=no
"""The digits network behind a pseudo-terminal, asked by the host program: golden's classes and logits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from boards import board_sim
from model import data
from model.manifest import find, load
from sim import golden

NET = "digits-w1a2"
IMAGES = 24
OPTIONS = [NET, "--root", "build/tests", "--optimize", "1"]


@pytest.fixture(scope="module")
def network():
    return load(find(NET))


def test_digits_through_the_terminal_equal_golden(network, capsys):
    assert board_sim.main([*OPTIONS, "--", "data", "--images", str(IMAGES), "--json"]) == 0
    *answers, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    digits = data.load("digits")
    logits = golden.run(network, data.quantize_pixels(digits.test_images[:IMAGES], network.input.bits))[0]
    assert [answer["logits"] for answer in answers] == logits.tolist()
    labels = golden.labels(logits)
    assert [answer["label"] for answer in answers] == labels.tolist()
    assert [answer["class"] for answer in answers] == [network.classes[label] for label in labels]
    top1 = 100 * float((labels == digits.test_labels[:IMAGES]).mean())
    assert summary["top1"] == pytest.approx(top1, abs=0.01)
    assert (summary["images"], summary["repeats"]) == (IMAGES, 0)


def test_the_board_knows_the_network_and_keeps_its_interval(network, capsys):
    assert board_sim.main([*OPTIONS, "--", "selftest", "--count", "40", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    # the estimate leaves out bubbles
    assert said["cycles_per_image"] == pytest.approx(said["cycles_estimated"], rel=0.1)


def test_it_prints_a_terminal_that_another_program_can_use(network):
    command = [sys.executable, "-m", "boards.board_sim", *OPTIONS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as board:
        assert board.stdout is not None
        path, baud = board.stdout.readline().split()[:2]
        ask = [sys.executable, "-m", "boards.host", "identify", "--port", path, "--baud", baud, "--json"]
        said = json.loads(subprocess.run(ask, capture_output=True, text=True, check=True, timeout=60).stdout)
        board.terminate()
    assert said["network"] == NET
    assert said["hash"] == network.hash[:32]


def test_errors_are_one_line(capsys, tmp_path):
    assert board_sim.main(["no-such-net"]) == 1
    assert board_sim.main([NET, "--interval", "1", "--root", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines
    assert len(lines) == 2
    assert not Path(tmp_path / "verilator").exists()
