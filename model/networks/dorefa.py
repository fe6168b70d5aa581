"""DoReFa-Net's own networks (arXiv:1606.06160, section 3): SVHN models A to D, and its AlexNet.

SVHN, images resized to 40x40, seven convs and a linear layer (channels of model A; B, C and D have 1/2, 1/4, 1/8). With
`size` 32 the last conv is 3x3, and CIFAR-10 and SVHN go in as they are, which hardware needs:

    conv 5x5 48 - pool - conv 3x3 64 (twice) - pool - conv 3x3 128 (three times) - dropout - conv 5x5 512 - linear

AlexNet, images of 224x224, the second, fourth and fifth conv in two groups, BatchNorm for response normalization:

    conv 12x12/4 96 - conv 5x5 256 - pool - conv 3x3 384 - pool - conv 3x3 384, 256 - pool - linear 4096, 4096, 1000

Max-pooling comes before the quantizer, with which it commutes (eq. 15). As in the paper the first and the last layer
are float unless `first` (weights and gradients) or `last` (inputs, weights and gradients) asks for them (table 3);
`first_bits` and `last_bits` give them bits of their own and leave their gradients float.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from popstream.model.networks.bits import BitsConfig, Count
from popstream.model.networks.layers import QuantConv2d, QuantLinear, QuantNetwork
from popstream.model.quantizers import (
    FLOAT_BITS,
    ActivationQuantizer,
    act_quantizer,
    check_bits,
    check_name,
    weight_quantizer,
)

SHARES = {"A": 1, "B": 2, "C": 4, "D": 8}  # of model A's channels
ALEXNET_SIZE = 224


@dataclass(frozen=True)
class EndsConfig(BitsConfig):
    """`first` and `last` give those layers W, A and G of the others; else W and (W, A) of their own, 32 for float."""

    first: bool = False
    last: bool = False
    first_bits: int = FLOAT_BITS
    last_bits: tuple[int, int] = (FLOAT_BITS, FLOAT_BITS)

    def __post_init__(self):
        super().__post_init__()
        check_bits(self.first_bits, "Weights of first_bits")
        check_bits(self.last_bits[0], "Weights of last_bits")
        check_bits(self.last_bits[1], "Activations of last_bits")

    def first_layer(self) -> tuple[int, int]:
        """W and G of the first layer."""
        return (self.weight_bits, self.grad_bits) if self.first else (self.first_bits, FLOAT_BITS)

    def last_layer(self) -> tuple[int, int, int]:
        """W, A and G of the linear layer."""
        return (self.weight_bits, self.act_bits, self.grad_bits) if self.last else (*self.last_bits, FLOAT_BITS)


@dataclass(frozen=True)
class SVHNConfig(EndsConfig):
    """Model A, B, C or D for images of size x size."""

    family: ClassVar[str] = "dorefa_svhn"
    model: str = "A"
    size: int = 40

    def __post_init__(self):
        super().__post_init__()
        check_name(self.model, SHARES, "Model")
        if self.size % 4 or self.last_kernel < 1 or self.last_kernel % 2 == 0:
            raise ValueError(f"Size must be 24 and multiples of 8 more, not {self.size!r}")

    def least_map(self, size: int) -> int:
        return 1

    @property
    def last_kernel(self) -> int:
        """Of the last conv, which leaves one pixel: the size less 4, halved twice, less 4."""
        return (self.size - 4) // 4 - 4


@dataclass(frozen=True)
class AlexNetConfig(EndsConfig):
    """DoReFa-Net's AlexNet."""

    family: ClassVar[str] = "dorefa_alexnet"
    classes: Count = 1000

    def least_map(self, size: int) -> int:
        if size != ALEXNET_SIZE:
            raise ValueError(f"AlexNet takes images of {ALEXNET_SIZE} x {ALEXNET_SIZE} pixels, not {size} x {size}")
        return 1


class Stage(nn.Module):
    """conv -> BN -> [max-pool] -> quantized ReLU, clipped to [0, 1]: [N, Ci, H, W] to [N, Co, H', W']."""

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        config: EndsConfig,
        pool: nn.Module | None = None,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        first: bool = False,
        act: ActivationQuantizer | None = None,
    ):
        super().__init__()
        w, g = config.first_layer() if first else (config.weight_bits, config.grad_bits)
        self.conv = QuantConv2d(shape, stride, weight_quantizer("dorefa", w, shape), g, padding, groups)
        self.bn = nn.BatchNorm2d(shape[0])
        self.pool = pool or nn.Identity()
        self.act = act or act_quantizer("dorefa", config.act_bits, shape[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.pool(self.bn(self.conv(x))))


def last_layers(c: int, config: EndsConfig) -> tuple[ActivationQuantizer, QuantLinear]:
    """The activation that feeds the linear layer, and that layer."""
    w, a, g = config.last_layer()
    return act_quantizer("dorefa", a, c), QuantLinear(c, config.classes, w, g)


class SVHNNet(QuantNetwork):
    """Image [N, C, H, W], resized to size x size if it is not, to logits [N, classes]."""

    config: SVHNConfig

    def __init__(self, config: SVHNConfig):
        super().__init__(config)
        c = [n // SHARES[config.model] for n in (48, 64, 64, 128, 128, 128, 512)]
        act, self.linear = last_layers(c[6], config)
        stages: list[Any] = [
            Stage((c[0], config.in_channels, 5, 5), config, nn.MaxPool2d(2), padding=0, first=True),
            Stage((c[1], c[0], 3, 3), config),
            Stage((c[2], c[1], 3, 3), config, nn.MaxPool2d(2)),
            Stage((c[3], c[2], 3, 3), config, padding=0),
            Stage((c[4], c[3], 3, 3), config),
            Stage((c[5], c[4], 3, 3), config, padding=0),
            nn.Dropout(0.5),
            Stage((c[6], c[5], config.last_kernel, config.last_kernel), config, padding=0, act=act),
        ]
        self.stages = nn.Sequential(*stages)

    @property
    def convs(self) -> list[Stage]:
        """The conv stages in order, typed."""
        return [stage for stage in self.stages if isinstance(stage, Stage)]

    def layer_bits(self) -> dict[str, tuple[int, int]]:
        """W of each layer, and A of the codes that it gives (of the linear layer: W twice)."""
        bits = {f"conv{i}": (stage.conv.quantizer.bits, stage.act.bits) for i, stage in enumerate(self.convs)}
        return bits | {"linear": (self.linear.quantizer.bits, self.linear.quantizer.bits)}

    def forward(self, x: Tensor) -> Tensor:
        size = (self.config.size, self.config.size)
        if x.shape[2:] != size:
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        return self.linear(self.stages(x).flatten(1))


class AlexNet(QuantNetwork):
    """Image [N, C, 224, 224] to logits [N, classes]; ValueError for another size."""

    def __init__(self, config: AlexNetConfig):
        super().__init__(config)
        act, self.linear = last_layers(4096, config)
        self.stages = nn.Sequential(
            Stage((96, config.in_channels, 12, 12), config, stride=4, padding=0, first=True),
            Stage((256, 48, 5, 5), config, nn.MaxPool2d(3, 2, ceil_mode=True), groups=2),
            Stage((384, 256, 3, 3), config, nn.MaxPool2d(3, 2, 1)),
            Stage((384, 192, 3, 3), config, groups=2),
            Stage((256, 192, 3, 3), config, nn.MaxPool2d(3, 2), groups=2),
            Stage((4096, 256, 6, 6), config, padding=0),
            Stage((4096, 4096, 1, 1), config, act=act),
        )

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (ALEXNET_SIZE, ALEXNET_SIZE):
            height, width = x.shape[2:]
            raise ValueError(f"AlexNet takes images of {ALEXNET_SIZE} x {ALEXNET_SIZE} pixels, not {height} x {width}")
        return self.linear(self.stages(x).flatten(1))
