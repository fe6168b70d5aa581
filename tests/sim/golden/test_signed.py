"""Signed weights (rule R24): the golden model against sums in int64, the frozen one, and the sum of bit planes."""

import numpy as np
import pytest
import torch

from popstream.model.freezing import frozen
from popstream.model.manifest import Network, Node, accumulator_range, load, node_weights, save, weight_integers
from popstream.model.rom import image as rom
from popstream.sim import golden
from popstream.sim.golden import fault
from tests.networks import random_images, random_network


def conv_node(w: np.ndarray, bits: int, act_bits: int, stride: int = 1, padding: int = 0) -> Node:
    """A conv of the integers w [Co, Ci, K, K], given as codes: w in two's complement."""
    attributes = dict(out_channels=len(w), kernel=w.shape[2], stride=stride, padding=padding)
    q = (w & (2**bits - 1)).astype(np.uint8)
    return Node("c", "conv", ("x",), attributes | dict(weight_bits=bits, act_bits=act_bits, weights="signed"),
                {"weight": q})  # fmt: skip


def plain_conv(codes: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """The sums [N, Co, H', W'] in int64, pixel by pixel."""
    a = np.pad(codes.astype(np.int64), ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    k = w.shape[2]
    rows, columns = ((n - k) // stride + 1 for n in a.shape[2:])
    acc = np.zeros((len(a), len(w), rows, columns), np.int64)
    for y, x in np.ndindex(rows, columns):
        window = a[:, :, y * stride : y * stride + k, x * stride : x * stride + k]
        acc[:, :, y, x] = np.einsum("nckl,ockl->no", window, w)
    return acc


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_are_twos_complement(bits: int):
    """All of them: 1 bit is 0 and -1, 2 bits 0, 1, -2, -1."""
    codes = np.arange(2**bits, dtype=np.uint8)
    expected = [q if q < 2 ** (bits - 1) else q - 2**bits for q in range(2**bits)]
    assert weight_integers(codes, bits, "signed").tolist() == expected
    assert (np.array(expected) & (2**bits - 1)).tolist() == codes.tolist()


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("act_bits", range(1, 9))
def test_conv_is_the_sum_in_int64_and_of_planes(bits: int, act_bits: int):
    rng = np.random.default_rng(8 * bits + act_bits)
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    w = rng.integers(least, most + 1, (4, 2, 3, 3))
    w[0], w[1] = least, most
    codes = rng.integers(0, 2**act_bits, (2, 2, 4, 5), dtype=np.uint8)
    codes[0] = 2**act_bits - 1
    node = conv_node(w, bits, act_bits, padding=1)
    assert np.array_equal(node_weights(node), w)
    acc = golden.node_function(node, codes)
    np.testing.assert_array_equal(acc, plain_conv(codes, w, 1, 1))
    np.testing.assert_array_equal(frozen.conv(node, torch.from_numpy(codes)).numpy(), acc)
    low, high = accumulator_range(node)
    assert (low[0], high[1]) == (18 * least * (2**act_bits - 1), 18 * most * (2**act_bits - 1))
    assert (high[0], low[1]) == (0, 0)
    planes = np.zeros_like(acc)
    for k in range(bits):
        for m in range(act_bits):
            both = plain_conv(codes >> m & 1, node.tensors["weight"].astype(np.int64) >> k & 1, 1, 1)
            planes += both.astype(np.int32) * 2 ** (k + m) * (-1 if k == bits - 1 else 1)
    np.testing.assert_array_equal(planes, acc)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (1, 2, 0), (3, 2, 1), (3, 1, 2), (5, 2, 2)])
def test_geometry(kernel: int, stride: int, padding: int):
    rng = np.random.default_rng(kernel + stride)
    w, codes = rng.integers(-1, 2, (3, 2, kernel, kernel)), rng.integers(0, 8, (2, 2, 5, 6), dtype=np.uint8)
    acc = golden.node_function(conv_node(w, 2, 3, stride, padding), codes)
    np.testing.assert_array_equal(acc, plain_conv(codes, w, stride, padding))


def test_linear():
    w, bias = np.array([[-4, 3, 0], [1, -1, 2]]), np.array([10, -7], np.int32)
    tensors = {"weight": (w & 7).astype(np.uint8), "bias": bias}
    node = Node("l", "linear", ("x",), dict(out_features=2, weight_bits=3, act_bits=3, weights="signed"), tensors)
    codes = np.array([5, 7, 6], np.uint8).reshape(1, 3, 1, 1)
    assert golden.node_function(node, codes).ravel().tolist() == [-20 + 21 + 10, 5 - 7 + 12 - 7]
    assert frozen.linear(node, torch.from_numpy(codes)).tolist() == [[11, 3]]


OPTIONS = dict(weight_bits=2, channels=(4, 6), shortcut="B", first_bits=(4, 8), last_bits=(3, 6))


@pytest.fixture(scope="module", params=[("signed", "signed"), ("signed", "odd"), ("odd", "signed")])
def network(request) -> Network:
    weights, ends = request.param
    return random_network(5, weights=weights, end_weights=ends, **OPTIONS)


def test_a_network_is_saved_packed_and_evaluated(network: Network, tmp_path):
    again = load(save(network, tmp_path))
    assert again.hash == network.hash
    assert [node["weights"] for node in again.nodes if node.tensors.get("weight") is not None].count("signed") > 1
    tensors = rom.unpack(rom.pack(network), network)
    assert all(np.array_equal(tensors[n.name][key], n.tensors[key]) for n in network.nodes for key in n.tensors)
    images = random_images(network.input, 1, 20)
    np.testing.assert_array_equal(frozen.run(network, images), golden.run(network, images)[0])


def test_the_kind_counts_in_the_hash_and_in_the_values():
    odd, signed = (random_network(5, weights=weights, **OPTIONS) for weights in ("odd", "signed"))
    assert odd.hash != signed.hash
    at = "group0.conv0.conv"
    assert np.array_equal(odd.node(at).tensors["weight"], signed.node(at).tensors["weight"])
    assert not np.array_equal(node_weights(odd.node(at)), node_weights(signed.node(at)))


def test_a_flipped_sign_bit_is_a_fault(network: Network):
    at = "group0.conv0.conv"
    faulty = fault.apply(network, fault.parse(f"{at}.weight[1,0,1,1]^1"))
    change = node_weights(faulty.node(at)) - node_weights(network.node(at))
    assert np.argwhere(change).tolist() == [[1, 0, 1, 1]]
    assert abs(change[1, 0, 1, 1]) == (2 if network.node(at)["weights"] == "signed" else 4)
