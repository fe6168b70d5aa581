# amaranth: UnusedElaboratable=no
"""Frames of the right and of wrong lengths against `admitted`, and results as words, under stalls on both sides."""

import random
from itertools import chain

import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data
from amaranth.sim import Simulator

from popstream.hw.wrappers.frames import Entry, Words, admitted, result_words
from tests.hw.beats import STALLS
from tests.hw.stream_bench import pack, run_stream


class Enabled(Entry):
    """Lets every image begin, and gives its errors as a count."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.enable.eq(1)
        return m


def frames(pixels: int, seed: int, count: int = 30) -> list[tuple[int, bool]]:
    """Beats of `count` frames, a third of them too short or too long."""
    rng = random.Random(seed)
    lengths = [rng.choice((pixels, pixels, rng.randint(1, 2 * pixels))) for _ in range(count)]
    return [(rng.randrange(64), index == length - 1) for length in lengths for index in range(length)]


@pytest.mark.parametrize(("stall_in", "stall_out"), STALLS)
@pytest.mark.parametrize("pixels", [1, 2, 7])
def test_a_frame_becomes_an_image(pixels, stall_in, stall_out):
    beats = frames(pixels, pixels)
    expected, errors = admitted(beats, pixels)
    assert errors > 3
    assert len(expected) == pixels * 30
    words = [pixel | last << 6 for pixel, last in beats]
    found = run_stream(Enabled(6, pixels), {"i": words}, {"o": len(expected)}, 5, stall_in, stall_out)
    assert found["o"] == expected


def test_by_count_alone():
    words = list(range(21))
    assert run_stream(Enabled(6, 7, framed=False), {"i": words}, {"o": 21})["o"] == words


def test_admitted_by_hand():
    good = [(1, False), (2, False), (3, True)]
    assert admitted(good, 3) == ([1, 2, 3], 0)
    assert admitted([(9, True), *good], 3) == ([9, 0, 0, 1, 2, 3], 1)
    assert admitted([(7, False)] * 5 + [(8, True), *good], 3) == ([7, 7, 7, 1, 2, 3], 1)


def test_disabled_in_the_middle_of_an_image_and_before_one():
    """What was offered or has begun goes on; the next image waits."""
    dut = Entry(8, 3)
    seen = []

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        assert not ctx.get(dut.o.valid)
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.enable, 1)
        assert ctx.get(dut.o.valid)
        await ctx.tick()
        ctx.set(dut.enable, 0)
        assert ctx.get(dut.o.valid), "withdrawn before the transfer"
        ctx.set(dut.o.ready, 1)
        for number in range(6):
            ctx.set(dut.i.payload, {"pixel": number, "last": number == 2})
            moved, begun, inside, error = (
                ctx.get(signal) for signal in (dut.o.valid, dut.begun, dut.inside, dut.error)
            )
            seen.append((moved, begun, inside, error))
            await ctx.tick()

    top = Module()
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [(1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 1, 0), *[(0, 0, 0, 0)] * 3]


@pytest.mark.parametrize(("stall_in", "stall_out"), STALLS)
@pytest.mark.parametrize("classes", [1, 3, 10])
def test_words(classes, stall_in, stall_out):
    rng = random.Random(classes)
    shape = data.StructLayout({"label": 8, "logits": data.ArrayLayout(signed(32), classes)})
    results = [(rng.randrange(classes), [rng.randrange(-(2**31), 2**31) for _ in range(classes)]) for _ in range(12)]
    payloads = [label | pack(logits, 32) << 8 for label, logits in results]
    found = run_stream(Words(shape), {"i": payloads}, {"o": 12 * (1 + classes)}, 7, stall_in, stall_out)["o"]
    words = [result_words(*result) for result in results]
    assert [word & 2**32 - 1 for word in found] == list(chain(*words))
    assert [word >> 32 for word in found] == [int(index == classes) for _ in results for index in range(1 + classes)]


def test_an_image_without_pixels():
    with pytest.raises(ValueError, match="An image must have at least 1 pixel, not 0"):
        Entry(8, 0)
