"""Signed weights, whole numbers around zero with as many levels above as below: ternary (TWN), and LSQ's.

    ternary   alpha t,  t = sign(w) where |w| > delta, else 0    delta = 0.7 E|w|, alpha the mean of those |w|
    lsq       s v,      v = clip(floor(w / s + 1/2), -n, n)      n = 2^(W-1) - 1

TWN (Li and Liu 2016, arXiv:1605.04711) eqs. 3 to 6: threshold and scale of a layer, the gradient is passed straight
through. The least integer of W bits, -2^(W-1), is never used ("narrow"), so that a filter can be negated when frozen.
"""

import torch
from torch import Tensor

from popstream.model.quantizers.base import WeightQuantizer
from popstream.model.quantizers.learned import LevelsOfStep, LSQWeights, level_codes

TWN_DELTA = 0.7
# Spacing of a Gaussian's best uniform quantizer of 2 to 8 bits with a level at 0, the least one left out, over E|w|.
GAUSSIAN_SPACINGS = (1.5341, 0.8156, 0.4429, 0.2422, 0.1322, 0.0718, 0.0387)


class Replace(torch.autograd.Function):
    """`values` in place of w, whose gradient is passed through."""

    @staticmethod
    def forward(ctx, w: Tensor, values: Tensor) -> Tensor:
        return values.to(w.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class TernaryWeights(WeightQuantizer):
    """-1, 0 and 1 times a scale of the layer (TWN)."""

    least_bits = most_bits = 2
    kind = "signed"

    def _ternary(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """-1, 0 or 1 for each weight, and the scale."""
        size = w.abs()
        large = size > TWN_DELTA * size.mean()
        scale = (size * large).sum() / large.sum().clamp_min(1)
        return w.sign() * large, scale.clamp_min(1e-12)

    def codes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        ternary, scale = self._ternary(w)
        return ternary.remainder(2**self.bits), scale

    def quantize(self, w: Tensor) -> Tensor:
        ternary, scale = self._ternary(w.detach())
        return Replace.apply(w, ternary * scale)


class LSQSignedWeights(LSQWeights):
    """Levels of a learned step s = gain * E|w| * GAUSSIAN_SPACINGS[W]; gain and gradients are those of LSQWeights."""

    least_bits = 2
    kind = "signed"

    @property
    def largest(self) -> int:
        """n, the greatest weight."""
        return 2 ** (self.bits - 1) - 1

    def spacing(self) -> float:
        return GAUSSIAN_SPACINGS[self.bits - 2]

    def codes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        step, _ = self._step(w)
        return (level_codes(w, step, 2 * self.largest, -self.largest, 1) - self.largest).remainder(2**self.bits), step

    def quantize(self, w: Tensor) -> Tensor:
        step, base = self._step(w)
        scale = (w.numel() * self.largest) ** -0.5 / base.square()  # as in LSQWeights
        return LevelsOfStep.apply(w, step, 2 * self.largest, -self.largest, 1, self.delta, scale)
