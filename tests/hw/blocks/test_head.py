# amaranth: UnusedElaboratable=no
"""Pool and Classifier against the golden model, under stalls."""

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned

from popstream.hw.blocks.head import Classifier, Pool
from popstream.model.manifest.node import Node
from popstream.sim.golden import labels, node_function
from tests.hw.beats import STALLS, from_beats, to_beats
from tests.hw.stream_bench import run_stream, unpack


def check_pool(x, shape, bits, shift, lanes, seed=0, stalls=(0.4, 0.4), times=None, ties="up", raised=None):
    """`shape`: that of the values, or the bits of a stream."""
    images, channels, height, width = x.shape
    shape = signed(shape) if isinstance(shape, int) else shape
    expected = node_function(Node("p", "pool", attributes={"bits": bits, "shift": shift, "ties": ties}), x)
    dut = Pool(channels, height * width, shape, bits, shift, lanes, ties, raised)
    inputs = {"i": to_beats(x, shape.width, lanes)}
    got = run_stream(dut, inputs, {"o": images * channels // lanes}, seed, *stalls, times=times)["o"]
    np.testing.assert_array_equal(from_beats(got, expected.shape, bits, lanes), expected)
    return expected


@pytest.mark.parametrize(("channels", "lanes"), [(1, 1), (4, 4), (6, 3), (6, 2), (5, 1)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 3), (4, 2)])
@pytest.mark.parametrize("bits", range(1, 9))
def test_pool_equals_golden(channels, lanes, height, width, bits):
    seed = bits + channels + height
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (3, channels, height, width), np.int32) + np.arange(-60, 90, 50).reshape(3, 1, 1, 1)
    shift = max(0, (height * width * 128).bit_length() - bits - 1)
    check_pool(x.clip(-128, 127).astype(np.int32), 8, bits, shift, lanes, seed, STALLS[seed % len(STALLS)])


def test_pool_saturates_and_rounds_halves_up():
    x = np.array([[7, 7], [-8, -8], [1, 0], [1, 1], [3, 2], [0, -1]], np.int32).reshape(6, 1, 1, 2)
    assert check_pool(x, 4, 2, 1, 1).ravel().tolist() == [3, 0, 1, 1, 3, 0]
    assert check_pool(x, 4, 3, 0, 1).ravel().tolist() == [7, 0, 1, 2, 5, 0]
    assert check_pool(x, 4, 3, 9, 1).ravel().tolist() == [0] * 6


@pytest.mark.parametrize(("channels", "lanes"), [(4, 2), (6, 3), (5, 1)])
@pytest.mark.parametrize("shift", [0, 1, 3, 9])
@pytest.mark.parametrize("ties", ["up", "even"])
def test_pool_of_codes_and_ties(ties, shift, channels, lanes):
    rng = np.random.default_rng(shift + channels)
    codes = rng.integers(0, 16, (4, channels, 2, 3), np.uint8)
    codes[0] = 15
    seed = shift + channels
    check_pool(codes, unsigned(4), 5, shift, lanes, seed, STALLS[seed % len(STALLS)], ties=ties)
    check_pool(codes.astype(np.int32) - 6, 5, 5, shift, lanes, seed, STALLS[seed % len(STALLS)], ties=ties)


@pytest.mark.parametrize("up", range(4))
@pytest.mark.parametrize("ties", ["up", "even"])
def test_pool_of_a_raised_shift(ties, up):
    x = np.random.default_rng(up).integers(-20, 128, (3, 4, 3, 3), np.int32)
    check_pool(x, 8, 4, 6, 2, up, STALLS[1], ties=ties, raised=6 + up)
    check_pool(x, 8, 8, 0, 2, up, STALLS[1], ties=ties, raised=up)


def test_pool_sends_halves_to_even():
    x = np.array([[0, 0], [1, 0], [1, 1], [2, 1], [3, 2], [-1, 0], [6, 7]], np.int32).reshape(7, 1, 1, 2)
    assert check_pool(x, 4, 3, 1, 1, ties="even").ravel().tolist() == [0, 0, 1, 2, 2, 0, 6]
    assert check_pool(x[[4, 6]], 4, 3, 9, 1, ties="even").ravel().tolist() == [0, 0]
    assert check_pool(x[[2, 4]], 4, 3, 0, 1, ties="even").ravel().tolist() == [2, 5]


def test_pool_of_the_widest_sums():
    x = np.concatenate([np.full((1, 2, 4, 5), 2**15 - 1), np.full((1, 2, 4, 5), -(2**15))]).astype(np.int32)
    assert check_pool(x, 16, 8, 12, 1).ravel().tolist() == [160, 160, 0, 0]


@pytest.mark.parametrize(("channels", "lanes", "latency"), [(4, 1, 3), (4, 2, 3), (4, 4, 3), (216, 3, 4)])
def test_pool_takes_one_beat_a_cycle(channels, lanes, latency):
    """72 words of 21 bits are in block RAM."""
    x = np.random.default_rng(4).integers(-8, 8, (3, channels, 2, 3), np.int32)
    times = {}
    check_pool(x, 4, 3, 1, lanes, stalls=(0.0, 0.0), times=times)
    check_pool(x, 4, 3, 1, lanes, stalls=(0.4, 0.4))
    groups = channels // lanes
    assert times["i"] == list(range(18 * groups))
    last = [(image * 6 + 5) * groups + group for image in range(3) for group in range(groups)]
    assert times["o"] == [beat + latency for beat in last]
    assert Pool(channels, 6, signed(4), 3, 1, lanes).latency == latency


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"raised": 2}, "shift that is built must be 3 to 6, not 2"),
        ({"raised": 7}, "shift that is built must be 3 to 6, not 7"),
        ({"channels": 0}, "at least 1, not 0 and 9"),
        ({"pixels": 0}, "not 4 and 0"),
        ({"shape": signed(1)}, "Stream bits must be 2 to 16, not 1"),
        ({"shape": unsigned(9)}, "Code bits must be 1 to 8, not 9"),
        ({"ties": "down"}, "Ties must be one of up, even, not 'down'"),
        ({"bits": 9}, "1 to 8, not 9"),
        ({"shift": -1}, "not be negative, not -1"),
        ({"lanes": 3}, "divide the 4 channels, not be 3"),
    ],
)
def test_wrong_pool_parameters(change, message):
    right = {"channels": 4, "pixels": 9, "shape": signed(8), "bits": 2, "shift": 3, "lanes": 2}
    with pytest.raises(ValueError, match=message):
        Pool(**(right | change))


def check_classifier(acc, bias, expected, shape, lanes, offset=0, seed=0, stalls=(0.4, 0.4), times=None):
    """`acc` [N, O] enters raw, that is with `offset` [O] added; `expected` are the logits [N, O]."""
    classes = acc.shape[1]
    dut = Classifier(bias - offset, shape, lanes)
    inputs = {"i": to_beats((acc + offset)[:, :, None, None], shape.width, lanes)}
    got = run_stream(dut, inputs, {"o": len(acc)}, seed, *stalls, times=times)["o"]
    logits = [unpack(word >> 8, 32, classes, signed=True) for word in got]
    np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal([word & 255 for word in got], labels(expected))


@pytest.mark.parametrize(("classes", "lanes"), [(1, 1), (10, 1), (10, 2), (10, 5), (10, 10), (7, 7), (12, 3)])
@pytest.mark.parametrize(("weight_bits", "act_bits"), [(1, 1), (2, 3), (8, 4), (8, 8)])
@pytest.mark.parametrize("raw", [False, True])
def test_classifier_equals_golden(classes, lanes, weight_bits, act_bits, raw):
    seed = classes + lanes + weight_bits
    rng = np.random.default_rng(seed)
    weight = rng.integers(0, 2**weight_bits, (classes, 9), np.uint8)
    bias = rng.integers(-40, 40, classes).astype(np.int32)
    codes = rng.integers(0, 2**act_bits, (6, 9, 1, 1), np.uint8)
    attributes = {"out_features": classes, "weight_bits": weight_bits, "act_bits": act_bits}
    tensors = {"weight": weight, "bias": bias}
    logits = node_function(Node("l", "linear", attributes=attributes, tensors=tensors), codes)[:, :, 0, 0]
    top = 9 * (2**weight_bits - 1) * (2**act_bits - 1)
    # raw accumulators are sums of products without sign, the constant offset of each class is folded into its bias
    offset = (
        (2**act_bits - 1) * rng.integers(top // (2**act_bits - 1), 2 * top, classes) if raw else np.zeros(classes, int)
    )
    shape = unsigned(int(top + offset.max()).bit_length()) if raw else signed(top.bit_length() + 1)
    check_classifier(logits - bias, bias, logits, shape, lanes, offset, seed, STALLS[seed % len(STALLS)])


@pytest.mark.parametrize("lanes", [1, 2, 6])
def test_lowest_index_wins_among_equals(lanes):
    logits = np.array(
        [[0] * 6, [-3, -1, -1, -2, -1, -9], [1, 2, 3, 3, 2, 1], [-8, -8, -8, -8, -8, 7], [7, 7, 0, 0, 0, 7]]
    )
    bias = np.array([0, 3, -3, 8, 1, -1])
    check_classifier(logits - bias, bias, logits, signed(6), lanes)


def test_logits_reach_both_ends_of_32_bits():
    bias = np.array([2**31 - 1 - 100, -(2**31) + 128])
    acc = np.array([[100, -128], [-128, 127]])
    check_classifier(acc, bias, acc + bias, signed(8), 1)
    check_classifier(acc, bias, acc + bias, signed(8), 2)


@pytest.mark.parametrize(("classes", "lanes", "latency"), [(6, 1, 3), (6, 3, 3), (40, 4, 4)])
def test_classifier_latency(classes, lanes, latency):
    acc, bias = np.arange(classes).reshape(1, classes), np.arange(classes)
    times = {}
    check_classifier(acc, bias, acc + bias, unsigned(6), lanes, stalls=(0.0, 0.0), times=times)
    assert times["i"] == list(range(lanes - 1, classes, lanes))
    assert times["o"] == [times["i"][-1] + latency]
    assert Classifier(bias, unsigned(6), lanes).latency == latency


def test_256_classes():
    rng = np.random.default_rng(9)
    acc, bias = rng.integers(0, 64, (2, 256)), rng.integers(-50, 50, 256)
    acc[:, 255] = 127
    check_classifier(acc, bias, acc + bias, unsigned(7), 16, stalls=(0.3, 0.3))


@pytest.mark.parametrize(
    ("bias", "lanes", "message"),
    [
        (np.zeros((2, 2), int), 1, r"1 to 256 classes, not \[2, 2\]"),
        (np.zeros(257, int), 1, r"not \[257\]"),
        ([], 1, r"not \[0\]"),
        ([1, 2, 3], 2, "divide the 3 classes, not be 2"),
        ([1, 2, 3], 0, "not be 0"),
    ],
)
def test_wrong_classifier_parameters(bias, lanes, message):
    with pytest.raises(ValueError, match=message):
        Classifier(bias, unsigned(4), lanes)
