"""BiNealNet's auxiliary parameters, as reproduced on CIFAR-10 (Nishio 2022, after arXiv:2202.03716).

    weights       alpha[o] sign(tanh(beta w))
    activations   alpha sign(htanh(prelu(beta[c] x + b0[c]) + b1[c]))

sign passes the weights' gradient through; htanh has the smooth gradient 2 - 2|v| on |v| < 1 (arXiv:1808.00278);
PReLU's slope is clipped at 0 from below, so that the activation never falls and is one threshold a channel:
x >= (prelu^-1(-b1) - b0) / beta.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from popstream.model.quantizers.base import ActivationQuantizer, SignCode, SignWithScale, WeightQuantizer
from popstream.model.quantizers.signs import polynomial_slope

BETA_DIMENSIONS = (1, 2, 4)
SMALLEST = 1e-3  # of beta and alpha where they must be positive


class BiNealWeights(WeightQuantizer):
    """alpha a channel; `dimensions` of beta: 1 (an output channel), 2 (each pair of channels) or 4 (each weight).

    A negative alpha is a negated filter: odd codes are closed under negation. `shape` is that of the weights.
    """

    most_bits = 1

    def __init__(self, bits: int, shape: Sequence[int], dimensions: int = 1):
        super().__init__(bits)
        if dimensions not in BETA_DIMENSIONS:
            raise ValueError(f"Dimensions of beta must be one of 1, 2, 4, not {dimensions}")
        self.alpha = nn.Parameter(torch.ones(shape[0], *[1] * (len(shape) - 1)))
        self.beta = nn.Parameter(torch.ones(*shape[:dimensions], *[1] * (len(shape) - dimensions)))

    def _alpha(self) -> Tensor:
        """alpha, no nearer to 0 than SMALLEST."""
        return torch.where(self.alpha.abs() < SMALLEST, torch.where(self.alpha < 0, -SMALLEST, SMALLEST), self.alpha)

    def codes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        return (torch.tanh(self.beta * w) >= 0) == (self.alpha >= 0), self._alpha().abs()

    def quantize(self, w: Tensor) -> Tensor:
        alpha = self._alpha()
        return SignWithScale.apply(torch.tanh(self.beta * w), alpha, alpha.detach())


class BiNealActivations(ActivationQuantizer):
    """One bit; beta, b0, b1 and the slope learned a channel, alpha a layer."""

    most_bits = 1

    def __init__(self, bits: int, channels: int, activation: str = "relu"):
        super().__init__(bits, channels, activation)
        self.beta = nn.Parameter(torch.ones(channels))
        self.before = nn.Parameter(torch.zeros(channels))
        self.after = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))
        self.alpha = nn.Parameter(torch.ones(()))

    def amplitude(self) -> float:
        return self.alpha.clamp_min(SMALLEST).item()

    def quantize(self, x: Tensor) -> Tensor:
        beta, before, slope, after = (
            p.to(x.dtype) for p in (self.beta.clamp_min(SMALLEST), self.before, self.slope.clamp_min(0), self.after)
        )
        u = F.prelu(beta.view(-1, 1, 1) * x + before.view(-1, 1, 1), slope)
        return self.alpha.clamp_min(SMALLEST) * SignCode.apply(u + after.view(-1, 1, 1), polynomial_slope)

    def real_thresholds(self) -> Tensor:
        """-inf where every x reaches: the slope is 0, and what it makes of the negative ones is enough."""
        beta, slope = self.beta.double().clamp_min(SMALLEST), self.slope.double().clamp_min(0)
        least = -self.after.double()
        flat = torch.full_like(least, -torch.inf)
        below = torch.where(slope > 0, least / torch.where(slope > 0, slope, 1), flat)
        u = torch.where(least > 0, least, below)
        return ((u - self.before.double()) / beta).unsqueeze(1)
