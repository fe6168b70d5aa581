"""Signs of standardized weights, and 2x2 means with padding, as one call each: as modules they are many small ones."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from popstream.model.networks.layers import QuantConv2d
from popstream.model.networks.resnet import Shortcut
from popstream.model.quantizers import DoReFaWeights
from popstream.model.training.fused.kernels import BLOCK, address, library, parts, shared

CL = torch.channels_last
L = ctypes.c_long


class StandardizedSigns(torch.autograd.Function):
    """The weights of DoReFaWeights of one bit, standardized, one scale a layer: w [Co, ...] to `dtype`."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, dtype: torch.dtype) -> Tensor:
        kernels, filters = library(), len(w)
        assert kernels is not None
        out, deviation = torch.empty_like(w, dtype=dtype), torch.empty(filters, 2)
        ctx.save_for_backward(w, deviation)
        kernels.weight_signs(
            dtype == torch.bfloat16, address(w), address(out), address(deviation), L(filters), L(w.numel() // filters)
        )
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        w, deviation = ctx.saved_tensors
        kernels, filters = library(), len(w)
        assert kernels is not None
        g, out = torch.empty_like(w, dtype=gradients[0].dtype).copy_(gradients[0]), torch.empty_like(w)  # w's strides
        kernels.weight_signs_back(
            g.dtype == torch.bfloat16, address(g), address(w), address(deviation), address(out), L(filters),
            L(w.numel() // filters),
        )  # fmt: skip
        return out, None


class PooledAndPadded(torch.autograd.Function):
    """Means of 2x2 pixels, `front` channels of zeros before and `back` behind: [N, C, 2 H, 2 W] to [N, C', H, W]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, front: int, back: int) -> Tensor:
        kernels, (n, c, height, width) = library(), x.shape
        assert kernels is not None
        x = x.contiguous(memory_format=CL)
        shape = n, front + c + back, height // 2, width // 2
        out = torch.empty(shape, dtype=x.dtype, memory_format=CL)
        ctx.shape, ctx.ends = x.shape, (front, back)
        given = address(x), address(out), shape[3], c, front, back
        shared(parts(x), n * shape[2], lambda t, first, last: kernels.pool(
            x.dtype == torch.bfloat16, *given, L(first), L(last)))  # fmt: skip
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        kernels, g = library(), gradients[0].contiguous(memory_format=CL)
        assert kernels is not None
        out = torch.empty(ctx.shape, dtype=g.dtype, memory_format=CL)
        given = address(g), address(out), g.shape[3], out.shape[1], *ctx.ends
        shared(parts(out), g.shape[0] * g.shape[2], lambda t, first, last: kernels.pool_back(
            g.dtype == torch.bfloat16, *given, L(first), L(last)))  # fmt: skip
        return out, None, None


def conv(layer: QuantConv2d, x: Tensor) -> Tensor:
    """layer(x)."""
    quantizer = layer.quantizer
    if not (type(quantizer) is DoReFaWeights and quantizer.bits == 1 and quantizer.standardized
            and quantizer.scale == "layer" and layer.weight.is_contiguous(memory_format=CL)):  # fmt: skip
        return layer(x)
    return layer.convolved(x, StandardizedSigns.apply(layer.weight, x.dtype))


def shortcut(module: Shortcut, x: Tensor) -> Tensor:
    """module(x)."""
    even = module.stride == 2 and x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0
    if not (module.average and even and x.shape[1] % BLOCK == 0):
        return module(x)
    return PooledAndPadded.apply(x, module.pad_front, module.pad_back)
