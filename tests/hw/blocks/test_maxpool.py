# amaranth: UnusedElaboratable=no
"""Max-pooling against the golden model, under stalls."""

import numpy as np
import pytest

from popstream.hw.blocks.maxpool import MaxPool
from popstream.model.manifest.node import Node
from popstream.sim.golden import node_function
from tests.hw.beats import STALLS, from_beats, to_beats
from tests.hw.stream_bench import run_stream


def check(codes, bits, size, lanes, seed=0, stalls=(0.4, 0.4), times=None):
    _, channels, height, width = codes.shape
    expected = node_function(Node("m", "maxpool", attributes={"size": size}), codes)
    dut = MaxPool(channels, height, width, bits, size, lanes)
    count = expected.size // lanes
    got = run_stream(dut, {"i": to_beats(codes, bits, lanes)}, {"o": count}, seed, *stalls, times=times)["o"]
    np.testing.assert_array_equal(from_beats(got, expected.shape, bits, lanes), expected)


@pytest.mark.parametrize(("channels", "lanes"), [(1, 1), (4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize(
    ("height", "width", "size"), [(4, 6, 2), (5, 7, 2), (2, 2, 2), (3, 9, 3), (8, 7, 3), (4, 4, 4)]
)
@pytest.mark.parametrize("bits", [1, 2, 8])
def test_maxpool_equals_golden(bits, height, width, size, channels, lanes):
    seed = bits + height + width + channels
    rng = np.random.default_rng(seed)
    # mostly zeros, so that a maximum forgotten or kept too long shows
    codes = rng.integers(0, 2**bits, (3, channels, height, width), np.uint8)
    codes *= rng.random(codes.shape) < 0.4
    check(codes, bits, size, lanes, seed, STALLS[seed % len(STALLS)])


@pytest.mark.parametrize(("channels", "bits", "latency"), [(4, 2, 2), (32, 8, 3)])
def test_one_beat_a_cycle(channels, bits, latency):
    """16 words of 4 bits are in distributed RAM, 128 of 16 bits in block RAM."""
    times = {}
    codes = np.random.default_rng(0).integers(0, 2**bits, (2, channels, 4, 16), np.uint8)
    check(codes, bits, 2, 2, stalls=(0.0, 0.0), times=times)
    check(codes, bits, 2, 2, stalls=(0.4, 0.4))
    assert times["i"] == list(range(times["i"][0], times["i"][0] + codes.size // 2))
    assert times["o"][-1] == times["i"][-1] + latency
    assert MaxPool(channels, 4, 16, bits, 2, 2).latency == latency


@pytest.mark.parametrize(("change", "message"), [
    ({"bits": 0}, "1 to 8 bits, not 0"),
    ({"size": 1}, "Size must be 2 to 8, not 1"),
    ({"height": 1}, "Squares of 2 x 2 do not fit into 4 channels of 1 x 6"),
    ({"lanes": 3}, "Lanes must divide the 4 channels, not be 3"),
])  # fmt: skip
def test_wrong_parameters(change, message):
    right = {"channels": 4, "height": 4, "width": 6, "bits": 2, "size": 2, "lanes": 1}
    with pytest.raises(ValueError, match=message):
        MaxPool(**(right | change))
