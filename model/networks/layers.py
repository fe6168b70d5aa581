"""What every network family is made of: a conv on quantized weights, and what a trainer may ask of a network."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from popstream.model.quantizers import (
    FLOAT_BITS,
    ActivationQuantizer,
    DoReFaWeights,
    GradientQuantizer,
    Scheduled,
    WeightQuantizer,
    check_bits,
)


def prepare(images: Tensor, memory_format: torch.memory_format = torch.channels_last) -> Tensor:
    """uint8 [N, C, H, W] to float32 x/255 in a memory layout, channels innermost by default."""
    return images.float().div_(255).contiguous(memory_format=memory_format)


class QuantConv2d(nn.Conv2d):
    """Conv without bias on quantized weights; its output's gradient may be quantized too (DoReFa-Net eq. 12).

    shape: that of the weights, (Co, Ci, K, K); with `groups`, Ci is the input channels of one group.
    """

    def __init__(
        self,
        shape: Sequence[int],
        stride: int,
        quantizer: WeightQuantizer,
        grad_bits: int = FLOAT_BITS,
        padding: int | None = None,
        groups: int = 1,
    ):
        c_out, c_in, kernel, _ = shape
        pad = kernel // 2 if padding is None else padding
        super().__init__(c_in * groups, c_out, kernel, stride, pad, groups=groups, bias=False)
        self.quantizer = quantizer
        self.grad_bits = check_bits(grad_bits, "Gradients")
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolved(x, self.quantizer(self.weight))

    def convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        """The conv of x with quantized weights."""
        stride = self.stride
        if self.kernel_size == (1, 1) and self.padding == (0, 0):
            # Only every stride-th pixel counts. PyTorch 2.13's own way to skip the others (oneDNN, AVX2) may write
            # beyond its buffer in the backward pass of a strided 1x1 conv.
            x, stride = x[:, :, :: stride[0], :: stride[1]], (1, 1)
        y = F.conv2d(x, weight, None, stride, self.padding, 1, self.groups)
        return y if self.grad_bits == FLOAT_BITS else GradientQuantizer.apply(y, self.grad_bits)


class QuantLinear(nn.Linear):
    """Linear layer with bias on DoReFa weights that keep their range; its output's gradient may be quantized too."""

    def __init__(self, c_in: int, c_out: int, weight_bits: int = FLOAT_BITS, grad_bits: int = FLOAT_BITS):
        super().__init__(c_in, c_out)
        self.quantizer = DoReFaWeights(weight_bits, keep_range=True)
        self.grad_bits = check_bits(grad_bits, "Gradients")

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.quantizer(self.weight), self.bias)
        return y if self.grad_bits == FLOAT_BITS else GradientQuantizer.apply(y, self.grad_bits)


class QuantNetwork(nn.Module):
    """Images [N, C, H, W] of values x/255 in [0, 1] to logits [N, classes]; `config` rebuilds it (config.to_dict())."""

    def __init__(self, config: Any):
        super().__init__()
        self.config = config

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set every learned clip from one batch of images, in the order of the layers."""
        quantizers = [m for m in self.modules() if isinstance(m, ActivationQuantizer)]
        for quantizer in quantizers:
            quantizer.calibrating = True
        self.train()
        self(x)
        for quantizer in quantizers:
            quantizer.calibrating = False

    def set_progress(self, progress: float) -> None:
        """Tell every scheduled estimator how much of the training is done, 0 to 1."""
        for module in self.modules():
            if isinstance(module, Scheduled):
                module.set_progress(progress)
