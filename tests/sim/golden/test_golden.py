"""The golden model against naive loops, both bit-plane forms of a dot product, and the table of rounding rules."""

import time

import numpy as np
import pytest

from popstream.model.manifest import Network, Node, accumulator_range
from popstream.sim import golden
from popstream.sim.golden import ops
from tests.networks import random_images, random_network


def conv_node(weight: np.ndarray, w_bits: int, a_bits: int, stride: int = 1, padding: int = 0) -> Node:
    attributes = dict(out_channels=len(weight), kernel=weight.shape[2], stride=stride, padding=padding)
    return Node("conv", "conv", ("x",), attributes | dict(weight_bits=w_bits, act_bits=a_bits), dict(weight=weight))


def naive_conv(codes: np.ndarray, q: np.ndarray, w_bits: int, stride: int, padding: int) -> np.ndarray:
    """One product at a time, in Python's integers."""
    n, ci, h, w = codes.shape
    co, _, k, _ = q.shape
    rows, cols = (h + 2 * padding - k) // stride + 1, (w + 2 * padding - k) // stride + 1
    acc = np.zeros((n, co, rows, cols), np.int64)
    for i, o, y, x in np.ndindex(*acc.shape):
        total = 0
        for c, ky, kx in np.ndindex(ci, k, k):
            row, col = y * stride + ky - padding, x * stride + kx - padding
            if 0 <= row < h and 0 <= col < w:
                total += (2 * int(q[o, c, ky, kx]) - (2**w_bits - 1)) * int(codes[i, c, row, col])
        acc[i, o, y, x] = total
    return acc


def planes_and(a: np.ndarray, q: np.ndarray, a_bits: int, w_bits: int) -> int:
    """DoReFa eq. 3 for bipolar weights: 2 sum 2^(k+m) popcount(q_k AND a_m) - (2^W - 1) sum a."""
    total = 0
    for k in range(w_bits):
        for m in range(a_bits):
            total += 2 ** (k + m) * int(np.sum((q >> k) & (a >> m) & 1))
    return 2 * total - (2**w_bits - 1) * int(a.astype(np.int64).sum())


def planes_xnor(a: np.ndarray, q: np.ndarray, a_bits: int, w_bits: int) -> int:
    """sum 2^(k+m) popcount(q_k XNOR a_m) - (2^A - 1) sum 2^k Z_k with Z_k the zeros in plane k of the filter."""
    total = 0
    for k in range(w_bits):
        for m in range(a_bits):
            total += 2 ** (k + m) * int(np.sum(1 - (((q >> k) ^ (a >> m)) & 1)))
    zeros = [int(np.sum(1 - ((q >> k) & 1))) for k in range(w_bits)]
    return total - (2**a_bits - 1) * sum(2**k * z for k, z in enumerate(zeros))


@pytest.mark.parametrize("w_bits", range(1, 9))
@pytest.mark.parametrize("a_bits", range(1, 9))
def test_conv_is_the_naive_loop_and_both_plane_forms(w_bits: int, a_bits: int):
    rng = np.random.default_rng(8 * w_bits + a_bits)
    q = rng.integers(0, 2**w_bits, (3, 2, 3, 3), dtype=np.uint8)
    q[0] = 2**w_bits - 1  # both ends of the range
    q[1] = 0
    codes = rng.integers(0, 2**a_bits, (2, 2, 4, 5), dtype=np.uint8)
    codes[0] = 2**a_bits - 1
    acc = golden.node_function(conv_node(q, w_bits, a_bits, padding=1), codes)
    assert acc.dtype == np.int32
    np.testing.assert_array_equal(acc, naive_conv(codes, q, w_bits, 1, 1))
    padded = np.pad(codes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for n, o, y, x in [(0, 0, 0, 0), (0, 1, 2, 2), (1, 2, 3, 4), (1, 2, 1, 1), (1, 1, 0, 3)]:
        window = padded[n, :, y : y + 3, x : x + 3]
        assert planes_and(window, q[o], a_bits, w_bits) == acc[n, o, y, x]
        assert planes_xnor(window, q[o], a_bits, w_bits) == acc[n, o, y, x]


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_conv_geometry(kernel: int, stride: int, padding: int):
    if padding >= kernel:
        padding = kernel - 1
    rng = np.random.default_rng(kernel * 8 + padding * 2 + stride)
    q = rng.integers(0, 4, (3, 2, kernel, kernel), dtype=np.uint8)
    codes = rng.integers(0, 8, (2, 2, 5, 6), dtype=np.uint8)
    acc = golden.node_function(conv_node(q, 2, 3, stride, padding), codes)
    np.testing.assert_array_equal(acc, naive_conv(codes, q, 2, stride, padding))


def test_sums_beyond_float32_are_exact():
    """Odd sums above 2^24, which float32 cannot hold."""
    q = np.full((1, 601, 1, 1), 255, np.uint8)
    codes = np.full((1, 601, 1, 1), 255, np.uint8)
    codes[0, 0] = 254
    assert accumulator_range(conv_node(q, 8, 8))[1][0] > ops.EXACT_FLOAT32
    assert golden.node_function(conv_node(q, 8, 8), codes).item() == 255 * (255 * 600 + 254)


def threshold_node(thresholds: list[list[int]], bits: int) -> Node:
    return Node("t", "threshold", ("x",), dict(bits=bits), dict(thresholds=np.array(thresholds, np.int32)))


def column(values: list[int]) -> np.ndarray:
    """[1, 1, 1, P] int32."""
    return np.array(values, np.int32)[None, None, None]


def test_rule_r4_threshold_counts_equals():
    node = threshold_node([[-2, 3, 3]], 2)
    assert golden.node_function(node, column([-3, -2, 2, 3, 4])).ravel().tolist() == [0, 1, 1, 3, 3]


@pytest.mark.parametrize("bits", range(1, 9))
def test_threshold_is_the_sum_of_comparisons(bits: int):
    rng = np.random.default_rng(bits)
    thresholds = np.sort(rng.integers(-40, 40, (3, 2**bits - 1)), axis=1).astype(np.int32)
    thresholds[1] = np.iinfo(np.int32).min  # always
    thresholds[2] = np.iinfo(np.int32).max  # never
    x = rng.integers(-50, 50, (2, 3, 4, 5), dtype=np.int32)
    codes = golden.node_function(threshold_node(thresholds.tolist(), bits), x)
    for n, c, i, j in np.ndindex(*x.shape):
        assert codes[n, c, i, j] == sum(int(x[n, c, i, j]) >= int(t) for t in thresholds[c])
    assert codes[:, 1].min() == 2**bits - 1
    assert codes[:, 2].max() == 0


def requant_node(multiplier: int, bias: int, shift: int, bits: int, relu: bool = False) -> Node:
    tensors = dict(multiplier=np.array([multiplier], np.int32), bias=np.array([bias], np.int64))
    return Node("r", "requant", ("x",), dict(shift=shift, stream_bits=bits, fraction_bits=0, relu=relu), tensors)


def test_rule_r5_halves_go_up():
    """Multiples of 1/4: ties at +-1/2, 3/2 and 5/2."""
    node = requant_node(1, 0, 2, 8)
    values = [-10, -7, -6, -5, -3, -2, -1, 0, 1, 2, 3, 5, 6, 7, 10]
    expected = [int(np.floor(v / 4 + 0.5)) for v in values]
    assert expected[:6] == [-2, -2, -1, -1, -1, 0]
    assert golden.node_function(node, column(values)).ravel().tolist() == expected


def test_rule_r6_saturates_the_sum_and_not_the_term():
    """y = 300 leaves 8 bits, but 300 - 200 does not."""
    node = requant_node(2, 0, 1, 8)
    skip = column([-200, 0, 0, 0, 0, 100])
    acc = column([300, 300, 127, 128, -129, -300])
    assert golden.node_function(node, acc, skip).ravel().tolist() == [100, 127, 127, 127, -128, -128]


def test_rule_r7_relu_follows_the_sum():
    node = requant_node(2, 0, 1, 8, relu=True)
    assert golden.node_function(node, column([-5, -5, 5]), column([6, 4, -9])).ravel().tolist() == [1, 0, 0]


def test_requant_in_64_bits_equals_pythons_integers():
    rng = np.random.default_rng(4)
    for multiplier, bias, shift in [(2**31 - 1, 2**61, 31), (-(2**31), -(2**60), 30), (12345, -(10**9), 16), (3, 5, 1)]:
        acc = rng.integers(-(2**25), 2**25, (1, 1, 3, 7), dtype=np.int32)
        got = golden.node_function(requant_node(multiplier, bias, shift, 16), acc)
        for value, r in zip(acc.ravel().tolist(), got.ravel().tolist(), strict=True):
            y = (value * multiplier + bias + 2 ** (shift - 1)) >> shift
            assert r == min(max(y, -(2**15)), 2**15 - 1)


def shortcut_node(stride: int, reduce: str, out: int, front: int) -> Node:
    return Node("s", "shortcut", ("x",), dict(stride=stride, reduce=reduce, out_channels=out, pad_front=front))


def test_rule_r8_average_halves_go_up():
    blocks = np.array([[[[1, 0, -1, -1], [1, 0, 0, 0]]]], np.int32)  # means 1/2 and -1/2
    assert golden.node_function(shortcut_node(2, "average", 1, 0), blocks).tolist() == [[[[1, 0]]]]
    blocks = np.array([[[[1, 0, -1, -1], [0, 0, -1, 0]]]], np.int32)  # 1/4 and -3/4
    assert golden.node_function(shortcut_node(2, "average", 1, 0), blocks).tolist() == [[[[0, -1]]]]
    for edge in (-(2**15), 2**15 - 1):
        full = np.full((1, 1, 2, 2), edge, np.int32)
        assert golden.node_function(shortcut_node(2, "average", 1, 0), full).item() == edge


def test_rule_r9_sample_keeps_odd_edges_and_pads_channels():
    x = np.arange(2 * 3 * 5, dtype=np.int32).reshape(1, 2, 3, 5)
    out = golden.node_function(shortcut_node(2, "sample", 5, 2), x)
    assert out.shape == (1, 5, 2, 3)
    assert out[0, 2].tolist() == [[0, 2, 4], [10, 12, 14]]
    assert out[0, 3].tolist() == [[15, 17, 19], [25, 27, 29]]
    assert not out[0, [0, 1, 4]].any()
    for reduce in ("sample", "average"):
        np.testing.assert_array_equal(golden.node_function(shortcut_node(1, reduce, 2, 0), x), x)


@pytest.mark.parametrize(
    ("shift", "values", "code"),
    [
        (0, [3, 1, 1], 5),
        (0, [9, 9, 9], 15),
        (1, [3, 0, 0], 2),
        (2, [1, 2, 2], 1),
        (2, [2, 2, 2], 2),
        (2, [-9, 1, 0], 0),
    ],
)
def test_rule_r10_pool(shift: int, values: list[int], code: int):
    node = Node("p", "pool", ("x",), dict(bits=4, shift=shift))
    got = golden.node_function(node, column(values))
    assert (got.shape, got.dtype, got.item()) == ((1, 1, 1, 1), np.uint8, code)


def test_linear_and_rule_r11():
    weight, bias = np.array([[0, 3], [3, 0], [0, 3]], np.uint8), np.array([10, -10, 10], np.int32)
    node = Node("l", "linear", ("x",), dict(weight_bits=2, act_bits=3), dict(weight=weight, bias=bias))
    codes = np.array([[5, 7], [7, 1]], np.uint8).reshape(2, 2, 1, 1)
    logits = golden.node_function(node, codes)[:, :, 0, 0]
    assert logits.tolist() == [[16, -16, 16], [-8, 8, -8]]
    assert golden.labels(logits).tolist() == [0, 1]


@pytest.fixture(scope="module")
def network() -> Network:
    return random_network(11, shortcut="B", act_bits=3, weight_bits=2, height=6, width=10, channels=(4, 6))


def test_run_taps_every_node_in_its_range(network: Network):
    images = random_images(network.input, 1, 5)
    logits, taps = golden.run(network, images, [node.name for node in network.nodes])
    assert logits.shape == (5, 4)
    np.testing.assert_array_equal(taps["linear"][:, :, 0, 0], logits)
    np.testing.assert_array_equal(taps["input"], images)
    for node in network.nodes[1:]:
        value = taps[node.name]
        assert value.shape == (5, *node.shape)
        assert value.dtype == (np.uint8 if node.kind == "codes" else np.int32)
        np.testing.assert_array_equal(value, golden.node_function(node, *(taps[name] for name in node.inputs)))
    few = golden.run(network, images, ["stem.requant"])[1]
    assert list(few) == ["stem.requant"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_batches_give_what_single_images_give(network: Network, batch: int, workers: int):
    images = random_images(network.input, 2, 9)
    expected = np.concatenate([golden.run(network, image[None])[0] for image in images])
    np.testing.assert_array_equal(golden.run_batches(network, images, batch, workers), expected)


def test_progress_counts_every_image(network: Network):
    seen = []

    class Bar:
        def __init__(self, total: int, unit: str):
            seen.append((total, unit))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            seen.append("closed")

        def update(self, count: int):
            seen.append(count)

    golden.run_batches(network, random_images(network.input, 2, 9), batch=4, progress=Bar)
    assert seen == [(9, "image"), 4, 4, 1, "closed"]


def test_no_images(network: Network):
    none = np.zeros((0, *network.input.shape), np.uint8)
    assert golden.run_batches(network, none).shape == (0, 4)


def test_refuses_what_is_not_its_input(network: Network):
    images = random_images(network.input, 1, 2)
    with pytest.raises(ValueError, match=r"Images must be uint8 \[N, 3, 6, 10\], not int64"):
        golden.run(network, images.astype(np.int64))
    with pytest.raises(ValueError, match=r"Images must be uint8 \[N, 3, 6, 10\], not uint8 \(2, 3, 6, 9\)"):
        golden.run(network, images[..., :9])
    with pytest.raises(ValueError, match=r"Taps must be nodes of 'random', not \['x'\]"):
        golden.run(network, images, ["x", "linear"])
    with pytest.raises(ValueError, match="at least 1, not 0 and 1"):
        golden.run_batches(network, images, batch=0)
    with pytest.raises(ValueError, match=r"Op must be one of conv, .*, not 'input'"):
        golden.node_function(network.input)
    narrow = random_network(1, first_bits=(8, 4))
    with pytest.raises(ValueError, match="Input codes must be 0 to 15, not 16"):
        golden.run(narrow, np.full((1, 3, 8, 8), 16, np.uint8))


def test_range_is_asserted():
    with pytest.raises(golden.RangeError, match="Node 'conv' gives 14 to 14, outside 0 to 7"):
        golden.node_function(conv_node(np.ones((1, 1, 1, 1), np.uint8), 1, 3), np.full((1, 1, 1, 1), 14, np.uint8))


def test_resnet20_runs_at_the_speed_that_a_whole_test_set_needs():
    """40.6 MMAC an image; 10,000 images in three minutes on two cores are 28 images a second on one."""
    network = random_network(
        0, channels=(16, 32, 64), strides=(1, 2, 2), blocks=3, height=32, width=32, classes=10, act_bits=2
    )
    images = random_images(network.input, 1, 16)
    golden.run_batches(network, images[:8])
    start = time.process_time()
    golden.run_batches(network, images)
    assert time.process_time() - start < 16 / 28
