"""The LiteX example: its system is built, and its Verilog with the accelerator's passes Verilator, no pin left open."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from popstream.hw.solver.solve import solve
from popstream.hw.verilog import write
from popstream.sim.bench.build import verilator_bin
from tests.networks import random_network

pytest.importorskip("litex", reason="litex is not installed")

EXAMPLES = Path(__file__).parents[2] / "examples"


def build(folder, out):
    command = [sys.executable, EXAMPLES / "litex_soc.py", folder, out]
    return subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def network():
    return random_network(4, height=4, width=6, channels=(2, 4), first_bits=(2, 8), last_bits=(2, 2))


def test_system(network, tmp_path):
    write(network, solve(network, 800), tmp_path / "net", name="my_net", bus="axi", registers=True)
    run = build(tmp_path / "net", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    regions = json.loads((tmp_path / "out" / "csr.json").read_text())["memories"]
    assert (regions["accelerator"]["base"], regions["accelerator"]["size"]) == (0x3000_0000, 32)
    sources = [tmp_path / "net" / "my_net.vlt", tmp_path / "out" / "gateware" / "soc.v", tmp_path / "net" / "my_net.v"]
    tool = verilator_bin().resolve() / "verilator"
    lint = subprocess.run(
        [tool, "--lint-only", "-Wall", "-Wno-fatal", "--top-module", "soc", *sources],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert lint.returncode == 0, lint.stderr
    assert "%Error" not in lint.stderr
    wrong = [line for line in lint.stderr.splitlines() if "-PIN" in line or ("port connection" in line)]
    assert not wrong


def test_another_kind_of_module_is_refused(network, tmp_path):
    write(network, solve(network, 800), tmp_path / "net", name="my_net", bus="axi")
    run = build(tmp_path / "net", tmp_path / "out")
    assert run.returncode != 0
    assert "write it with --bus axi --registers" in run.stderr
