# amaranth: UnusedElaboratable=no
"""Stream plumbing: order, completeness and rate of Fork, Repack and StreamFifo."""

import random

import pytest
from amaranth.hdl import signed, unsigned

from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.stream import Fork, Repack, value_layout
from tests.hw.stream_bench import pack, run_stream, unpack

STALLS = [(0.0, 0.0), (0.3, 0.3), (0.0, 0.7), (0.7, 0.0)]


def test_pack_and_unpack_are_inverse():
    assert pack([1, -1, 2], 4) == 0x2F1
    assert unpack(0x2F1, 4, 3) == [1, 15, 2]
    assert unpack(0x2F1, 4, 3, signed=True) == [1, -1, 2]


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_fork_hands_every_beat_to_every_sink(n, stalls):
    beats = [random.Random(n).getrandbits(12) for _ in range(150)]
    dut = Fork(value_layout(unsigned(4), 3), n)
    times = {}
    sinks = {f"o{k}": len(beats) for k in range(n)}
    got = run_stream(dut, {"i": beats}, sinks, n, *stalls, times=times)
    assert all(got[name] == beats for name in sinks)
    if stalls == (0.0, 0.0):
        assert times["o0"] == times["i"] == list(range(len(beats)))


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize(
    ("width", "depth"), [(10, 1), (10, 2), (10, 3), (10, 5), (10, 6), (10, 16), (44, 34), (44, 35)]
)
def test_fifo_keeps_order_and_rate(width, depth, stalls, apart):
    source = random.Random(depth)
    beats = [source.getrandbits(width) for _ in range(150)]
    times = {}
    dut = StreamFifo(signed(width), depth, apart)
    assert run_stream(dut, {"i": beats}, {"o": len(beats)}, 1, *stalls, times=times)["o"] == beats
    if stalls == (0.0, 0.0):
        assert times["o"][0] - times["i"][0] == dut.latency
        if depth > 2:
            assert times["o"] == list(range(dut.latency, dut.latency + len(beats)))


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(("width", "depth"), [(8, 1), (8, 2), (8, 3), (8, 6), (8, 7), (8, 16), (40, 34), (8, 90)])
def test_fifo_holds_its_depth(width, depth, apart):
    dut = StreamFifo(unsigned(width), depth, apart)
    with pytest.raises(AssertionError, match=f"'i': '{depth}/100'"):
        run_stream(dut, {"i": list(range(100))}, {"o": 100}, 0, 0.0, 1.0, timeout_cycles=110)


@pytest.mark.parametrize(
    ("width", "depth", "latency"),
    [(8, 1, 1), (8, 2, 2), (400, 16, 2), (16, 32, 2), (8, 64, 2), (8, 128, 3), (64, 280, 3), (16, 2000, 3)],
)
def test_fifo_is_in_block_ram_where_it_pays(width, depth, latency):
    dut = StreamFifo(unsigned(width), depth)
    assert (dut.latency, dut.block) == (latency, latency == 3)


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize(
    ("lanes_in", "lanes_out", "channels"),
    [(1, 1, 1), (4, 4, 12), (12, 1, 12), (1, 12, 12), (6, 4, 12), (4, 6, 12), (3, 5, 15), (2, 12, 12), (12, 3, 12)],
)
def test_repack_keeps_the_channels(lanes_in, lanes_out, channels, stalls):
    rng = random.Random(channels)
    values = [rng.randrange(-16, 16) for _ in range(20 * channels)]
    beats = [pack(values[at : at + lanes_in], 5) for at in range(0, len(values), lanes_in)]
    times = {}
    dut = Repack(signed(5), lanes_in, lanes_out, channels)
    count = len(values) // lanes_out
    got = run_stream(dut, {"i": beats}, {"o": count}, 2, *stalls, times=times)["o"]
    assert [value for beat in got for value in unpack(beat, 5, lanes_out, signed=True)] == values
    if stalls == (0.0, 0.0):
        assert times["o"][-1] - times["o"][0] <= dut.cycles * 20
        needed = -(-lanes_out // lanes_in) - 1  # the input beat that completes the first output beat
        assert times["o"][0] - times["i"][needed] <= dut.latency
        if lanes_in % lanes_out == 0 or lanes_out % lanes_in == 0:
            assert times["o"][0] - times["i"][needed] == dut.latency


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: value_layout(8, 0), "at least 1 lane, not 0"),
        (lambda: value_layout(0, 1), "at least 1 bit"),
        (lambda: Fork(8, 0), "at least 1 sink, not 0"),
        (lambda: StreamFifo(8, 0), "at least 1 beat deep, not 0"),
        (lambda: Repack(8, 4, 5, 12), "divide the 12 channels, 5 do not"),
    ],
)
def test_arguments_are_checked(build, message):
    with pytest.raises(ValueError, match=message):
        build()
