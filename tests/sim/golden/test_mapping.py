"""Rules R25 to R29 by hand in Python's integers and in torch's frozen network, and what the manifest refuses."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from popstream.model.freezing import frozen
from popstream.model.manifest import ManifestError, Network, Node, load, save
from popstream.model.rom import image as rom
from popstream.sim import golden
from popstream.sim.golden.drawn_post import random_mlp, random_post
from tests.networks import random_images

TABLES = dict(table_rows=3, own_rows=True, pad_code=3, ties="even")


def half_even(value: Fraction) -> int:
    return round(value)  # Python's own rounding of a Fraction


@pytest.mark.parametrize("shift", [1, 2, 5])
def test_ties_of_requant_r25(shift: int):
    tensors = dict(multiplier=np.array([1, -3], np.int32), bias=np.array([0, 7], np.int64))
    acc = np.broadcast_to(np.arange(-70, 70, dtype=np.int32), (1, 2, 1, 140))
    node = Node("r", "requant", ("a",), dict(shift=shift, stream_bits=16, fraction_bits=0, relu=False, ties="even"),
                tensors)  # fmt: skip
    got = golden.node_function(node, acc)
    for c, (m, b) in enumerate(((1, 0), (-3, 7))):
        assert got[0, c, 0].tolist() == [half_even(Fraction(x * m + b, 2**shift)) for x in range(-70, 70)]
    up = golden.node_function(replace(node, attributes=node.attributes | {"ties": "up"}), acc)
    assert (up != got).any()
    np.testing.assert_array_equal(frozen.requant(node, torch.from_numpy(acc.copy())).numpy(), got)


@pytest.mark.parametrize("shift", [0, 1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_ties_of_pool_r25_of_codes_and_streams(shift: int, dtype: type):
    x = np.random.default_rng(shift).integers(0, 16, (9, 4, 2, 3)).astype(dtype)
    for ties, nearest in (("even", half_even), ("up", lambda v: (v + Fraction(1, 2)).__floor__())):
        node = Node("p", "pool", ("x",), dict(bits=4, shift=shift, ties=ties))
        got = golden.node_function(node, x)
        assert got.dtype == np.uint8
        for n, c in np.ndindex(9, 4):
            expected = nearest(Fraction(int(x[n, c].astype(int).sum()), 2**shift)) if shift else int(x[n, c].sum())
            assert got[n, c, 0, 0] == min(expected, 15)
        np.testing.assert_array_equal(frozen.pool(node, torch.from_numpy(x)).numpy(), got)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bits", [3, 5, 6])
def test_add_r26(relu: bool, bits: int):
    a, b = (x.astype(np.int32)[None, None] for x in np.meshgrid(np.arange(-16, 16), np.arange(-8, 8)))
    node = Node("s", "add", ("a", "b"), dict(stream_bits=bits, relu=relu))
    got, limit = golden.node_function(node, a, b), 2 ** (bits - 1)
    for y, x in np.ndindex(*a.shape[2:]):
        total = max(-limit, min(limit - 1, int(a[0, 0, y, x]) + int(b[0, 0, y, x])))
        assert got[0, 0, y, x] == (max(total, 0) if relu else total)
    np.testing.assert_array_equal(frozen.add(node, torch.from_numpy(a), torch.from_numpy(b)).numpy(), got)


@pytest.mark.parametrize("rows", [1, 3])
def test_dequantize_r27(rows: int):
    rng = np.random.default_rng(rows)
    table, codes = rng.integers(-128, 128, (rows, 4)).astype(np.int32), rng.integers(0, 4, (2, 3, 4, 5), np.uint8)
    node = Node("d", "dequantize", ("c",), dict(stream_bits=8, fraction_bits=0), dict(table=table))
    got = golden.node_function(node, codes)
    assert got.dtype == np.int32
    for n, c, y, x in np.ndindex(*codes.shape):
        assert got[n, c, y, x] == table[c if rows > 1 else 0, codes[n, c, y, x]]
    np.testing.assert_array_equal(frozen.dequantize(node, torch.from_numpy(codes)).numpy(), got)


def test_pad_code_r28():
    rng = np.random.default_rng(0)
    codes, q = rng.integers(0, 8, (2, 2, 4, 5), np.uint8), rng.integers(0, 4, (3, 2, 3, 3), np.uint8)
    attributes = dict(out_channels=3, kernel=3, stride=2, padding=1, weight_bits=2, act_bits=3)
    node = Node("c", "conv", ("x",), attributes | {"pad_code": 5}, dict(weight=q))
    wide = np.pad(codes, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=5)
    got = golden.node_function(node, codes)
    plain = Node("c", "conv", ("x",), attributes | {"padding": 0}, dict(weight=q))
    np.testing.assert_array_equal(got, golden.node_function(plain, wide))
    np.testing.assert_array_equal(frozen.conv(node, torch.from_numpy(codes)).numpy(), got)


@pytest.mark.parametrize("rows", [1, 3])
def test_input_table_r29(rows: int):
    """What enters are pixels of 8 bits, whatever the codes are."""
    network = random_post(1, table_rows=rows, first_bits=(4, 3))
    table, pixels = network.input.tensors["table"], random_images(network.input, 2, 6)
    assert (network.entry_bits, network.input.bits, pixels.max() > 7) == (8, 3, True)
    logits, taps = golden.run(network, pixels, [network.input.name])
    for n, c, y, x in np.ndindex(*pixels.shape):
        assert taps[network.input.name][n, c, y, x] == table[c if rows > 1 else 0, pixels[n, c, y, x]]
    np.testing.assert_array_equal(frozen.run(network, pixels), logits)


@pytest.mark.parametrize("options", [{}, dict(join="requant"), dict(skip_first=True, pool_codes=False), TABLES])
def test_post_activation_networks_are_saved_packed_and_evaluated(options: dict, tmp_path):
    network = random_post(3, **options, first_bits=(8, 8))
    assert load(save(network, tmp_path)).hash == network.hash
    tensors = rom.unpack(rom.pack(network), network)
    assert {key for node in network.nodes for key in node.tensors} == {key for t in tensors.values() for key in t}
    images = random_images(network.input, 1, 20)
    np.testing.assert_array_equal(frozen.run(network, images), golden.run(network, images)[0])


@pytest.mark.parametrize("hidden", [(), (8, 6)])
def test_linear_layers_in_a_row(hidden: tuple):
    """A linear layer whose sums go to thresholds is a conv on 1 x 1 pixels."""
    network = random_mlp(2, hidden=hidden, features=10, first_bits=(3, 8))
    images = random_images(network.input, 3, 7)
    x = images[:, :, 0, 0].astype(np.int64)
    for index in range(len(hidden)):
        conv, threshold = network.node(f"layer{index}.conv"), network.node(f"layer{index}.threshold")
        q, bits = conv.tensors["weight"][:, :, 0, 0].astype(np.int64), conv["weight_bits"]
        acc = x @ (q - (q >> bits - 1 << bits)).T
        x = (acc[:, :, None] >= threshold.tensors["thresholds"]).sum(2)
    q, bits = network.output.tensors["weight"].astype(np.int64), network.output["weight_bits"]
    logits = x @ (q - (q >> bits - 1 << bits)).T + network.output.tensors["bias"]
    np.testing.assert_array_equal(golden.run(network, images)[0], logits)
    np.testing.assert_array_equal(frozen.run(network, images), logits)


TABLE = np.zeros((1, 256), np.uint8)


@pytest.mark.parametrize(("name", "attributes", "tensors", "inputs", "message"), [
    ("pool", {"ties": "down"}, {}, None, "attribute 'ties' must be one of 'up', 'even', not 'down'"),
    ("group0.main", {"ties": True}, {}, None, "attribute 'ties' must be one of 'up', 'even', not True"),
    ("group0.sum", {"stream_bits": 17}, {}, None, "attribute 'stream_bits' must be an integer 2 to 16, not 17"),
    ("group0.sum", {}, {}, ("group0.main",) * 2, "add takes two nodes, not 'group0.main' twice"),
    ("group0.sum", {}, {}, ("group0.main", "group0.threshold1"), "lies on a cycle"),
    ("group0.sum", {}, {}, ("group0.main",), "add takes 2 inputs, not 1"),
    ("group0.sum", {}, {}, ("group0.main", "stem.threshold"),
     "add takes stream here, but 'stem.threshold' gives codes"),
    ("group0.skip", {"fraction_bits": 2}, {}, None,
     "fraction bits to add must be equal, but 'group0.main' has 4 and 'group0.skip' 2"),
    ("group0.skip", {}, {"table": np.zeros((2, 4), np.int32)}, None,
     "tensor 'table': shape must be [1, 4] or [4, 4], not [2, 4]"),
    ("group0.skip", {}, {"table": np.full((1, 4), 128, np.int32)}, None,
     "tensor 'table': must be -128 to 127, not 128 at [0, 0]"),
    ("group0.conv0", {"pad_code": 4}, {}, None, "attribute 'pad_code' must be a code, 0 to 3, not 4"),
    ("input", {}, {"table": TABLE[:, :255]}, None, "tensor 'table': shape must be [1, 256] or [3, 256], not [1, 255]"),
    ("input", {}, {"table": TABLE + 16}, None, "tensor 'table': must be 0 to 15, not 16 at [0, 0]"),
    ("input", {}, {"table": TABLE.astype(np.int32)}, None, "tensor 'table': dtype must be uint8, not int32"),
])  # fmt: skip
def test_refusals(name: str, attributes: dict, tensors: dict, inputs: tuple | None, message: str):
    network = random_post(1)
    node = network.node(name)
    changed = replace(
        node, attributes=node.attributes | attributes, tensors=node.tensors | tensors, inputs=inputs or node.inputs
    )
    nodes = [changed if other.name == name else other for other in network.nodes]
    with pytest.raises(ManifestError) as caught:
        Network.build("x", "random", network.classes, nodes)
    assert message in str(caught.value)


def test_what_is_left_out_is_not_hashed():
    """Networks from before these attributes keep their hash."""
    network = random_post(1)
    said = {"requant": {"ties": "up"}, "pool": {"ties": "up"}, "conv": {"pad_code": 0}}
    nodes = [replace(n, attributes={**n.attributes, **said.get(n.op, {})}) for n in network.nodes]
    assert not any({"ties", "pad_code"} & set(n.attributes) for n in network.nodes)
    assert Network.build("y", "random", network.classes, nodes).hash == network.hash
