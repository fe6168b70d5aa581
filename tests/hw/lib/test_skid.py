# amaranth: UnusedElaboratable=no
"""Skid buffers: order, rate, and a `ready` that depends on no input of the same cycle."""

import random

import pytest
from amaranth.back import rtlil
from amaranth.hdl import unsigned
from amaranth.sim import Simulator

from popstream.hw.lib.skid import LastStage, Skid
from popstream.hw.lib.stream import value_layout
from tests.hw.stream_bench import run_stream

STALLS = [(0.0, 0.0), (0.3, 0.3), (0.0, 0.7), (0.7, 0.0)]


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("block", [Skid, LastStage])
def test_every_beat_in_order(block, stalls):
    beats = [random.Random(3).getrandbits(12) for _ in range(150)]
    times, dut = {}, block(value_layout(unsigned(4), 3))
    got = run_stream(dut, {"i": beats}, {"o": len(beats)}, 1, *stalls, times=times)
    assert got["o"] == beats
    if stalls == (0.0, 0.0):
        assert times["i"] == list(range(len(beats)))
        assert times["o"] == [cycle + dut.latency for cycle in times["i"]]


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


def test_last_stage_stands_still_with_both_beats_kept():
    dut = LastStage(unsigned(8))

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        for cycle, (sink_ready, ready, given) in enumerate(
            [(0, 1, None), (0, 1, 0), (0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 4), (1, 1, 6)]
        ):
            ctx.set(dut.i.payload, cycle)
            for now in (1 - sink_ready, sink_ready):  # of the same cycle: without effect on i.ready
                ctx.set(dut.o.ready, now)
                await ctx.delay(1e-9)
                assert ctx.get(dut.i.ready) == ready
            assert (ctx.get(dut.o.payload) if ctx.get(dut.o.valid) else None) == given
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


def test_last_stage_of_an_ice40_is_a_register():
    class Up5k:
        device = "iCE40UP5K"

    beats = [random.Random(4).getrandbits(8) for _ in range(100)]
    dut = LastStage(unsigned(8))
    original, dut.elaborate = dut.elaborate, lambda platform: original(Up5k())
    assert run_stream(dut, {"i": beats}, {"o": len(beats)}, 2, 0.4, 0.6)["o"] == beats
