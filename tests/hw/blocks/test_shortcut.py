# amaranth: UnusedElaboratable=no
"""Shortcut against the golden model, under stalls."""

import numpy as np
import pytest

from popstream.hw.blocks.shortcut import Shortcut
from popstream.model.manifest.node import Node
from popstream.sim.golden import node_function
from tests.hw.beats import STALLS, from_beats, to_beats
from tests.hw.stream_bench import run_stream


def check(x, bits, stride, reduce, out_channels, pad_front, lanes, seed=0, stalls=(0.4, 0.4), times=None):
    attributes = {"stride": stride, "reduce": reduce, "out_channels": out_channels, "pad_front": pad_front}
    expected = node_function(Node("s", "shortcut", attributes=attributes), x)
    dut = Shortcut(*x.shape[1:], bits, stride, reduce, out_channels, pad_front, lanes)
    beats = expected.size // lanes
    got = run_stream(dut, {"i": to_beats(x, bits, lanes)}, {"o": beats}, seed, *stalls, times=times)["o"]
    np.testing.assert_array_equal(from_beats(got, expected.shape, bits, lanes, signed=True), expected)
    return expected


def random_stream(seed, bits, shape):
    values = np.random.default_rng(seed).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape, np.int32)
    values.flat[:2] = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return values


CHANNELS = [  # channels, output channels, zeros in front, lanes
    (1, 1, 0, 1),
    (4, 4, 0, 4),
    (4, 8, 2, 2),
    (6, 12, 3, 3),
    (6, 12, 3, 1),
    (5, 7, 0, 1),
    (3, 9, 6, 3),
    (2, 6, 4, 2),
]


@pytest.mark.parametrize(("channels", "out_channels", "pad_front", "lanes"), CHANNELS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (4, 4), (2, 7), (5, 1)])
def test_sample_equals_golden(channels, out_channels, pad_front, lanes, stride, height, width):
    seed = channels * height + width
    x = random_stream(seed, 8, (2, channels, height, width))
    check(x, 8, stride, "sample", out_channels, pad_front, lanes, seed, STALLS[seed % len(STALLS)])


@pytest.mark.parametrize(("channels", "out_channels", "pad_front", "lanes"), CHANNELS)
@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 6), (6, 2), (2, 8)])
@pytest.mark.parametrize("bits", [2, 9, 16])
def test_average_equals_golden(channels, out_channels, pad_front, lanes, height, width, bits):
    seed = channels * height + width + bits
    x = random_stream(seed, bits, (3, channels, height, width))
    check(x, bits, 2, "average", out_channels, pad_front, lanes, seed, STALLS[seed % len(STALLS)])


def test_average_of_the_extremes_and_halves():
    x = np.array([[-8, -8, 7, 7, 1, 0, -1, -1], [-8, -8, 7, 7, 1, 0, 0, 0]], np.int32).reshape(1, 1, 2, 8)
    assert check(x, 4, 2, "average", 1, 0, 1).ravel().tolist() == [-8, 7, 1, 0]


def test_stride_1_ignores_the_reduction():
    x = random_stream(5, 6, (2, 4, 3, 3))
    np.testing.assert_array_equal(check(x, 6, 1, "average", 4, 0, 2), x)


@pytest.mark.parametrize(("reduce", "latency"), [("sample", 1), ("average", 3)])
def test_rate_and_latency(reduce, latency):
    x = random_stream(1, 8, (2, 4, 4, 4))
    times = {}
    check(x, 8, 2, reduce, 4, 0, 2, stalls=(0.0, 0.0), times=times)
    assert times["i"] == list(range(64))
    # row, column and group of the last input beat that each output needs
    at = 0 if reduce == "sample" else 1
    needed = [
        ((n * 4 + row) * 4 + column) * 2 + group
        for n in (0, 1)
        for row in (0, 2)
        for column in (0, 2)
        for group in (0, 1)
    ]
    assert times["o"] == [beat + at * (4 + 1) * 2 + latency for beat in needed]
    assert Shortcut(4, 4, 4, 8, 2, reduce, 4, 0, 2).latency == latency


@pytest.mark.parametrize("stalls", STALLS)
def test_sums_in_block_ram(stalls):
    """96 words of 18 bits."""
    check(random_stream(2, 16, (2, 8, 4, 24)), 16, 2, "average", 16, 4, 1, 3, stalls)
    assert Shortcut(8, 4, 24, 16, 2, "average", 16, 4, 1).latency == 6  # 2 of them the FIFO's


@pytest.mark.parametrize("reduce", ["sample", "average"])
def test_the_input_does_not_wait_for_padding(reduce):
    """As many channels of zeros as of values: as many beats leave as come, two pixels' for each square."""
    x = random_stream(4, 8, (2, 8, 6, 6))
    times = {}
    check(x, 8, 2, reduce, 16, 4, 1, stalls=(0.0, 0.0), times=times)
    assert times["i"] == list(range(x.size))


def test_padding_takes_one_cycle_a_beat():
    times = {}
    check(random_stream(1, 8, (1, 4, 4, 4)), 8, 1, "sample", 8, 2, 2, stalls=(0.0, 0.0), times=times)
    assert times["o"] == list(range(times["o"][0], times["o"][0] + 64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, "at least 1, not 0, 4 and 4"),
        ({"height": 0}, "not 4, 0 and 4"),
        ({"stream_bits": 17}, "2 to 16, not 17"),
        ({"stride": 3}, "1 or 2, not 3"),
        ({"reduce": "max"}, "one of sample, average, not 'max'"),
        ({"pad_front": 6}, "8 output channels cannot hold 4 channels behind 6 zeros"),
        ({"pad_front": -2}, "behind -2 zeros"),
        ({"lanes": 4}, r"channels \(4\), output channels \(8\) and front padding \(2\), not be 4"),
        ({"lanes": 0}, "not be 0"),
        ({"height": 3}, "even height and width, not 3 x 4"),
        ({"width": 5}, "not 4 x 5"),
    ],
)
def test_wrong_parameters(change, message):
    right = {"channels": 4, "height": 4, "width": 4, "stream_bits": 8, "stride": 2, "reduce": "average"}
    right |= {"out_channels": 8, "pad_front": 2, "lanes": 2}
    with pytest.raises(ValueError, match=message):
        Shortcut(**(right | change))
