# amaranth: UnusedElaboratable=no
"""Threshold against the golden model, under stalls."""

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Shape, signed, unsigned

from popstream.hw.blocks.threshold import Threshold
from popstream.hw.lib.table import shape_limits
from popstream.model.manifest.node import Node
from popstream.sim.golden import node_function
from tests.hw.beats import STALLS, from_beats, to_beats
from tests.hw.stream_bench import run_stream


def check(thresholds, values, shape, lanes, seed=0, stalls=(0.4, 0.4), storage="auto", times=None):
    shape = Shape.cast(shape)
    thresholds = np.asarray(thresholds, np.int32)
    bits = thresholds.shape[1].bit_length()
    dut = Threshold(thresholds, shape, lanes, storage)
    beats = to_beats(values, shape.width, lanes)
    got = run_stream(dut, {"i": beats}, {"o": len(beats)}, seed, *stalls, times=times)["o"]
    expected = node_function(
        Node("t", "threshold", attributes={"bits": bits}, tensors={"thresholds": thresholds}), values
    )
    np.testing.assert_array_equal(from_beats(got, values.shape, bits, lanes), expected)
    return expected


def random_values(rng, shape, size):
    low, high = shape_limits(Shape.cast(shape))
    return rng.integers(low, high + 1, size, np.int32)


@pytest.mark.parametrize(("channels", "lanes"), [(1, 1), (4, 4), (6, 2), (5, 1), (12, 3)])
@pytest.mark.parametrize("shape", [unsigned(9), signed(8)])
@pytest.mark.parametrize("bits", range(1, 9))
def test_threshold_equals_golden(bits, shape, channels, lanes):
    rng = np.random.default_rng([bits, channels, shape.width])
    low, high = shape_limits(shape)
    # a tenth of the thresholds lies out of the input's range on either side
    margin = (high - low) // 8
    thresholds = np.sort(rng.integers(low - margin, high + margin + 1, (channels, 2**bits - 1)), axis=1)
    values = random_values(rng, shape, (2, channels, 3, 3))
    values[0, :, 0, 0] = thresholds[:, 0].clip(low, high)  # a tie counts
    check(thresholds, values, shape, lanes, seed=bits, stalls=STALLS[bits % len(STALLS)])


@pytest.mark.parametrize("shape", [unsigned(5), signed(5)])
def test_every_value_at_every_threshold(shape):
    low, high = shape_limits(shape)
    thresholds = [[t, t, t + 1] for t in range(low - 3, high + 4)]
    values = np.broadcast_to(np.arange(low, high + 1, dtype=np.int32), (1, len(thresholds), 1, high - low + 1))
    codes = check(thresholds, values, shape, lanes=1)
    assert set(codes.ravel().tolist()) == {0, 2, 3}


def test_thresholds_out_of_range_always_or_never_pass():
    thresholds = [[-(2**31)] * 3, [2**31 - 1] * 3, [-(2**31), 0, 2**31 - 1], [-9, -8, 8], [-8, 7, 8], [-7, 7, 9]]
    values = np.broadcast_to(np.arange(-8, 8, dtype=np.int32), (1, 6, 1, 16))
    codes = check(thresholds, values, signed(4), lanes=2)
    assert (codes[0, 0] == 3).all()
    assert (codes[0, 1] == 0).all()


@pytest.mark.parametrize("storage", ["logic", "block", "auto"])
def test_storage_makes_no_difference(storage):
    rng = np.random.default_rng(7)
    thresholds = np.sort(rng.integers(0, 256, (40, 7)), axis=1)  # up to 160 entries: "auto" takes both kinds
    check(thresholds, random_values(rng, unsigned(8), (1, 40, 1, 4)), unsigned(8), 1, storage=storage)


def test_equal_channels_need_no_table():
    values = random_values(np.random.default_rng(3), signed(6), (1, 8, 2, 4))
    shared = np.array([[-20, 3, 9], [-5, 0, 30]])[[0, 1] * 4]  # channel c has the thresholds of its lane
    check(shared, values, signed(6), lanes=2)
    # one stage's table is left: it chooses between two thresholds by the upper bit, not by the channel
    assert set(memory_sizes(shared, 2)) == {2}
    assert memory_sizes(shared[:, :1], 2) == []
    mixed = shared.copy()
    mixed[6, 1] = 4
    assert sorted(memory_sizes(mixed, 2)) == [2, 2, 4]


def memory_sizes(thresholds, lanes, storage="auto"):
    text = rtlil.convert(Threshold(thresholds, signed(6), lanes, storage))
    lines = (line.split() for line in text.splitlines())
    return [int(words[words.index("size") + 1]) for words in lines if words[:1] == ["memory"]]


def test_two_stages_share_a_block_ram():
    thresholds = np.sort(np.random.default_rng(5).integers(-32, 32, (12, 7)), axis=1)
    assert sorted(memory_sizes(thresholds, 2, "block")) == [24, 24, 28, 28]  # 16 + 6 * 2, and 6 * 4 alone
    assert sorted(memory_sizes(thresholds, 2, "logic")) == [6, 6, 12, 12, 24, 24]


@pytest.mark.parametrize(("storage", "latency"), [("logic", 4), ("block", 7), ("auto", 5)])
def test_block_ram_takes_a_cycle_more_a_stage(storage, latency):
    """12 channels in one lane have 12, 24 and 48 entries: only the last are too many for logic."""
    thresholds = np.sort(np.random.default_rng(6).integers(-128, 128, (12, 7)), axis=1)
    values = random_values(np.random.default_rng(7), signed(8), (1, 12, 3, 2))
    times = {}
    check(thresholds, values, signed(8), 1, 0, (0.0, 0.0), storage, times)
    assert times["o"] == [cycle + latency for cycle in times["i"]]
    assert Threshold(thresholds, signed(8), 1, storage).latency == latency
    check(thresholds, values, signed(8), 1, 1, (0.4, 0.4), storage)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_one_beat_a_cycle(bits):
    rng = np.random.default_rng(bits)
    thresholds = np.sort(rng.integers(-128, 128, (6, 2**bits - 1)), axis=1)
    times = {}
    check(thresholds, random_values(rng, signed(8), (2, 6, 2, 5)), signed(8), 2, stalls=(0.0, 0.0), times=times)
    start = times["i"][0]
    assert times["i"] == list(range(start, start + 60))
    assert times["o"] == [cycle + bits + 1 for cycle in times["i"]]
    assert Threshold(thresholds, signed(8), 2).latency == bits + 1


@pytest.mark.parametrize(
    ("thresholds", "lanes", "message"),
    [
        ([1, 2, 3], 1, r"must have the shape \[channels, 2\^bits-1\], not \[3\]"),
        (np.zeros((0, 3), int), 1, r"not \[0, 3\]"),
        ([[1, 2]], 1, "1 to 8 bits, not 2"),
        (np.zeros((2, 511), int), 1, "not 511"),
        ([[1, 2, 3], [4, 6, 5]], 1, "must not fall along axis 1"),
        ([[1], [2], [3]], 2, "must divide the 3 channels, not be 2"),
        ([[1], [2]], 0, "not be 0"),
    ],
)
def test_wrong_parameters(thresholds, lanes, message):
    with pytest.raises(ValueError, match=message):
        Threshold(thresholds, unsigned(4), lanes)


def test_wrong_storage():
    with pytest.raises(ValueError, match="one of auto, logic, registered, block, reload, not 'flash'"):
        Threshold([[1], [2]], unsigned(4), 1, "flash")
