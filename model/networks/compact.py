"""ResNets of under 5 million parameters for CIFAR-10 (Prathapaneni and Shashank 2023, table 1).

    image -> stem conv -> BN -> act -> [act(BN(conv(act(BN(conv x)))) + shortcut x)] ... -> mean -> linear

The table's parameter counts are met by a stem of 7x7 without biases: og 4,997,802 and res_512 4,961,610. og_64 has og's
count there; its table entries with that stem give 5,000,266, so it has one of 3x3 here and 4,992,586. ResBlock's
blocks of three convs give 3,236,330 by its table entries, not the 4,979,498 printed. The dropout's rate is not given
there.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from popstream.model.networks.bits import BitsConfig, check_activation, halved
from popstream.model.networks.layers import QuantConv2d, QuantLinear, QuantNetwork
from popstream.model.quantizers import FLOAT_BITS, act_quantizer, check_name, weight_quantizer


@dataclass(frozen=True)
class Plan:
    """Residual blocks and channels of each group, the stem's kernel, convs a block, and the dropout between them."""

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    stem: int = 7
    convs: int = 2
    dropout: float = 0.0


PLANS = {
    "og_64": Plan((4, 5, 3), (64, 128, 256), stem=3),
    "og": Plan((1, 4, 5, 3), (32, 64, 128, 256)),
    "res_512": Plan((3, 6, 1), (64, 128, 512)),
    "res_512_d": Plan((3, 6, 1), (64, 128, 512), dropout=0.2),
    "resblock": Plan((1, 4, 3, 1), (32, 64, 128, 256), convs=3),
}


@dataclass(frozen=True)
class CompactConfig(BitsConfig):
    """One of PLANS with an activation; the stem and the linear layer are float."""

    family: ClassVar[str] = "compact"
    model: str = "res_512_d"
    activation: str = "relu"

    def __post_init__(self):
        super().__post_init__()
        check_name(self.model, PLANS, "Model")
        check_activation(self.activation)

    def least_map(self, size: int) -> int:
        return halved(size, len(PLANS[self.model].widths) - 1)


class Block(nn.Module):
    """`convs` convs with BatchNorm, an activation between each two, beside a shortcut (1x1 where shapes change)."""

    def __init__(self, c_in: int, c_out: int, stride: int, plan: Plan, config: CompactConfig):
        super().__init__()
        layers: list[Any] = []
        for index in range(plan.convs):
            if index:
                layers.append(act_quantizer("dorefa", config.act_bits, c_out, config.activation))
            if index == plan.convs - 1 and plan.dropout:
                layers.append(nn.Dropout(plan.dropout))
            layers += conv_bn(c_out if index else c_in, c_out, 3, 1 if index else stride, config)
        self.layers = nn.Sequential(*layers)
        changed = stride > 1 or c_in != c_out
        self.shortcut = nn.Sequential(*(conv_bn(c_in, c_out, 1, stride, config) if changed else []))
        self.act = act_quantizer("dorefa", config.act_bits, c_out, config.activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.layers(x) + self.shortcut(x))


def conv_bn(c_in: int, c_out: int, kernel: int, stride: int, config: CompactConfig) -> list[nn.Module]:
    """A conv on weights of the config's bits, and its BatchNorm."""
    shape = (c_out, c_in, kernel, kernel)
    weights = weight_quantizer("dorefa", config.weight_bits, shape)
    return [QuantConv2d(shape, stride, weights, config.grad_bits), nn.BatchNorm2d(c_out)]


class CompactResNet(QuantNetwork):
    """Image [N, C, H, W] to logits [N, classes]; each group but the first halves height and width."""

    def __init__(self, config: CompactConfig):
        super().__init__(config)
        plan = PLANS[config.model]
        c = plan.widths[0]
        shape = (c, config.in_channels, plan.stem, plan.stem)
        self.stem = QuantConv2d(shape, 1, weight_quantizer("dorefa", FLOAT_BITS, shape), config.grad_bits)
        self.stem_bn = nn.BatchNorm2d(c)
        self.act = act_quantizer("dorefa", config.act_bits, c, config.activation)
        blocks = []
        for group, (count, width) in enumerate(zip(plan.blocks, plan.widths, strict=True)):
            for index in range(count):
                blocks.append(Block(c, width, 2 if group and not index else 1, plan, config))
                c = width
        self.blocks = nn.Sequential(*blocks)
        self.linear = QuantLinear(c, config.classes, grad_bits=config.grad_bits)

    def forward(self, x: Tensor) -> Tensor:
        features = self.blocks(self.act(self.stem_bn(self.stem(x))))
        return self.linear(F.adaptive_avg_pool2d(features, 1).flatten(1))
