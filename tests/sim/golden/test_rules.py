"""Rules of the golden model that came after R11, by hand in Python's integers, and in torch's frozen network."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from popstream.model.freezing import frozen
from popstream.model.manifest import ManifestError, Network, Node, load, save
from popstream.model.rom import image as rom
from popstream.sim import golden
from tests.networks import random_images, random_network


def test_prelu_rule_r12():
    """Every value of an 8-bit stream by hand, in Python's integers."""
    shift_in, slope, shift_out = [10, -20, 127], [3, -5, 70000], [0, 100, -128]
    tensors = dict(shift_in=shift_in, slope=slope, shift_out=shift_out)
    node = Node(
        "p", "prelu", ("x",), dict(shift=3, stream_bits=8), {k: np.array(v, np.int32) for k, v in tensors.items()}
    )
    r = np.broadcast_to(np.arange(-128, 128, dtype=np.int32), (1, 3, 1, 256))
    got = golden.node_function(node, r)
    assert got.dtype == np.int32
    for c in range(3):
        for x, y in zip(r[0, c, 0].tolist(), got[0, c, 0].tolist(), strict=True):
            d = x - shift_in[c]
            p = d if d >= 0 else math.floor(Fraction(d * slope[c], 8) + Fraction(1, 2))
            assert y == min(max(p + shift_out[c], -128), 127)
    np.testing.assert_array_equal(frozen.prelu(node, torch.from_numpy(r.copy())).numpy(), got)


@pytest.fixture(scope="module")
def network() -> Network:
    return random_network(4, prelu=True, channels=(4, 6), stream_bits=10)


def test_a_network_with_prelu_is_saved_packed_and_evaluated(network, tmp_path):
    nodes = [node for node in network.nodes if node.op == "prelu"]
    assert [node.shape for node in nodes] == [(4, 8, 8), (4, 8, 8), (6, 4, 4)]
    assert load(save(network, tmp_path)).hash == network.hash
    tensors = rom.unpack(rom.pack(network), network)
    assert all(np.array_equal(tensors[n.name][key], n.tensors[key]) for n in nodes for key in n.tensors)
    images = random_images(network.input, 1, 20)
    np.testing.assert_array_equal(frozen.run(network, images), golden.run(network, images)[0])


@pytest.mark.parametrize(("attributes", "tensors", "message"), [
    ({"shift": 0}, {}, "attribute 'shift' must be an integer 1 to 31, not 0"),
    ({"stream_bits": 9}, {}, "attribute 'stream_bits' is 9, but 'group0.conv0.requant' gives 10 bits"),
    ({}, {"slope": np.zeros(3, np.int32)}, r"tensor 'slope': shape must be \[4\], not \[3\]"),
    ({}, {"shift_in": np.array([0, 0, 512, 0], np.int32)}, r"'shift_in': must be -512 to 511 in .*, not 512 at \[2\]"),
    ({}, {"shift_out": np.array([0, -513, 0, 0], np.int32)}, r"'shift_out': must be -512 to .*, not -513 at \[1\]"),
])  # fmt: skip
def test_wrong_prelu(network, attributes, tensors, message):
    node = network.node("group0.conv0.prelu")
    changed = Node(node.name, node.op, node.inputs, node.attributes | attributes, node.tensors | tensors)
    nodes = [changed if other.name == node.name else other for other in network.nodes]
    with pytest.raises(ManifestError, match=message):
        Network.build("x", "random", network.classes, nodes)


@pytest.mark.parametrize(("height", "width", "size"), [(4, 6, 2), (5, 7, 2), (7, 3, 3)])
def test_maxpool_rule_r13(height, width, size):
    codes = np.random.default_rng(size).integers(0, 256, (2, 3, height, width), np.uint8)
    node = Node("m", "maxpool", ("x",), dict(size=size))
    got = golden.node_function(node, codes)
    assert got.dtype == np.uint8
    assert got.shape == (2, 3, height // size, width // size)
    for n, c, y, x in np.ndindex(*got.shape):
        square = codes[n, c, size * y : size * (y + 1), size * x : size * (x + 1)]
        assert got[n, c, y, x] == max(square.ravel().tolist())
    np.testing.assert_array_equal(frozen.maxpool(node, torch.from_numpy(codes)).numpy(), got)


def test_the_quantizer_commutes_with_maxpool():
    """DoReFa-Net eq. 15: codes of maxima are maxima of codes, for any thresholds that do not fall."""
    rng = np.random.default_rng(0)
    thresholds = np.sort(rng.integers(-50, 50, (3, 7)).astype(np.int32), axis=1)
    node = Node("t", "threshold", ("x",), dict(bits=3), dict(thresholds=thresholds))
    x = rng.integers(-60, 60, (2, 3, 6, 6), np.int32)
    largest = x.reshape(2, 3, 3, 2, 3, 2).max(axis=(3, 5))
    pooled = golden.node_function(Node("m", "maxpool", ("t",), dict(size=2)), golden.node_function(node, x))
    np.testing.assert_array_equal(pooled, golden.node_function(node, largest))


def test_wrong_maxpool(network):
    nodes = list(network.nodes)
    pool = Node("extra", "maxpool", ("group1.conv1.threshold",), {"size": 5})
    at = next(i for i, node in enumerate(nodes) if node.name == "group1.conv1.conv")
    reader = Node("group1.conv1.conv", "conv", ("extra",), nodes[at].attributes, nodes[at].tensors)
    with pytest.raises(ManifestError, match="node 'extra': squares of 5 x 5 do not fit into 4 x 4 pixels"):
        Network.build("x", "random", network.classes, [*nodes[:at], pool, reader, *nodes[at + 1 :]])
