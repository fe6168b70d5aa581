"""Signs and their estimators: BNN, XNOR-Net, Bi-Real Net, and those whose estimator sharpens on a schedule.

An estimator of sign(u) gives the slope that the backward pass uses in its place:

    clipped (BNN, XNOR-Net)          1            on |u| <= 1         the slope of clip(u, -1, 1)
    polynomial (Bi-Real Net)         2 - 2 |u|    on |u| <= 1         of 2u - u|u|
    error decay (IR-Net)             k t (1 - tanh(t u)^2)            of k tanh(t u)

with t = 10^(-1 + 2p), k = max(1/t, 1) at progress p in [0, 1], which a trainer sets on the whole network.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn

from popstream.model.quantizers.base import (
    ActivationQuantizer,
    SignCode,
    SignWithScale,
    WeightQuantizer,
    filter_axes,
    standardize,
)
from popstream.model.quantizers.rows import channel_sums, image_of, long_rows, per_channel

LOWEST_TAU, HIGHEST_TAU = 0.85, 0.99  # ReCU: share of a filter's weights that are not clamped, at progress 0 and 1


def clipped_slope(u: Tensor) -> Tensor:
    return (u.abs() <= 1).to(u.dtype)


def polynomial_slope(u: Tensor) -> Tensor:
    return u.abs().mul_(-2).add_(2).clamp_min_(0)


def decay_slope(u: Tensor, progress: Tensor) -> Tensor:
    t = torch.exp(math.log(10) * (2 * progress - 1))
    return torch.clamp_min(1 / t, 1) * t * (1 - torch.tanh(t * u).square())


class Scheduled(nn.Module):
    """What has a schedule: `progress`, 0 at the start of training and 1 at its end, a buffer saved with the weights."""

    progress: Tensor

    def add_progress(self) -> None:
        self.register_buffer("progress", torch.zeros(()))

    @torch.no_grad()
    def set_progress(self, progress: float) -> None:
        """Raises ValueError outside of 0 to 1."""
        if not 0 <= progress <= 1:
            raise ValueError(f"Progress must be 0 to 1, not {progress}")
        self.progress.fill_(progress)


class BNNWeights(WeightQuantizer):
    """sign(w), scale 1; the gradient is clipped: d/dw = d/dwb * [|w| <= 1] (Courbariaux et al. 2016)."""

    most_bits = 1

    def codes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        return w >= 0, torch.ones((), device=w.device)

    def quantize(self, w: Tensor) -> Tensor:
        return SignWithScale.apply(w, torch.ones((), device=w.device), clipped_slope(w.detach()))


class XNORWeights(WeightQuantizer):
    """sign(w) * E|w| of each output channel, gradient passed through (DoReFa-Net section 2.3, of XNOR-Net)."""

    most_bits = 1

    def codes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        return w >= 0, w.abs().mean(filter_axes(w), keepdim=True)

    def quantize(self, w: Tensor) -> Tensor:
        return SignWithScale.apply(w, w.detach().abs().mean(filter_axes(w), keepdim=True), 1.0)


class IRNetWeights(WeightQuantizer, Scheduled):
    """sign(v) 2^s on standardized filters v, s = round(log2 E|v|) a channel, error decay estimator on v.

    Qin et al. 2020, arXiv:1909.10788: d/dv = d/dwb * 2^s * k t (1 - tanh(t v)^2).
    """

    most_bits = 1

    def __init__(self, bits: int):
        super().__init__(bits)
        self.add_progress()

    def _scale(self, v: Tensor) -> Tensor:
        return torch.exp2(torch.floor(torch.log2(v.abs().mean(filter_axes(v), keepdim=True).clamp_min(1e-8)) + 0.5))

    def codes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        v = standardize(w)
        return v >= 0, self._scale(v)

    def quantize(self, w: Tensor) -> Tensor:
        v = standardize(w)
        scale = self._scale(v.detach())
        return SignWithScale.apply(v, scale, scale * decay_slope(v.detach(), self.progress))


class ReCUWeights(WeightQuantizer, Scheduled):
    """sign(v) E|c| on standardized filters v, c = v clamped to its tau quantiles; gradient of the clamp.

    Xu et al. 2021, arXiv:2103.12369: the quantiles are those of a Laplace distribution, -E|v| log(2 - 2 tau), and
    tau = A e^p + B rises from 0.85 to 0.99 with the progress p. Weights are brought to a deviation of 2 sqrt(2).
    """

    most_bits = 1

    def __init__(self, bits: int):
        super().__init__(bits)
        self.add_progress()

    def _clamped(self, w: Tensor) -> Tensor:
        v = standardize(w) * (2 * math.sqrt(2))
        rate = (HIGHEST_TAU - LOWEST_TAU) / (math.e - 1)
        tau = rate * torch.exp(self.progress) + LOWEST_TAU - rate
        bound = -torch.log(2 - 2 * tau) * v.detach().abs().mean(filter_axes(v), keepdim=True)
        return torch.minimum(torch.maximum(v, -bound), bound)

    def codes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        c = self._clamped(w)
        return c >= 0, c.abs().mean(filter_axes(c), keepdim=True)

    def quantize(self, w: Tensor) -> Tensor:
        c = self._clamped(w)
        return SignWithScale.apply(c, c.detach().abs().mean(filter_axes(c), keepdim=True), 1.0)


class SignActivations(ActivationQuantizer):
    """code = [x >= 0], clipped estimator: BNN and XNOR-Net."""

    most_bits = 1

    def quantize(self, x: Tensor) -> Tensor:
        return SignCode.apply(x, clipped_slope)

    def real_thresholds(self) -> Tensor:
        return torch.zeros(self.channels, 1)


class BiRealActivations(SignActivations):
    """code = [x >= 0], polynomial estimator (Liu et al. 2018, arXiv:1808.00278)."""

    def quantize(self, x: Tensor) -> Tensor:
        return SignCode.apply(x, polynomial_slope)


class IRNetActivations(SignActivations, Scheduled):
    """code = [x >= 0], error decay estimator."""

    def __init__(self, bits: int, channels: int, activation: str = "relu"):
        super().__init__(bits, channels, activation)
        self.add_progress()

    def quantize(self, x: Tensor) -> Tensor:
        return SignCode.apply(x, partial(decay_slope, progress=self.progress))


class ShiftedSignCode(torch.autograd.Function):
    """Code [x >= offset[c]] of x [N, C, H, W], polynomial estimator, in few passes over memory.

    Gradients g' = g times half the polynomial slope at x - offset for x, and the sum of -g' of each channel for offset.
    """

    @staticmethod
    def forward(ctx, x: Tensor, offset: Tensor) -> Tensor:
        rows = long_rows(x)
        u = rows - per_channel(offset, rows)
        ctx.save_for_backward(u, offset)
        return image_of(u.clone().ge_(0), x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        u, offset = ctx.saved_tensors
        passed = polynomial_slope(u).mul_(long_rows(grad)).mul_(0.5)
        return image_of(passed, grad), -channel_sums(passed, offset)


class RSignActivations(ActivationQuantizer):
    """RSign of ReActNet (arXiv:2003.03488): code = [x >= alpha[c]], polynomial estimator, alpha learned a channel."""

    most_bits = 1

    def __init__(self, bits: int, channels: int, activation: str = "relu"):
        super().__init__(bits, channels, activation)
        self.offset = nn.Parameter(torch.zeros(channels))

    def quantize(self, x: Tensor) -> Tensor:
        return ShiftedSignCode.apply(x, self.offset)

    def real_thresholds(self) -> Tensor:
        return self.offset.unsqueeze(1)


class Bent(torch.autograd.Function):
    """u = r - below[c]; (u if u >= 0 else slope[c] u) + after[c] for r [N, C, H, W], in few passes over memory.

    Gradients g' = g where u >= 0, else slope g, for r; of each channel the sums of -g' for below, of g for after, and
    of g u over u < 0 for the slope.
    """

    @staticmethod
    def forward(ctx, r: Tensor, below: Tensor, slope: Tensor, after: Tensor) -> Tensor:
        rows = long_rows(r)
        u = rows - per_channel(below, rows)
        ctx.save_for_backward(u, slope)
        bent = u.clamp_max(0).mul_(per_channel(slope - 1, rows)).add_(u).add_(per_channel(after, rows))
        return image_of(bent, r)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        u, slope = ctx.saved_tensors
        g = long_rows(grad)
        negative = torch.ops.aten.hardtanh_backward(g, u, -torch.inf, 0.0)  # g where u < 0: faster than where()
        inner = (negative * per_channel(slope - 1, g)).add_(g)
        below, bent, after = (channel_sums(part, slope) for part in (inner, negative.mul_(u), g))
        return image_of(inner, grad), -below, bent, after


class RPReLU(nn.Module):
    """RPReLU of ReActNet on the stream: u = r - gamma[c]; (u if u >= 0 else beta[c] u) + zeta[c], all learned.

    On hardware a fixed-point slope: rule R12 of sim/golden/__init__.py.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.shift_in = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))
        self.shift_out = nn.Parameter(torch.zeros(channels))

    def forward(self, r: Tensor) -> Tensor:
        return Bent.apply(r, self.shift_in, self.slope, self.shift_out)
