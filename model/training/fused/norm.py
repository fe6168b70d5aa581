"""BatchNorm, the addition to the stream and the next quantizer as one function with a gradient, on a CPU.

    r = P(s + a z + b),  a = weight / sqrt(var + eps), b = bias - a mean     q = Q(r), which the next conv reads

z [N, C, H, W] is a conv's output with the mean and variance of the batch, s the shortcut (nothing after the stem), P
an RPReLU or nothing. Q is one of

    ReLU, Mish                of float networks
    clip to levels            floor(clip(k r + 1/2 - k offset, 1/2, n + 1/2)) / n,  k = n / step, n = 2^A - 1
    sign                      [r >= offset], polynomial estimator

or nothing. The gradients are those of the modules (model/quantizers), computed in float32 from what memory holds in
float32 or bfloat16; modules round to bfloat16 between them, this does not.
"""

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from popstream.model.quantizers import FLOAT_BITS, ActivationQuantizer, DoReFaActivations, RPReLU, RSignActivations
from popstream.model.training.fused.kernels import address, library, parts, shared

NOTHING, RELU, MISH, CLIP, SIGN = range(5)  # as in norm.cpp
FLOATS = {"relu": RELU, "mish": MISH}
COEFFICIENTS, RPRELU, SUMS, GRADIENTS = 8, 5, 6, 9  # rows of norm.cpp's tables; the RPReLU's begin at the second
CL = torch.channels_last
L, F64 = ctypes.c_long, ctypes.c_double


def kind_of(quantizer: ActivationQuantizer) -> int:
    """How the kernels compute a quantizer; NOTHING where they cannot."""
    if quantizer.bits == FLOAT_BITS:
        return FLOATS.get(quantizer.activation, NOTHING)
    if type(quantizer) is DoReFaActivations and quantizer.activation == "relu":
        return CLIP
    return SIGN if type(quantizer) is RSignActivations else NOTHING


@dataclass
class Place:
    """What is fixed of one place in the network: its BatchNorm, the kind of Q, its levels n, whether P is there."""

    norm: nn.BatchNorm2d
    kind: int
    levels: int
    prelu: bool


class NormAddQuantize(torch.autograd.Function):
    """(r, q) of the module's first lines; q is None where the kind is NOTHING.

    offset and step are Q's, below, slope and after P's parameters. BatchNorm in evaluation takes its own statistics,
    and has no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, s: Tensor | None, weight: Tensor, bias: Tensor, offset: Tensor | None, step: Tensor | None,
        below: Tensor | None, slope: Tensor | None, after: Tensor | None, place: Place,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        kernels, norm, kind, levels = library(), place.norm, place.kind, place.levels
        assert kernels is not None
        assert norm.running_mean is not None
        assert norm.num_batches_tracked is not None
        z = z.contiguous(memory_format=CL)
        s = s if s is None else s.to(z.dtype).contiguous(memory_format=CL)
        half, channels, threads = z.dtype == torch.bfloat16, z.shape[1], parts(z)
        count, zs, ss, steps = z.numel() // channels, address(z), address(s), address(step)
        sums = None
        if norm.training:
            sums = torch.zeros(threads, 2, channels, dtype=torch.float64)
            shared(threads, count, lambda t, first, last: kernels.norm_moments(
                half, zs, address(sums[t]), channels, L(first), L(last)))  # fmt: skip
            norm.num_batches_tracked.add_(1)
        rows = torch.empty(COEFFICIENTS, channels)
        if below is not None and slope is not None and after is not None:
            torch.stack((below, slope, after), out=rows[RPRELU:])
        kernels.norm_finish(
            half, kind, zs, address(sums), threads, L(count), channels, address(weight), address(bias),
            address(norm.running_mean), address(norm.running_var), F64(norm.momentum or 0), F64(norm.eps),
            address(offset), steps, levels, address(rows),
        )  # fmt: skip
        r = torch.empty_like(z)
        q = torch.empty_like(z) if kind != NOTHING else None
        table, rs, qs = address(rows), address(r), address(q)
        shared(threads, count, lambda t, first, last: kernels.norm_forward(
            half, kind, zs, ss, rs, qs, place.prelu, table, steps, levels, channels, L(first), L(last)))  # fmt: skip
        ctx.save_for_backward(z, s if place.prelu else None, r, weight, rows, step)
        ctx.place, ctx.skip = place, s is not None
        ctx.set_materialize_grads(False)
        return r, q

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        z, s, r, weight, rows, step = ctx.saved_tensors
        to_r, to_q = (g if g is None else g.to(z.dtype).contiguous(memory_format=CL) for g in gradients)
        kernels, levels, prelu = library(), ctx.place.levels, ctx.place.prelu
        kind = NOTHING if to_q is None else ctx.place.kind
        assert kernels is not None
        half, channels, threads = z.dtype == torch.bfloat16, z.shape[1], parts(z)
        count, table, steps = z.numel() // channels, address(rows), address(step)
        sums = torch.zeros(threads, SUMS, channels, dtype=torch.float64)
        g = torch.empty_like(z)
        given = [*(address(v) for v in (to_r, to_q, r, z, s, g)), prelu, table, steps, levels]
        shared(threads, count, lambda t, first, last: kernels.norm_backward(
            half, kind, *given, address(sums[t]), channels, L(first), L(last)))  # fmt: skip
        out, to_step = torch.empty(GRADIENTS, channels), None if kind != CLIP else torch.empty(())
        kernels.norm_gradients(
            kind, address(sums), threads, L(count), channels, address(weight), table, steps, levels, address(out),
            address(to_step),
        )  # fmt: skip
        to_z = torch.empty_like(z) if ctx.skip else g  # where no shortcut gets g, it may be written over
        ends = [address(v) for v in (g, z, to_z, out)]
        shared(threads, count, lambda t, first, last: kernels.norm_input(
            half, *ends, channels, L(first), L(last)))  # fmt: skip
        _, _, _, to_weight, to_bias, to_offset, *bent = out
        learned = (to_offset if kind in (CLIP, SIGN) else None, to_step, *(bent if prelu else (None,) * 3))
        return (to_z, g if ctx.skip else None, to_weight, to_bias, *learned, None)


def place(
    z: Tensor, s: Tensor | None, norm: nn.BatchNorm2d, prelu: RPReLU | None, quantizer: ActivationQuantizer | None
) -> tuple[Tensor, Tensor]:
    """r and q of a conv's output z and the shortcut s; without a quantizer q is the ReLU of r."""
    kind = RELU if quantizer is None else kind_of(quantizer)
    offset: Tensor | None = None
    step: Tensor | None = None
    if isinstance(quantizer, DoReFaActivations) and kind == CLIP:
        offset, step = quantizer.offset, quantizer.step
    elif isinstance(quantizer, RSignActivations) and kind == SIGN:
        offset = quantizer.offset
    bent = (None,) * 3 if prelu is None else (prelu.shift_in, prelu.slope, prelu.shift_out)
    fixed = Place(norm, kind, quantizer.levels if quantizer is not None and kind == CLIP else 1, prelu is not None)
    r, q = NormAddQuantize.apply(z, s, norm.weight, norm.bias, offset, step, *bent, fixed)
    return r, quantizer(r) if q is None and quantizer is not None else q
