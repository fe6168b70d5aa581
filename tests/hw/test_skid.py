# amaranth: UnusedElaboratable=no
"""Skid buffer: order, rate, and a `ready` that depends on no input of the same cycle."""

import random

import pytest
from amaranth.back import rtlil
from amaranth.hdl import unsigned
from amaranth.sim import Simulator

from hw.skid import Skid
from hw.stream import value_layout
from tests.hw.stream_bench import run_stream

STALLS = [(0.0, 0.0), (0.3, 0.3), (0.0, 0.7), (0.7, 0.0)]


@pytest.mark.parametrize("stalls", STALLS)
def test_every_beat_in_order(stalls):
    beats = [random.Random(3).getrandbits(12) for _ in range(150)]
    times = {}
    got = run_stream(Skid(value_layout(unsigned(4), 3)), {"i": beats}, {"o": len(beats)}, 1, *stalls, times=times)
    assert got["o"] == beats
    if stalls == (0.0, 0.0):
        assert times["o"] == times["i"] == list(range(len(beats)))


def test_ready_comes_from_a_register():
    dut = Skid(unsigned(8))

    async def bench(ctx):
        for sink_ready, expected in (
            (0, 1),
            (0, 0),
            (1, 0),
            (1, 1),
        ):  # comes, kept, leaves, room again
            ctx.set(dut.i.valid, 1)
            for now in (1 - sink_ready, sink_ready):
                ctx.set(dut.o.ready, now)
                await ctx.delay(1e-9)
                assert ctx.get(dut.i.ready) == expected
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_an_ice40_is_spared_it():
    class Up5k:
        device = "iCE40UP5K"

    flip_flops = [text.count("$dff") + text.count("\n  process") for text in (
        rtlil.convert(Skid(unsigned(8)), platform=platform) for platform in (None, Up5k())
    )]  # fmt: skip
    assert flip_flops[0] > 0
    assert flip_flops[1] == 0
