"""Rules R13 to R23 once more, by the words of the table alone and in plain Python: what they leave no room for."""

import pickle

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from sklearn import datasets

from popstream.model import data
from popstream.model.data.cifar10 import read_batch
from popstream.model.data.imagesets import read_mat
from popstream.model.data.pictures import open_picture
from popstream.model.manifest import Node
from popstream.sim.golden import RangeError, node_function


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), [
    ((5, 7), 3, 1, 1), ((6, 6), 3, 2, 1), ((7, 5), 3, 2, 0), ((5, 5), 5, 2, 2), ((4, 4), 1, 2, 0),
])  # fmt: skip
def test_convolution_r14_r15(size, kernel, stride, padding):
    """The kernel is not flipped: each weight differs, so a mirrored one would show."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (2, 3, *size)).astype(np.uint8)
    q = rng.integers(0, 8, (4, 3, kernel, kernel)).astype(np.uint8)
    attributes = dict(out_channels=4, kernel=kernel, stride=stride, padding=padding, weight_bits=3, act_bits=2)
    got = node_function(Node("c", "conv", ("x",), attributes, {"weight": q}), codes)
    rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in size)
    assert got.shape == (2, 4, rows, columns)
    for o, y, x in np.ndindex(4, rows, columns):
        total = 0
        for c, i, j in np.ndindex(3, kernel, kernel):
            row, column = stride * y + i - padding, stride * x + j - padding
            if 0 <= row < size[0] and 0 <= column < size[1]:
                total += (2 * int(q[o, c, i, j]) - 7) * int(codes[1, c, row, column])
        assert got[1, o, y, x] == total


@pytest.mark.parametrize("reduce", ["average", "sample"])
def test_shortcut_reduces_before_it_pads_r16(reduce):
    x = np.random.default_rng(1).integers(-100, 100, (1, 2, 4, 6)).astype(np.int32)
    attributes = {"stride": 2, "reduce": reduce, "out_channels": 7, "pad_front": 3}
    got = node_function(Node("s", "shortcut", ("x",), attributes), x)
    assert got.shape == (1, 7, 2, 3)
    for c, i, j in np.ndindex(7, 2, 3):
        expected = 0
        if 3 <= c < 5:
            square = [int(v) for v in x[0, c - 3, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel()]
            expected = (sum(square) + 2) // 4 if reduce == "average" else square[0]
        assert got[0, c, i, j] == expected


def test_maxpool_has_its_size_as_stride_r13():
    codes = np.random.default_rng(2).integers(0, 8, (1, 1, 8, 10)).astype(np.uint8)
    got = node_function(Node("m", "maxpool", ("x",), {"size": 3}), codes)
    assert got.shape == (1, 1, 2, 3)
    for i, j in np.ndindex(2, 3):
        assert got[0, 0, i, j] == max(codes[0, 0, 3 * i + k, 3 * j + m] for k in range(3) for m in range(3))


def test_pool_sums_every_pixel_r10():
    x = np.random.default_rng(3).integers(-40, 90, (1, 2, 3, 5)).astype(np.int32)
    for shift in (0, 4):
        got = node_function(Node("p", "pool", ("x",), {"bits": 6, "shift": shift}), x)
        for c in range(2):
            total = sum(int(v) for v in x[0, c].ravel()) + (2 ** (shift - 1) if shift else 0)
            assert got[0, c, 0, 0] == min(max(total // 2**shift, 0), 63)


def test_linear_r17():
    q, codes = np.array([[0, 1, 3], [2, 2, 0]], np.uint8), np.array([[3, 1, 2]], np.uint8).reshape(1, 3, 1, 1)
    tensors = {"weight": q, "bias": np.array([100, -7], np.int32)}
    node = Node("l", "linear", ("x",), {"out_features": 2, "weight_bits": 2, "act_bits": 2}, tensors)
    by_hand = [-3 * 3 + -1 * 1 + 3 * 2 + 100, 1 * 3 + 1 * 1 + -3 * 2 - 7]
    assert node_function(node, codes).ravel().tolist() == by_hand


def test_logits_fill_32_bits_and_no_more():
    weight, codes = np.array([[1, 1], [0, 0]], np.uint8), np.ones((1, 2, 1, 1), np.uint8)

    def logits(high: int, low: int) -> list[int]:
        tensors = dict(weight=weight, bias=np.array([high, low], np.int32))
        node = Node("l", "linear", ("x",), dict(weight_bits=1, act_bits=1), tensors)
        return node_function(node, codes).ravel().tolist()

    assert logits(2**31 - 3, -(2**31) + 2) == [2**31 - 1, -(2**31)]
    for bias in ((2**31 - 2, 0), (0, -(2**31) + 1)):
        with pytest.raises(RangeError, match="outside -2147483648 to 2147483647"):
            logits(*bias)


def test_digits_r18_r19():
    scans, order = datasets.load_digits(), np.random.default_rng(0).permutation(1797)
    digits = data.load("digits")
    assert (len(digits.test_labels), len(digits.train_labels)) == (360, 1437)
    rest = [n for place, n in enumerate(order) if place % 5]
    for images, labels, picked in (
        (digits.test_images, digits.test_labels, order[::5]),
        (digits.train_images, digits.train_labels, rest),
    ):
        np.testing.assert_array_equal(labels, scans.target[picked])
        values = scans.images[picked].astype(int)
        np.testing.assert_array_equal(images[:, 0], (2 * 255 * values + 16) // 32)


def test_pictures_r20_r21(tmp_path):
    rng = np.random.default_rng(0)
    path, v = tmp_path / "x.png", rng.integers(0, 2**16, (3, 5))
    Image.fromarray(v.astype(np.uint16)).save(path)
    found = np.asarray(open_picture(path, "L"))
    assert found.ravel().tolist() == [(2 * 255 * int(n) + 65535) // (2 * 65535) for n in v.ravel()]
    colours = rng.integers(0, 256, (3, 5, 3)).astype(np.uint8)
    Image.fromarray(colours).save(path)
    found = np.asarray(open_picture(path, "L"))
    for y, x in np.ndindex(3, 5):
        r, g, b = (int(n) for n in colours[y, x])
        assert found[y, x] == (19595 * r + 38470 * g + 7471 * b + 2**15) >> 16


def test_data_files_r22(tmp_path):
    row = np.arange(3072) % 251
    batch = {b"data": row[None].astype(np.uint8), b"labels": [7]}
    (tmp_path / "batch").write_bytes(pickle.dumps(batch))
    image = read_batch(tmp_path / "batch")[0][0]
    for c, y, x in ((0, 0, 0), (0, 0, 31), (0, 31, 0), (1, 2, 3), (2, 31, 31)):
        assert image[c, y, x] == row[1024 * c + 32 * y + x]
    labels = np.array([[10], [1], [9]], np.uint8)
    savemat(tmp_path / "x.mat", {"X": np.zeros((32, 32, 3, 3), np.uint8), "y": labels})
    assert read_mat(tmp_path / "x.mat")[1].tolist() == [0, 1, 9]


def test_two_inputs_r23():
    """Swapped, the numbers would be others."""
    tensors = {"multiplier": np.array([3], np.int32), "bias": np.array([5], np.int64)}
    attributes = {"shift": 2, "stream_bits": 8, "relu": False, "fraction_bits": 3}
    node = Node("r", "requant", ("acc", "skip"), attributes, tensors)
    acc, skip = (np.array([[[[value]]]], np.int32) for value in (10, -7))
    assert node_function(node, acc, skip).ravel().tolist() == [-7 + ((10 * 3 + 5 + 2) >> 2)]
