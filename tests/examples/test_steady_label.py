# amaranth: UnusedElaboratable=no
"""The example of a component of one's own: labels in a row against golden's, and its Verilog."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from examples.steady_label import SteadyLabel
from popstream.sim import golden
from tests.hw.beats import to_beats
from tests.networks import random_images, random_network

EXAMPLES = Path(__file__).parents[2] / "examples"


def steady(labels, times):
    """The label shown after each result, None before there is one."""
    shown, found = None, []
    for end in range(1, len(labels) + 1):
        row = labels[max(0, end - times) : end]
        shown = row[0] if len(row) == times and len(set(row)) == 1 else shown
        found.append(shown)
    return found


@pytest.mark.parametrize("times", [1, 2, 3])
def test_labels(times):
    options = dict(height=3, width=3, channels=(2,), strides=(1,), first_bits=(2, 2), last_bits=(2, 2))
    network = random_network(3, convs_per_block=1, classes=3, **options)
    different = random_images(network.input, 1, 8)
    labels = golden.labels(golden.run_batches(network, different)).tolist()
    pair = [labels.index(label) for label in sorted(set(labels))[:2]]
    order = [pair[bit] for bit in (0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1)]
    codes = different[order]
    dut = SteadyLabel(network, times, interval=100)
    shown = []

    async def send(ctx):
        for beat in to_beats(codes, network.entry_bits, network.input.shape[0]):
            ctx.set(dut.i.payload.as_value(), beat)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def bench(ctx):
        while len(shown) < len(codes):
            _, _, valid = await ctx.tick().sample(dut.accelerator.o.valid)
            if valid:
                shown.append(ctx.get(dut.label) if ctx.get(dut.known) else None)

    top = Module()
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.add_testbench(send, background=True)
    simulator.run()
    expected = steady([labels[number] for number in order], times)
    assert len(set(expected)) > 1
    assert shown == expected


def test_verilog(tmp_path):
    out = tmp_path / "steady_label.v"
    subprocess.run([sys.executable, EXAMPLES / "steady_label.py", "digits-w1a2", out], check=True, cwd=EXAMPLES.parent)
    assert "module steady_label(" in out.read_text()


def test_a_label_of_no_times():
    with pytest.raises(ValueError, match="at least 1 time, not 0"):
        SteadyLabel(random_network(3), 0)


def test_the_pair_differs():
    assert steady([1, 1, 2, 2, 2, 1], 2) == [None, 1, 1, 2, 2, 2]
    assert np.all(np.array(steady([1, 2], 1)) == [1, 2])
