"""Quantizers of signed weights: levels and gradients against the formulas of their papers."""

import math

import pytest
import torch

from popstream.model.quantizers import weight_quantizer
from popstream.model.quantizers.signed import GAUSSIAN_SPACINGS
from tests.model.quantizers.test_gradients import weight_gradient
from tests.model.tensors import SHAPE, normal


@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize(("gain", "size"), [(1.0, 1.0), (0.8, 0.02)])
def test_signed_learned_step_gradients_are_the_papers(bits, gain, size):
    """LSQ eqs. 3 and 5 for Q_N = Q_P = n, and as many levels below zero as above."""
    w, grad = normal(*SHAPE, scale=size).double(), normal(*SHAPE, seed=1).double()
    quantizer, n = weight_quantizer("lsq_signed", bits, SHAPE).double(), 2 ** (bits - 1) - 1
    quantizer.gain.data.fill_(gain)
    base = (w.abs().mean() * GAUSSIAN_SPACINGS[bits - 2]).item()
    unit = w / (gain * base)
    level = torch.floor(unit + 0.5).clamp(-n, n)
    torch.testing.assert_close(quantizer(w).detach(), level * gain * base)
    inside = unit.abs() <= n
    torch.testing.assert_close(weight_gradient(quantizer, w, grad), grad * inside)
    slope = torch.where(inside, level - unit, unit.sign() * n)
    of_step = (grad * slope).sum() / math.sqrt(w.numel() * n)
    moved = gain * base - 0.1 * of_step  # by one step of SGD on s itself
    torch.testing.assert_close((gain - 0.1 * quantizer.gain.grad) * base, moved, rtol=1e-5, atol=0)


def test_ternary_weights_are_twns():
    """Li and Liu's eqs. 3 to 6, the gradient straight through; all of a layer that is 0 stays 0."""
    w, grad = normal(*SHAPE).double(), normal(*SHAPE, seed=1).double()
    quantizer = weight_quantizer("ternary", 2, SHAPE)
    large = w.abs() > 0.7 * w.abs().mean()
    torch.testing.assert_close(quantizer(w), torch.where(large, w.sign() * w.abs()[large].mean(), 0.0))
    torch.testing.assert_close(weight_gradient(quantizer, w, grad), grad)
    assert quantizer.to_int(w)[0].unique().tolist() == [0, 1, 3]
    assert not quantizer(torch.zeros(SHAPE)).any()
    assert (quantizer.to_int(torch.zeros(SHAPE))[1] > 0).all()
