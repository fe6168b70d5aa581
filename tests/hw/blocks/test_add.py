# amaranth: UnusedElaboratable=no
"""Add against the golden model, under stalls."""

import numpy as np
import pytest
from amaranth.hdl import signed

from popstream.hw.blocks.add import Add
from popstream.hw.lib.table import shape_limits
from popstream.model.manifest.node import Node
from popstream.sim.golden import node_function
from tests.hw.beats import STALLS, from_beats, to_beats
from tests.hw.stream_bench import run_stream


def check(first, second, bits, stream_bits, relu, lanes, seed=0, stalls=(0.4, 0.4), times=None):
    dut = Add(bits, stream_bits, relu, lanes)
    inputs = {"i": to_beats(first, bits[0], lanes), "i_skip": to_beats(second, bits[1], lanes)}
    got = run_stream(dut, inputs, {"o": len(inputs["i"])}, seed, *stalls, times=times)["o"]
    node = Node("s", "add", attributes={"stream_bits": stream_bits, "relu": relu})
    expected = node_function(node, first, second)
    np.testing.assert_array_equal(from_beats(got, first.shape, stream_bits, lanes, signed=True), expected)
    return expected


def random_values(rng, bits, shape):
    low, high = shape_limits(signed(bits))
    values = rng.integers(low, high + 1, shape, np.int32)
    values.flat[:2] = low, high
    return values


@pytest.mark.parametrize(("channels", "lanes"), [(1, 1), (6, 2), (4, 4)])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("bits", "stream_bits"), [((2, 2), 2), ((8, 8), 9), ((8, 5), 6), ((3, 16), 16), ((4, 4), 12)])
def test_add_equals_golden(bits, stream_bits, relu, channels, lanes):
    seed = sum(bits) + stream_bits + relu + channels
    rng = np.random.default_rng(seed)
    first, second = (random_values(rng, width, (2, channels, 3, 3)) for width in bits)
    check(first, second, bits, stream_bits, relu, lanes, seed, STALLS[seed % len(STALLS)])


@pytest.mark.parametrize("relu", [False, True])
def test_every_pair_of_values(relu):
    first, second = (np.ascontiguousarray(x, np.int32)[None, None] for x in np.meshgrid(*[np.arange(-8, 8)] * 2))
    got = check(first, second, (4, 4), 4, relu, 1)
    assert (got.min(), got.max()) == (0 if relu else -8, 7)


def test_one_beat_a_cycle():
    rng = np.random.default_rng(2)
    first, second = random_values(rng, 8, (2, 6, 3, 3)), random_values(rng, 7, (2, 6, 3, 3))
    times = {}
    check(first, second, (8, 7), 9, True, 2, 0, (0.0, 0.0), times)
    assert times["i"] == times["i_skip"] == list(range(times["i"][0], times["i"][0] + 54))
    assert times["o"] == [cycle + Add.latency for cycle in times["i"]]


@pytest.mark.parametrize(("arguments", "message"), [
    (((1, 8), 8, False, 1), "Stream bits must be 2 to 16, not 1"),
    (((8, 8), 17, False, 1), "Stream bits must be 2 to 16, not 17"),
    (((8, 8), 8, False, 0), "Lanes must be at least 1, not 0"),
])  # fmt: skip
def test_wrong_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        Add(*arguments)
