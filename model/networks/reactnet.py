"""ReActNet-A on MobileNetV1 (Liu et al. 2020, arXiv:2003.03488): binary convs with RSign and RPReLU.

    block = 3x3 half: r -> RSign -> conv 3x3 (stride) -> BN -> + (2x2 means of) r -> RPReLU
            1x1 half: r -> RSign -> conv 1x1 -> BN -> + r -> RPReLU

Where the channels double, the 1x1 half has two convs on the same input, each with its own shortcut, concatenated. The
first conv and the linear layer are float.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from popstream.model.networks.bits import BitsConfig, Count, halved
from popstream.model.networks.layers import QuantConv2d, QuantLinear, QuantNetwork
from popstream.model.quantizers import (
    ACT_QUANTIZERS,
    FLOAT_BITS,
    WEIGHT_QUANTIZERS,
    RPReLU,
    act_quantizer,
    check_name,
    weight_quantizer,
)

WIDTHS = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)  # MobileNetV1; stride 2 into 128, 256, 512 and 1024


@dataclass(frozen=True)
class ReActNetConfig(BitsConfig):
    """`width` multiplies all channels."""

    family: ClassVar[str] = "reactnet"
    classes: Count = 1000
    width: Annotated[float, Meta(gt=0, le=32)] = 1.0
    weight_quantizer: str = "xnor"
    act_quantizer: str = "react"

    def __post_init__(self):
        super().__post_init__()
        if self.width * WIDTHS[0] < 1:
            raise ValueError(f"Width must leave at least 1 of {WIDTHS[0]} channels, not be {self.width}")
        for what, name, bits, known in (
            ("Weight quantizer", self.weight_quantizer, self.weight_bits, WEIGHT_QUANTIZERS),
            ("Activation quantizer", self.act_quantizer, self.act_bits, ACT_QUANTIZERS),
        ):
            check_name(name, known, what)
            if has := known[name].lacks(bits):
                raise ValueError(f"{what} {name!r} has {has}, not {bits}")

    def least_map(self, size: int) -> int:
        return halved(size, 5)

    @property
    def channels(self) -> tuple[int, ...]:
        base = max(1, round(self.width * WIDTHS[0]))
        return tuple(base * (w // WIDTHS[0]) for w in WIDTHS)


class Unit(nn.Module):
    """RSign -> conv -> BN + shortcut; channels as they are: [N, C, H, W] to [N, C, H / stride, W / stride]."""

    def __init__(self, c: int, kernel: int, stride: int, config: ReActNetConfig):
        super().__init__()
        shape = (c, c, kernel, kernel)
        self.stride = stride
        self.quantizer = act_quantizer(config.act_quantizer, config.act_bits, c)
        weights = weight_quantizer(config.weight_quantizer, config.weight_bits, shape)
        self.conv = QuantConv2d(shape, stride, weights, config.grad_bits)
        self.bn = nn.BatchNorm2d(c)

    def forward(self, r: Tensor) -> Tensor:
        y = self.bn(self.conv(self.quantizer(r)))
        return y + (F.avg_pool2d(r, 2, ceil_mode=True) if self.stride == 2 else r)


class Block(nn.Module):
    """The 3x3 half and the 1x1 half of MobileNet's separable conv; the second doubles the channels or keeps them."""

    def __init__(self, c_in: int, c_out: int, stride: int, config: ReActNetConfig):
        super().__init__()
        self.spatial = Unit(c_in, 3, stride, config)
        self.spatial_prelu = RPReLU(c_in)
        self.pointwise = nn.ModuleList(Unit(c_in, 1, 1, config) for _ in range(c_out // c_in))
        self.pointwise_prelu = RPReLU(c_out)

    def forward(self, r: Tensor) -> Tensor:
        r = self.spatial_prelu(self.spatial(r))
        return self.pointwise_prelu(torch.cat([unit(r) for unit in self.pointwise], 1))


class ReActNet(QuantNetwork):
    """Image [N, C, H, W], 224x224 for ImageNet, to logits [N, classes]."""

    def __init__(self, config: ReActNetConfig):
        super().__init__(config)
        channels = config.channels
        shape = (channels[0], config.in_channels, 3, 3)
        self.stem = QuantConv2d(shape, 2, weight_quantizer("dorefa", FLOAT_BITS, shape))
        self.stem_bn = nn.BatchNorm2d(channels[0])
        self.blocks = nn.Sequential()
        for before, after in pairwise(channels):
            stride = 2 if after > before != channels[0] else 1
            self.blocks.append(Block(before, after, stride, config))
        self.linear = QuantLinear(channels[-1], config.classes)

    def forward(self, x: Tensor) -> Tensor:
        features = self.blocks(self.stem_bn(self.stem(x)))
        return self.linear(F.adaptive_avg_pool2d(features, 1).flatten(1))
