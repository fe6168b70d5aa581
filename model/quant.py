"""Quantizers: one integer definition each (`to_int`), and the straight-through `forward` that trains it.

Weights are bipolar odd codes w = 2q - (2^W - 1) with q in [0, 2^W - 1]; activations are unsigned codes
a in [0, 2^A - 1] of value a / (2^A - 1). Equation numbers are those of DoReFa-Net (arXiv:1606.06160).
Rounding is floor(x + 1/2) everywhere (see the table of rules in sim/golden.py).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOAT_BITS = 32
ACTIVATIONS = ("relu", "mish")
WEIGHT_SCALES = ("layer", "channel")


def check_bits(bits: int, what: str) -> int:
    """Return `bits` if it is 1..8 (quantized) or 32 (float); raise ValueError otherwise."""
    if bits not in (*range(1, 9), FLOAT_BITS):
        raise ValueError(f"{what} must be 1 to 8 bits, or 32 for float, not {bits}")
    return bits


class RoundToLevels(torch.autograd.Function):
    """quantize_k (eqs. 5 and 6): x in [0, 1] to floor(n x + 1/2) / n, gradient passed through."""

    @staticmethod
    def forward(ctx, x: Tensor, levels: int) -> Tensor:
        return torch.floor(x * levels + 0.5).div_(levels)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class ClippedLevels(torch.autograd.Function):
    """quantize_k(clip((x - offset[c]) / step, 0, 1)) for x [N, C, H, W] in few passes over memory.

    Gradients are those of the clip, rounding passed through: 1/step inside (0, 1) and 0 outside for x;
    -1/step summed over each channel for the offset; -(x - offset) / step^2 summed over all for the step.
    """

    @staticmethod
    def forward(ctx, x: Tensor, offset: Tensor, step: Tensor, levels: int) -> Tensor:
        slope = levels / step
        scaled = (x.permute(0, 2, 3, 1) * slope.to(x.dtype)).add_((0.5 - offset * slope).to(x.dtype))
        ctx.save_for_backward(scaled, step)
        ctx.levels = levels
        rounded = scaled.clamp(0.5, levels + 0.5).floor_().mul_(1 / levels)
        return rounded.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        scaled, step = ctx.saved_tensors
        passed = torch.ops.aten.hardtanh_backward(grad.permute(0, 2, 3, 1), scaled, 0.5, ctx.levels + 0.5)
        ones = passed.new_ones(1, passed.numel() // passed.shape[-1])  # matrix products sum rows faster than sum()
        total = (ones @ passed.reshape(-1, passed.shape[-1])).float().squeeze(0)  # [C]
        weighted = (ones @ (passed * scaled).reshape(-1, passed.shape[-1])).float().sum() - 0.5 * total.sum()
        gradient = (passed * (1 / step).to(grad.dtype)).permute(0, 3, 1, 2)
        return gradient, -total / step, -weighted / (ctx.levels * step), None


class SignWithScale(torch.autograd.Function):
    """Sign of w (+1 at 0) times a given scale, gradient passed through to w (eqs. 7 and 8)."""

    @staticmethod
    def forward(ctx, w: Tensor, scale: Tensor) -> Tensor:
        return torch.where(w >= 0, scale, -scale)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class GradientQuantizer(torch.autograd.Function):
    """Identity whose gradient is quantized to `bits` with uniform noise (eq. 12).

    The scale is the largest |gradient| of each image: the maximum over all axes but the first.
    """

    @staticmethod
    def forward(ctx, x: Tensor, bits: int) -> Tensor:
        ctx.bits = bits
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        levels = 2**ctx.bits - 1
        scale = 2 * grad.abs().amax(dim=tuple(range(1, grad.dim())), keepdim=True)
        scale = scale.clamp_min(torch.finfo(grad.dtype).tiny)
        noise = (torch.rand_like(grad) - 0.5) / levels
        unit = (grad / scale + 0.5 + noise).clamp_(0, 1)
        return scale * (torch.floor(unit * levels + 0.5) / levels - 0.5), None


class WeightQuantizer(nn.Module):
    """DoReFa weights: eq. 7 for one bit, eq. 9 for more; 32 bits leave the weights alone.

    `scale` says over what E|w| is taken for one bit: the "layer" (DoReFa) or each output "channel"
    (XNOR-Net). With `standardize` every filter is first brought to mean 0 and deviation 1 (IR-Net),
    which balances its signs. Eq. 9 maps weights to [-1, 1]; `keep_range` multiplies by max |tanh w|, so that
    a layer that no BatchNorm follows can go on from float weights.
    """

    def __init__(self, bits: int, scale: str = "layer", standardize: bool = False, keep_range: bool = False):
        super().__init__()
        if scale not in WEIGHT_SCALES:
            raise ValueError(f"Weight scale must be one of {', '.join(WEIGHT_SCALES)}, not {scale!r}")
        self.bits = check_bits(bits, "Weights")
        self.scale = scale
        self.standardize = standardize
        self.keep_range = keep_range

    def _prepare(self, w: Tensor) -> Tensor:
        if not self.standardize:
            return w
        axes = tuple(range(1, w.dim()))
        centred = w - w.mean(axes, keepdim=True)
        return centred / (centred.std(axes, keepdim=True) + 1e-8)

    def _binary_scale(self, w: Tensor) -> Tensor:
        axes = tuple(range(1, w.dim())) if self.scale == "channel" else tuple(range(w.dim()))
        return w.abs().mean(axes, keepdim=True)

    def _unit(self, w: Tensor) -> Tensor:
        bounded = torch.tanh(w)
        return bounded / (2 * bounded.detach().abs().max().clamp_min(1e-12)) + 0.5

    def _range(self, w: Tensor) -> Tensor:
        return torch.tanh(w.detach()).abs().max().clamp_min(1e-12) if self.keep_range else torch.ones(())

    def to_int(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Codes q (int64, shape of w, in [0, 2^W - 1]) and scale (float, > 0, broadcasts against w).

        The weight's value is (2q - (2^W - 1)) * scale. Raises ValueError for 32-bit weights.
        """
        if self.bits == FLOAT_BITS:
            raise ValueError("Float weights have no integer codes; choose 1 to 8 bits")
        w = self._prepare(w.detach().float())
        if self.bits == 1:
            return (w >= 0).long(), self._binary_scale(w)
        levels = 2**self.bits - 1
        codes = torch.floor(self._unit(w) * levels + 0.5).long()
        return codes, (self._range(w) / levels).expand([1] * w.dim())

    def forward(self, w: Tensor) -> Tensor:
        if self.bits == FLOAT_BITS:
            return w
        w = self._prepare(w)
        if self.bits == 1:
            return SignWithScale.apply(w, self._binary_scale(w.detach()))
        unit = 2 * RoundToLevels.apply(self._unit(w), 2**self.bits - 1) - 1
        return unit * self._range(w) if self.keep_range else unit


class ActivationQuantizer(nn.Module):
    """Activation, clip to [0, 1] and quantize_k (eq. 11), on u = (x - offset[c]) / step.

    x is [N, C, H, W]. With `learned` the per-channel offset (ReActNet's RSign, generalized) and the
    per-layer clip `step` are trained; otherwise they stay at 0 and 1, which is plain DoReFa. 32 bits
    apply the activation alone. Every form is a set of per-channel thresholds on x: see `thresholds`.
    """

    def __init__(self, bits: int, channels: int, activation: str = "relu", learned: bool = False):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"Activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        self.bits = check_bits(bits, "Activations")
        self.activation = activation
        self.learned = learned
        self.offset = nn.Parameter(torch.zeros(channels), requires_grad=learned)
        self.step = nn.Parameter(torch.ones(()), requires_grad=learned)
        self.calibrating = False

    def _activate(self, u: Tensor) -> Tensor:
        return F.mish(u) if self.activation == "mish" else F.relu(u)

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set the clip to 2.4 times the rms of relu(x), near the least-squares clip of a Gaussian at 2 bits."""
        self.step.copy_(2.4 * F.relu(x.float()).square().mean().sqrt().clamp_min(1e-3))

    def forward(self, x: Tensor) -> Tensor:
        if self.bits == FLOAT_BITS:
            return self._activate(x)
        if self.learned:
            if self.calibrating:
                self.calibrate(x)
            step = self.step.clamp_min(1e-3)
            if self.activation == "relu":
                return ClippedLevels.apply(x, self.offset, step, 2**self.bits - 1)
            x = (x - self.offset.view(-1, 1, 1)) / step
        if self.activation == "mish":
            x = F.mish(x)
        return RoundToLevels.apply(x.clamp(0, 1), 2**self.bits - 1)

    def thresholds(self) -> Tensor:
        """Real t[c, j - 1], j in 1..2^A - 1, with code = #{j : x >= t[c, j]}: float64, [C, 2^A - 1], ascending.

        t = offset + step * h^-1((j - 1/2) / (2^A - 1)); h^-1 is the inverse of the activation's rising part.
        """
        if self.bits == FLOAT_BITS:
            raise ValueError("Float activations have no thresholds; choose 1 to 8 bits")
        levels = 2**self.bits - 1
        unit = (torch.arange(1, levels + 1, dtype=torch.float64) - 0.5) / levels
        if self.activation == "mish":
            unit = inverse_mish(unit)
        step = (
            self.step.detach().double().clamp_min(1e-3).cpu() if self.learned else torch.ones((), dtype=torch.float64)
        )
        return self.offset.detach().double().cpu().unsqueeze(1) + step * unit


def inverse_mish(y: Tensor) -> Tensor:
    """x > 0 with mish(x) = y, for y > 0, by bisection to double precision. Mish rises on x > 0."""
    low, high = torch.zeros_like(y), y + 1
    for _ in range(64):
        middle = (low + high) / 2
        above = F.mish(middle) >= y
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return high
