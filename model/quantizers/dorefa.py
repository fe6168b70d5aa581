"""DoReFa-Net's three forms: weights, activations and gradients. Equation numbers are those of arXiv:1606.06160."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from popstream.model.quantizers.base import (
    ACTIVATIONS,
    ActivationQuantizer,
    RoundToLevels,
    SignWithScale,
    WeightQuantizer,
    check_name,
    filter_axes,
    inverse,
    standardize,
)
from popstream.model.quantizers.clipped import CURVES, DEGREES, ClippedLevels, curve

WEIGHT_SCALES = ("layer", "channel")


class GradientQuantizer(torch.autograd.Function):
    """Identity whose gradient is quantized to `bits` with uniform noise (eq. 12).

    The scale is the largest |gradient| of each image: the maximum over all axes but the first. In float32 whatever the
    gradient's type: bfloat16 rounds gradient + 1/2 to multiples of 2^-8, and the noise would no longer be unbiased.
    """

    @staticmethod
    def forward(ctx, x: Tensor, bits: int) -> Tensor:
        ctx.bits = bits
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        exact, levels = grad.float(), 2**ctx.bits - 1
        scale = 2 * exact.abs().amax(dim=tuple(range(1, grad.dim())), keepdim=True)
        scale = scale.clamp_min(torch.finfo(torch.float32).tiny)
        noise = (torch.rand_like(exact) - 0.5) / levels
        unit = (exact / scale + 0.5 + noise).clamp_(0, 1)
        return (scale * (torch.floor(unit * levels + 0.5) / levels - 0.5)).to(grad.dtype), None


class DoReFaWeights(WeightQuantizer):
    """Eq. 7 for one bit, eq. 9 for more.

    `scale` says over what E|w| is taken for one bit: the "layer" (DoReFa) or each output "channel"
    (XNOR-Net). With `standardized` every filter is first brought to mean 0 and deviation 1 (IR-Net).
    Eq. 9 maps weights to [-1, 1]; `keep_range` multiplies by max |tanh w|, so that
    a layer that no BatchNorm follows can go on from float weights.
    """

    def __init__(self, bits: int, scale: str = "layer", standardized: bool = False, keep_range: bool = False):
        super().__init__(bits)
        self.scale = check_name(scale, WEIGHT_SCALES, "Weight scale")
        self.standardized = standardized
        self.keep_range = keep_range

    def _prepare(self, w: Tensor) -> Tensor:
        return standardize(w) if self.standardized else w

    def _binary_scale(self, w: Tensor) -> Tensor:
        axes = filter_axes(w) if self.scale == "channel" else tuple(range(w.dim()))
        return w.abs().mean(axes, keepdim=True)

    def _unit(self, w: Tensor) -> Tensor:
        bounded = torch.tanh(w)
        return bounded / (2 * bounded.detach().abs().max().clamp_min(1e-12)) + 0.5

    def _range(self, w: Tensor) -> Tensor:
        return torch.tanh(w.detach()).abs().max().clamp_min(1e-12) if self.keep_range else torch.ones(())

    def codes(self, w: Tensor) -> tuple[Tensor, Tensor]:
        w = self._prepare(w)
        if self.bits == 1:
            return w >= 0, self._binary_scale(w)
        return torch.floor(self._unit(w) * self.levels + 0.5), self._range(w) / self.levels

    def quantize(self, w: Tensor) -> Tensor:
        w = self._prepare(w)
        if self.bits == 1:
            return SignWithScale.apply(w, self._binary_scale(w.detach()), 1.0)
        unit = 2 * RoundToLevels.apply(self._unit(w), self.levels) - 1
        return unit * self._range(w) if self.keep_range else unit


class DoReFaActivations(ActivationQuantizer):
    """Activation h, clip to [0, 1] and quantize_k (eq. 11), on u = (x - offset[c]) / step.

    With `learned` the per-channel offset (ReActNet's RSign, generalized) and the per-layer clip `step` are
    trained; otherwise they stay at 0 and 1, which is plain DoReFa. Thresholds are
    offset + step * h^-1((j - 1/2) / (2^A - 1)), h^-1 the inverse of the activation's rising part.
    """

    activations = tuple(ACTIVATIONS)

    def __init__(self, bits: int, channels: int, activation: str = "relu", learned: bool = False):
        super().__init__(bits, channels, activation)
        self.learned = learned
        self.offset = nn.Parameter(torch.zeros(channels), requires_grad=learned)
        self.step = nn.Parameter(torch.ones(()), requires_grad=learned)

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set a learned clip to 2.4 times the rms of relu(x), near the least-squares clip of a Gaussian at 2 bits."""
        if self.learned:
            self.step.copy_(2.4 * F.relu(x.float()).square().mean().sqrt().clamp_min(1e-3))

    def quantize(self, x: Tensor) -> Tensor:
        fast = x.dtype in DEGREES and self.activation in CURVES
        if fast or (self.learned and self.activation == "relu"):
            shape = curve(self.activation, DEGREES[x.dtype]) if fast else None
            return ClippedLevels.apply(x, self.offset, self.step.clamp_min(1e-3), self.levels, shape)
        if self.learned:
            x = (x - self.offset.view(-1, 1, 1)) / self.step.clamp_min(1e-3)
        if self.activation != "relu":
            x = ACTIVATIONS[self.activation](x)
        return RoundToLevels.apply(x.clamp(0, 1), self.levels)

    def real_thresholds(self) -> Tensor:
        unit = self.midpoints()
        if self.activation not in ("relu", "leaky_relu"):  # both are x itself on x > 0
            unit = inverse(self.activation, unit)
        step = self.step.double().cpu().clamp_min(1e-3) if self.learned else 1.0
        return self.offset.double().cpu().unsqueeze(1) + step * unit
