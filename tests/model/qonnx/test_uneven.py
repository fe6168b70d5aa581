"""Sums of two scales without a common unit: by tables of few bits they reach each threshold for the same pairs."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("qonnx")
from popstream.model.qonnx.take import take
from popstream.model.qonnx.uneven import small_tables
from tests.model.qonnx.graphs import Graph
from tests.model.qonnx.test_take import differing

LIMIT = 2**15


@pytest.mark.parametrize("bits", [1, 2, 4, 6])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, -1)])
def test_every_pair(bits, signs):
    rng = np.random.default_rng(bits)
    for _ in range(5):
        first, second = (sign * int(rng.integers(2**20, 2**21)) for sign in signs)
        a, b = (factor * np.arange(-128, 128) for factor in (first, second))
        ends = rng.integers(-(2**28), 2**28, 2)
        thresholds = np.sort(rng.integers(min(ends), max(ends) + 1, (2, 2**bits - 1)))
        thresholds[0, 0], thresholds[1, -1] = -(2**62), 2**30  # always, and never
        found = small_tables(a, b, thresholds)
        assert found is not None
        x, y, s = found
        assert max(abs(x).max(), abs(y).max()) < LIMIT
        given = np.clip(x[:, None] + y, -LIMIT, LIMIT - 1)
        for wanted, row in zip(thresholds.flat, s.flat, strict=True):
            np.testing.assert_array_equal(a[:, None] + b >= wanted, given >= row)


def test_few_bits_can_be_too_few():
    """Three hundred thresholds among nearly 2^16 sums, between which many pairs hang on one another."""
    a, b = np.arange(256) * 257, np.arange(256) * 256 + np.arange(256) % 7
    sums = np.unique(a[:, None] + b)
    assert small_tables(a, b, sums[None, ::32]) is None


@pytest.mark.parametrize("op", ["Add", "Sub"])
@pytest.mark.parametrize("beta", [0.0, 0.8])
def test_a_norm_behind_the_sum_of_each_channel(op, beta):
    """With beta above 0 some codes are reached wherever ReLU leaves 0."""
    g = Graph((1, 3, 8, 8), 4)
    x = g.quant("x", 1 / 255, 8, signed=0)
    x = g.quant(g.node("Relu", g.conv(x, g.weights((4, 3, 3, 3), 2))), 0.3, 3, signed=0)
    branches = [g.quant(g.conv(x, g.weights((4, 4, 3, 3), 2)), scale, 8) for scale in (0.031, 0.047)]
    gains, one = g.rng.uniform(0.5, 1.5, 4), np.ones(4)
    sums = g.node("Relu", g.node(op, *branches))
    x = g.quant(g.node("BatchNormalization", sums, gains, beta * one, 0 * one, one), 0.3, 3, signed=0)
    flat = g.node("Flatten", g.node("GlobalAveragePool", g.quant(x, 0.9, 1, signed=0)), axis=1)
    taken = take(g.model(g.node("Gemm", flat, g.weights((3, 4), 4), transB=1)), "net")
    assert differing(taken) == {}
    said = dict(taken.rows)[f"{op} '{op}_0'"]
    assert said.startswith("an addition of scales 0.031 and 0.047, as whole numbers for what reads it")
