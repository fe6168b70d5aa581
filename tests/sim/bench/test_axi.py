"""Two networks in one Verilator design behind AXI-Stream, driven by cocotbext-axi under back-pressure, and golden."""

import contextlib
import json
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import popstream
from popstream.hw.solver.solve import solve
from popstream.hw.verilog import write
from popstream.hw.wrappers.registers import ID
from popstream.sim import golden
from popstream.sim.bench.build import BENCH, build
from popstream.sim.verilator.tools import environment
from tests.networks import random_images, random_network

pytest.importorskip("cocotbext.axi", reason="cocotbext-axi is not installed")

ROOT = Path("build/tests")
SHAPE = dict(height=4, width=5, strides=(1,), blocks=1, convs_per_block=1, first_bits=(2, 8), last_bits=(2, 2))
NETWORKS = {
    "alpha": random_network(11, channels=(3,), classes=3, name="alpha", **SHAPE),
    "beta": random_network(12, channels=(4,), classes=5, in_channels=1, name="beta", **SHAPE),
}
IMAGES, SHORT, MISSING = 8, 3, 6

SIGNALS = """
  reg [{high}:0] {name}_s_axis_tdata {rw} = 0;
  reg {name}_s_axis_tvalid {rw} = 0, {name}_s_axis_tlast {rw} = 0, {name}_m_axis_tready {rw} = 0;
  wire {name}_s_axis_tready {rd}, {name}_m_axis_tvalid {rd}, {name}_m_axis_tlast {rd}, {name}_frame_error {rd};
  wire [31:0] {name}_m_axis_tdata {rd};
  {name} {name}_i (
    .aclk(aclk), .aresetn(aresetn), .frame_error({name}_frame_error),
    .s_axis_tdata({name}_s_axis_tdata), .s_axis_tvalid({name}_s_axis_tvalid), .s_axis_tready({name}_s_axis_tready),
    .s_axis_tlast({name}_s_axis_tlast), .m_axis_tdata({name}_m_axis_tdata), .m_axis_tvalid({name}_m_axis_tvalid),
    .m_axis_tready({name}_m_axis_tready), .m_axis_tlast({name}_m_axis_tlast){more}
  );
"""
BOTH = """
module bench;
  reg aclk {rw} = 0, aresetn {rw} = 0;
  reg [2:0] wb_adr {rw} = 0;
  reg [31:0] wb_dat_w {rw} = 0;
  reg [3:0] wb_sel {rw} = 0;
  reg wb_cyc {rw} = 0, wb_stb {rw} = 0, wb_we {rw} = 0;
  wire wb_ack {rd};
  wire [31:0] wb_dat_r {rd};
{designs}
endmodule
"""
WISHBONE = ", ".join(f".wb_{n}(wb_{n})" for n in ("adr", "dat_w", "dat_r", "sel", "cyc", "stb", "we", "ack"))


@pytest.fixture(scope="module")
def verilog(tmp_path_factory):
    """One file with both modules; alpha has the registers, beta has not."""
    folder = tmp_path_factory.mktemp("both")
    texts = []
    for name, network in NETWORKS.items():
        path = write(network, solve(network, 200), folder, name=name, bus="axi", registers=name == "alpha")
        texts.append(path.read_text())
    (folder / "both.v").write_text("\n".join(texts))
    return folder / "both.v"


def bench() -> str:
    marks = dict(rd="/*verilator public_flat_rd*/", rw="/*verilator public_flat_rw*/")
    designs = (
        SIGNALS.format(
            name=name, high=8 * network.input.shape[0] - 1, more=f",\n    {WISHBONE}" * (name == "alpha"), **marks
        )
        for name, network in NETWORKS.items()
    )
    return BOTH.format(designs="".join(designs), **marks)


def simulate(folder: Path, place: Path) -> None:
    """Run tests/sim/bench/axi_bench.py in `place`."""
    from cocotb_tools.runner import get_results, get_runner

    runner = get_runner("verilator")
    runner.log.setLevel(logging.CRITICAL)
    root = str(Path(popstream.__file__).parents[1])
    if root not in sys.path:
        sys.path.append(root)
    with environment(WAVES=None, GUI=None), contextlib.suppress(SystemExit):  # the runner's, under pytest
        runner.test(
            test_module="tests.sim.bench.axi_bench",
            hdl_toplevel=BENCH,
            hdl_toplevel_lang="verilog",
            build_dir=folder.resolve(),
            test_dir=place,
            results_xml=str(place / "results.xml"),
            log_file=place / "sim.log",
            extra_env={"COCOTB_REWRITE_ASSERTION_FILES": "", "COCOTB_RANDOM_SEED": "0"},
        )
    assert get_results(place / "results.xml") == (1, 0), (place / "sim.log").read_text()


def test_two_designs_share_no_module(verilog):
    found = re.findall(r"^module (\S+?)\s*\(", verilog.read_text(), re.MULTILINE)
    assert len(found) == len(set(found)) > 30
    assert {name.lstrip("\\").split(".")[0] for name in found} == set(NETWORKS)


@pytest.mark.parametrize("pause", [0.0, 0.6])
def test_both_give_golden_s_answers(verilog, tmp_path, pause):
    model = build(verilog, bench(), ROOT, 0)
    images = {name: random_images(net.input, 4, IMAGES) for name, net in NETWORKS.items()}
    settings = dict(pause=pause, short=[SHORT], missing=MISSING)
    designs = {name: settings | dict(seed=number) for number, name in enumerate(NETWORKS)}
    (tmp_path / "designs.json").write_text(json.dumps(designs))
    for name, codes in images.items():
        np.save(tmp_path / f"images-{name}.npy", codes)
    simulate(model, tmp_path)
    for name, network in NETWORKS.items():
        codes = images[name].copy()
        channels, height, width = network.input.shape
        codes[SHORT].reshape(channels, height * width)[:, -MISSING:] = 0  # filled up
        logits = golden.run_batches(network, codes)
        with np.load(tmp_path / f"answer-{name}.npz") as answer:
            assert np.array_equal(answer["logits"], logits), name
            assert np.array_equal(answer["labels"], golden.labels(logits)), name
            assert answer["errors"] == 1
    found = json.loads((tmp_path / "registers.json").read_text())
    assert (found["id"], found["hash"]) == (ID, int(NETWORKS["alpha"].hash[:8], 16))
    assert (found["control"], found["status"], found["images"], found["errors"]) == (1, 0, IMAGES, 1)
    assert 0 < found["interval"] < 2000
    assert found["latency"] > 20
