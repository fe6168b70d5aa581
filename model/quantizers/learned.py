"""Learned steps: LSQ with odd levels, and EWGS, which scales the gradient by the distance to the level.

    weights       s (2q - n),   q = clip(floor(w / 2s + (n + 1) / 2), 0, n)     n = 2^W - 1
    activations   s a,          a = clip(floor(x / s + 1/2), 0, n)              n = 2^A - 1

LSQ (Esser et al. 2020, arXiv:1902.08153): the gradient to w or x passes inside the clip and is 0 outside; that to s is
value/s - w/s inside and value/s outside, times 1 / sqrt(N n) for N weights, or activations an image. EWGS (Lee et al.
2021, arXiv:2104.00903) multiplies the gradient g that passes by 1 + delta sign(g) (u - level(u)), u in [0, 1] over
the clip's range.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from popstream.model.quantizers.base import ActivationQuantizer, WeightQuantizer

EWGS_DELTA = 1e-3
# Half the spacing of a Gaussian's best uniform quantizer of 1 to 8 bits (Max 1960, table II), over E|w|.
GAUSSIAN_STEPS = (1.0, 0.624, 0.367, 0.210, 0.118, 0.0652, 0.0357, 0.0193)


class LevelsOfStep(torch.autograd.Function):
    """s * (low + pitch * q), q = clip(floor((x / s - low) / pitch + 1/2), 0, n): pitch 2, low -n for odd levels."""

    @staticmethod
    def forward(
        ctx, x: Tensor, step: Tensor, levels: int, low: int, pitch: int, delta: float, scale: Tensor | float
    ) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.levels, ctx.pitch, ctx.low, ctx.delta, ctx.scale = levels, pitch, low, delta, scale
        q = level_codes(x, step, levels, low, pitch)
        return (step * (low + pitch * q)).to(x.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None, None]:
        x, step = ctx.saved_tensors
        unit = (x / step - ctx.low) / ctx.pitch  # 0..n inside the clip
        q = torch.floor(unit + 0.5).clamp(0, ctx.levels)
        inside = (unit >= 0) & (unit <= ctx.levels)
        passed = torch.where(inside, grad, 0)
        if ctx.delta:
            passed = passed * (1 + ctx.delta * torch.sign(grad) * (unit - q) / ctx.levels)
        slope = ctx.low + ctx.pitch * q - torch.where(inside, x / step, 0)
        return passed, (grad * slope).float().sum() * ctx.scale, None, None, None, None, None


def level_codes(x: Tensor, step: Tensor, levels: int, low: int, pitch: int) -> Tensor:
    """The codes q of `LevelsOfStep`, in floating point."""
    return torch.floor(x / (pitch * step) + (0.5 - low / pitch)).clamp(0, levels)


class LSQWeights(WeightQuantizer):
    """Odd levels of a learned step s = gain * E|w| * GAUSSIAN_STEPS[W]; the gain is learned and starts at 1.

    Relative to E|w|, whose own gradient is left out, the same gain serves every number of bits and a float start. The
    gain's gradient is LSQ's of s divided by base = s / gain, where the chain rule would multiply by it: SGD's step on
    the gain then moves s as one on s itself would, for weights of any size.
    """

    delta = 0.0

    def __init__(self, bits: int):
        super().__init__(bits)
        self.gain = nn.Parameter(torch.ones(()))

    def _step(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """s and base = s / gain."""
        base = w.detach().abs().mean().clamp_min(1e-12) * self.spacing()
        return self.gain.clamp_min(1e-3) * base, base

    def spacing(self) -> float:
        """The step that is best for Gaussian weights, over E|w|."""
        return GAUSSIAN_STEPS[self.bits - 1]

    def codes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        step, _ = self._step(w)
        return level_codes(w, step, self.levels, -self.levels, 2), step

    def quantize(self, w: Tensor) -> Tensor:
        step, base = self._step(w)
        scale = (w.numel() * self.levels) ** -0.5 / base.square()  # autograd multiplies by d s / d gain = base
        return LevelsOfStep.apply(w, step, self.levels, -self.levels, 2, self.delta, scale)


class EWGSWeights(LSQWeights):
    """LSQWeights with EWGS's gradient."""

    delta = EWGS_DELTA


class LSQActivations(ActivationQuantizer):
    """Unsigned levels of a learned step a layer, set by `calibrate` at first."""

    delta = 0.0

    def __init__(self, bits: int, channels: int, activation: str = "relu"):
        super().__init__(bits, channels, activation)
        self.step = nn.Parameter(torch.ones(()))

    def _step(self) -> Tensor:
        return self.step.clamp_min(1e-5)

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Clip at 2.4 times the rms of relu(x)."""
        self.step.copy_(2.4 * F.relu(x.float()).square().mean().sqrt().clamp_min(1e-3) / self.levels)

    def amplitude(self) -> float:
        return self._step().item() * self.levels

    def quantize(self, x: Tensor) -> Tensor:
        scale = (x[0].numel() * self.levels) ** -0.5
        return LevelsOfStep.apply(x, self._step(), self.levels, 0, 1, self.delta, scale)

    def real_thresholds(self) -> Tensor:
        return (self._step().double().cpu() * self.levels * self.midpoints()).expand(self.channels, -1)


class EWGSActivations(LSQActivations):
    """LSQActivations with EWGS's gradient."""

    delta = EWGS_DELTA
