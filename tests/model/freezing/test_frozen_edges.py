"""Each operation of the frozen network in torch against golden's, where values saturate, tie and end."""

import numpy as np
import pytest
import torch

from popstream.model.freezing import frozen
from popstream.model.manifest import Node
from popstream.sim import golden

NEAR = [0, 1, -1, 2, -2, 3, -3, 125, 126, 127, 128, 129, -127, -128, -129, -130, 300, -300, 1000, -1000]


def grid(*channels: list[int]) -> np.ndarray:
    """[1, C, 1, P] int32."""
    return np.array(channels, np.int32)[None, :, None]


def same(node: Node, *inputs: np.ndarray) -> None:
    """Both give the same integers, and they are not all alike."""
    expected = golden.node_function(node, *inputs)
    got = frozen.OPERATIONS[node.op](node, *(torch.from_numpy(value.copy()) for value in inputs)).numpy()
    np.testing.assert_array_equal(got.reshape(expected.shape), expected)
    assert len(np.unique(expected)) > 1


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("skipped", [False, True])
@pytest.mark.parametrize(("bits", "shift"), [(8, 1), (8, 3), (2, 1), (16, 31)])
def test_requant(bits, shift, skipped, relu):
    tensors = dict(multiplier=np.array([2**shift, 3, -5], np.int32 if shift < 31 else np.int64),
                   bias=np.array([0, -1, 2**shift], np.int64))  # fmt: skip
    node = Node("r", "requant", ("x",), dict(shift=shift, stream_bits=bits, fraction_bits=0, relu=relu), tensors)
    acc = grid(NEAR, NEAR, NEAR)
    acc = np.concatenate([acc, acc * 257], axis=3)
    skip = np.broadcast_to(grid([5, -5, 2 ** (bits - 1) - 1, -(2 ** (bits - 1))] * 10), acc.shape)
    same(node, acc, *([skip] if skipped else []))
    assert golden.node_function(node, acc).max() == 2 ** (bits - 1) - 1
    assert golden.node_function(node, acc).min() == (0 if relu else -(2 ** (bits - 1)))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_threshold(bits):
    rng = np.random.default_rng(bits)
    thresholds = np.sort(rng.choice(NEAR, (3, 2**bits - 1)), axis=1).astype(np.int32)
    same(Node("t", "threshold", ("x",), dict(bits=bits), dict(thresholds=thresholds)), grid(NEAR, NEAR, NEAR))


@pytest.mark.parametrize(("stride", "reduce", "size"), [
    (1, "sample", (3, 5)), (1, "average", (3, 5)), (2, "sample", (3, 5)), (2, "sample", (4, 6)), (2, "average", (4, 6)),
])  # fmt: skip
@pytest.mark.parametrize(("out", "front"), [(2, 0), (5, 2), (5, 0), (4, 2)])
def test_shortcut(stride, reduce, size, out, front):
    x = np.random.default_rng(0).integers(-(2**15), 2**15, (2, 2, *size), np.int32)
    x[0, 0, :2, :2] = 2**15 - 1
    x[0, 1, :2, :2] = -(2**15)
    attributes = dict(stride=stride, reduce=reduce, out_channels=out, pad_front=front)
    same(Node("s", "shortcut", ("x",), attributes), x)


@pytest.mark.parametrize("shift", [0, 1, 2, 5, 31])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_pool(shift, bits):
    step = 2**shift
    sums = [0, step // 2 - 1, step // 2, step, step * (2**bits - 1), min(step * 2**bits, 2**31 - 1), -step, -1]
    x = np.array(sums, np.int64).clip(-(2**31), 2**31 - 1).astype(np.int32).reshape(1, -1, 1, 1)
    same(Node("p", "pool", ("x",), dict(bits=bits, shift=shift)), x)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (3, 2, 0), (5, 2, 3), (1, 2, 0)])
@pytest.mark.parametrize("bits", [(1, 1), (2, 3), (8, 8)])
def test_conv(kernel, stride, padding, bits):
    rng = np.random.default_rng(kernel)
    weight = rng.integers(0, 2 ** bits[0], (3, 2, kernel, kernel), np.uint8)
    codes = rng.integers(0, 2 ** bits[1], (2, 2, 6, 7), np.uint8)
    attributes = dict(out_channels=3, kernel=kernel, stride=stride, padding=padding, weight_bits=bits[0],
                      act_bits=bits[1])  # fmt: skip
    same(Node("c", "conv", ("x",), attributes, dict(weight=weight)), codes)


def test_linear():
    rng = np.random.default_rng(1)
    tensors = dict(weight=rng.integers(0, 4, (3, 5), np.uint8), bias=np.array([2**30, -(2**30), 7], np.int32))
    node = Node("l", "linear", ("x",), dict(out_features=3, weight_bits=2, act_bits=8), tensors)
    same(node, rng.integers(0, 256, (2, 5, 1, 1), np.uint8))


@pytest.mark.parametrize(("inputs", "filters", "small"), [(258, 1, True), (258, 300, True), (259, 1, False)])
def test_float32_sums_below_2_to_the_24(inputs, filters, small):
    """258 products of 255 * 255 and of both signs stay below it, whatever the number of filters; 259 do not."""
    attributes = dict(out_channels=filters, kernel=1, stride=1, padding=0, weight_bits=8, act_bits=8)
    weight = np.full((filters, inputs, 1, 1), 255, np.uint8)
    weight[:, ::2] = 0
    node = Node("c", "conv", ("x",), attributes, dict(weight=weight))
    dtype = frozen.exact(node, frozen.weight_values(node), torch.device("cpu"))
    assert dtype == (torch.float32 if small else torch.float64)


def test_larger_sums_are_exact_too():
    """Of a conv of 1,024 channels and of a linear layer, each with odd sums around 2^24 and beyond."""
    rng = np.random.default_rng(2)
    codes = rng.integers(250, 256, (2, 1024, 1, 1), np.uint8)
    weight = rng.integers(200, 256, (2, 1024, 1, 1), np.uint8)
    conv = dict(out_channels=2, kernel=1, stride=1, padding=0, weight_bits=8, act_bits=8)
    same(Node("c", "conv", ("x",), conv, dict(weight=weight)), codes)
    linear = dict(out_features=2, weight_bits=8, act_bits=8)
    bias = np.array([1, -7], np.int32)
    same(Node("l", "linear", ("x",), linear, dict(weight=weight[:, :, 0, 0], bias=bias)), codes)
