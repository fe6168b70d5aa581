"""quantize_k(clip(h((x - offset[c]) / step), 0, 1)) in few passes over memory, with its gradients.

A curve h (Mish, GELU) and its slope are polynomials over the part that the clip leaves: exp and tanh of every value
would take more time than the convs. Their errors, below 1e-5 and 1e-4 in bfloat16, 1e-7 and 2e-6 in float32, vanish
beside the type's own. In double precision, where tests compare, the formula itself is computed.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from popstream.model.quantizers.base import ACTIVATIONS, inverse
from popstream.model.quantizers.rows import channel_sums, image_of, long_rows, per_channel

CURVES = ("mish", "gelu")
DEGREES = {torch.bfloat16: 4, torch.float32: 6}


def horner(coefficients: tuple[float, ...], v: Tensor) -> Tensor:
    """The polynomial of these coefficients, constant first, at v."""
    result = v.mul(coefficients[-1]).add_(coefficients[-2])
    for c in coefficients[-3::-1]:
        result = result.mul_(v).add_(c)
    return result


@dataclass(frozen=True)
class Curve:
    """h(unit v) = v * ratio(v) and its slope in v over 0 <= v <= 1, where h(unit) = 1; coefficients constant first."""

    unit: float
    ratio: tuple[float, ...]
    slope: tuple[float, ...]


@cache
def curve(activation: str, degree: int) -> Curve:
    """The polynomials of an activation of CURVES, interpolated at Chebyshev's points in double precision."""
    unit = inverse(activation, torch.ones((), dtype=torch.float64)).item()

    def ratio(v: np.ndarray) -> np.ndarray:
        return ACTIVATIONS[activation](torch.from_numpy(unit * v)).numpy() / v

    def slope(v: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(unit * v).requires_grad_()
        (gradient,) = torch.autograd.grad(ACTIVATIONS[activation](x).sum(), x)
        return unit * gradient.numpy()

    def fitted(function) -> tuple[float, ...]:
        series = Chebyshev.interpolate(function, degree, domain=(0, 1))
        return tuple(series.convert(kind=Polynomial).coef.tolist())

    with torch.enable_grad():
        return Curve(unit, fitted(ratio), fitted(slope))


class ClippedLevels(torch.autograd.Function):
    """x [N, C, H, W], offset [C], step scalar; h is the identity where `curve` is None.

    Gradients are those of clip(h(u)), u = (x - offset) / step, rounding passed through: h'(u) / step where h(u) lies in
    (0, 1) and 0 elsewhere for x; minus that, summed over each channel, for the offset; times -u, summed, for the step.
    """

    @staticmethod
    def forward(ctx, x: Tensor, offset: Tensor, step: Tensor, levels: int, curve: Curve | None) -> Tensor:
        # the identity is scaled to levels, plus 1/2, at once; the argument of a curve to 0..1
        ctx.low, ctx.span, ctx.unit = (0.5, levels, 1.0) if curve is None else (0.0, 1, curve.unit)
        ctx.curve = curve
        rows, slope = long_rows(x), ctx.span / (step * ctx.unit)
        scaled = torch.addcmul(per_channel(ctx.low - offset * slope, rows), rows, slope.to(x.dtype))
        ctx.save_for_backward(scaled, offset, step)
        inside = scaled.clamp(ctx.low, ctx.low + ctx.span)
        if curve is not None:
            inside = horner(curve.ratio, inside).mul_(inside).mul_(levels).add_(0.5)
        return image_of(inside.floor_().mul_(1 / levels), x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        scaled, offset, step = ctx.saved_tensors
        passed = torch.ops.aten.hardtanh_backward(long_rows(grad), scaled, ctx.low, ctx.low + ctx.span)
        if ctx.curve is not None:
            passed.mul_(horner(ctx.curve.slope, scaled.clamp(0, 1)))
        total = channel_sums(passed, offset)
        weighted = channel_sums(passed * scaled, offset).sum() - ctx.low * total.sum()
        per_step = 1 / (step * ctx.unit)
        gradient = image_of(passed.mul_(per_step.to(grad.dtype)), grad)
        return gradient, -total * per_step, -weighted / (ctx.span * step), None, None
