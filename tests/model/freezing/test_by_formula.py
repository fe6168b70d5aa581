"""Integers of freezing, and statistics of thawing, by their formulas: exact, where whole networks leave a tolerance."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from popstream.model.freezing.affine import (
    ALWAYS,
    NEVER,
    accumulator_thresholds,
    prelu_tensors,
    requant_tensors,
    stream_thresholds,
)
from popstream.model.freezing.thaw import set_norm, threshold_affine
from popstream.model.manifest import Node
from popstream.model.quantizers import RPReLU, act_quantizer


def rounded(value: Fraction) -> int:
    """Halves go up."""
    return math.floor(value + Fraction(1, 2))


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("gains", "fraction_bits", "power"), [
    ((0.3, -0.7, 0.0), 8, 7), ((0.5, -1.0, 0.25), 0, 14), ((2**-20, -(2**-21), 0.0), 3, 31), ((1.0, 3.0, -2.0), 12, 1),
])  # fmt: skip
def test_requant(gains, fraction_bits, power):
    """The largest F whose multipliers have 16 bits; M and B rounded."""
    shifts = (0.1, -3.3, 2**-9)
    found, tensors = requant_tensors(doubles(*gains), doubles(*shifts), fraction_bits)
    largest = max(abs(rounded(Fraction(gain) * 2 ** (fraction_bits + power))) for gain in gains)
    assert (found, largest < 2**15) == (power, True)
    assert power == 31 or 2 * largest >= 2**15 - 2
    for key, values, exponent in (("multiplier", gains, power), ("bias", shifts, power)):
        exact = [rounded(Fraction(value) * 2 ** (fraction_bits + exponent)) for value in values]
        assert tensors[key].tolist() == exact
    assert (tensors["multiplier"].dtype, tensors["bias"].dtype) == (np.int32, np.int64)


def test_prelu():
    prelu = RPReLU(3)
    values = {"slope": (0.3, -0.7, 0.0), "shift_in": (0.1, -9.0, 3.96875), "shift_out": (-0.03125, 9.0, 0.0)}
    for key, value in values.items():
        getattr(prelu, key).data = torch.tensor(value)
    power, tensors = prelu_tensors(prelu, fraction_bits=4, stream_bits=7)
    assert power == 15
    slopes = torch.tensor(values["slope"]).tolist()
    assert tensors["slope"].tolist() == [rounded(Fraction(slope) * 2**15) for slope in slopes]
    assert tensors["shift_in"].tolist() == [2, -64, 63]  # 63.5 rounds to 64, which 7 bits do not hold
    assert tensors["shift_out"].tolist() == [0, 63, 0]  # -1/2 rounds up


def test_stream_thresholds():
    """The least integer whose value reaches the threshold."""
    real = doubles(0.25, 0.2500001, -0.25, -math.inf, math.inf).unsqueeze(0)
    assert stream_thresholds(real, 4).tolist() == [[4, 5, -4, ALWAYS, NEVER]]


def test_accumulator_thresholds():
    """The least sum that reaches the threshold; of gain 0, all or none."""
    real = doubles(0.5, 1.5).expand(4, 2)
    found = accumulator_thresholds(real, doubles(0.25, 0.3, 0.0, 0.0), doubles(0.0, -1.0, 1.5, 0.4))
    assert found.tolist() == [[2, 6], [5, 9], [ALWAYS, ALWAYS], [NEVER, NEVER]]


def thresholds(rows: list[list[int]]) -> Node:
    return Node("t", "threshold", ("x",), {"bits": 2}, {"thresholds": np.array(rows, np.int32)})


def test_thawed_thresholds_of_constant_and_of_equal_ones():
    """A constant channel comes to lie between the levels of its code; equal thresholds have a gain that is a number."""
    quantizer = act_quantizer("dorefa", 2, 6)
    node = thresholds([
        [NEVER] * 3, [ALWAYS, NEVER, NEVER], [ALWAYS, ALWAYS, NEVER], [ALWAYS] * 3, [7, 7, 7], [-3, 1, 5],
    ])  # fmt: skip
    gain, shift = threshold_affine(quantizer, node, torch.ones(6))
    levels = quantizer.thresholds()[0]
    assert gain[:4].tolist() == [0] * 4
    assert [(value >= levels).sum().item() for value in shift[:4]] == [0, 1, 2, 3]
    assert not any(value in levels for value in shift[:4])
    assert (gain[4].item(), shift[4].item()) == pytest.approx(((levels[2] - levels[0]).item(), 0.5 - 6.5 * 2 / 3))
    torch.testing.assert_close(gain[5] * doubles(-3.5, 0.5, 4.5) + shift[5], levels)


def test_thawed_norm():
    """The statistics are those of its input, and its output the affine."""
    norm = torch.nn.BatchNorm2d(2).double().eval()
    z = torch.arange(16, dtype=torch.float64).reshape(2, 2, 2, 2) ** 1.5
    gain, shift = doubles(0.5, -2.0), doubles(1.0, 3.0)
    with torch.no_grad():
        set_norm(norm, z, (gain * 0.1, shift), 0.1)
        expected = z * gain.view(-1, 1, 1) + shift.view(-1, 1, 1)
        torch.testing.assert_close(norm(z), expected)
        torch.testing.assert_close(norm.train()(z), expected)  # by the batch's own, the same
