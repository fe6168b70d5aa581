"""ResNet for small images (He et al. 2015, section 4.2) with low-bit convs around a wide residual stream.

    image -> stem conv -> stream -> [quantize -> conv -> BN -> add to stream] ... -> ReLU -> mean -> linear

The stream r is never quantized to a few bits; each conv reads it through its own quantizer (Bi-Real style
pre-activation). `convs_per_shortcut` = 1 adds after every conv, 2 after every second one, as He et al. do.
"""

from dataclasses import asdict, dataclass, field
from typing import Annotated, ClassVar, Literal

import torch.nn.functional as F
from msgspec import Meta
from torch import Tensor, nn

from popstream.model.networks.bits import Count
from popstream.model.networks.layers import QuantConv2d, QuantNetwork
from popstream.model.quantizers import (
    ACT_QUANTIZERS,
    ACTIVATIONS,
    FLOAT_BITS,
    WEIGHT_QUANTIZERS,
    WEIGHT_SCALES,
    ActivationQuantizer,
    DoReFaWeights,
    RoundToLevels,
    RPReLU,
    act_quantizer,
    check_bits,
    check_name,
    weight_quantizer,
)

SHORTCUTS = ("A", "B", "avgpool")


@dataclass(frozen=True)
class ResNetConfig:
    """What fixes a network's graph and bits. `widths` has one entry a group; the depth is 2 n groups + 2.

    `bits` overrides (W, A) by layer name, e.g. {"group0.conv1": [2, 4]}, in a float network too; "stem" and "linear"
    default to `first_bits` and `last_bits`. Raises ValueError for what is not allowed.
    """

    family: ClassVar[str] = "resnet"
    depth: Annotated[int, Meta(ge=4, le=2002)] = 20
    widths: tuple[Count, ...] = (16, 32, 64)
    in_channels: Count = 3
    classes: Count = 10
    weight_bits: int = FLOAT_BITS
    act_bits: int = FLOAT_BITS
    first_bits: tuple[int, int] = (8, 8)
    last_bits: tuple[int, int] = (8, 8)
    shortcut: str = "avgpool"
    convs_per_shortcut: Literal[1, 2] = 1
    activation: str = "relu"
    stream_relu: bool = False
    learned_clip: bool = False
    weight_scale: str = "layer"
    standardize: bool = False
    grad_bits: int = FLOAT_BITS
    width_multiplier: Annotated[float, Meta(gt=0, le=64)] = 1.0
    weight_quantizer: str = "dorefa"
    act_quantizer: str = "dorefa"
    stream_prelu: bool = False
    project_kernel: Literal[1, 3] = 1
    beta_dimensions: Literal[1, 2, 4] = 1
    bits: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self):
        groups = len(self.widths)
        if groups < 1:
            raise ValueError("Widths must have a number of channels for at least one group, not []")
        if self.depth < 2 * groups + 2 or (self.depth - 2) % (2 * groups):
            raise ValueError(f"Depth must be {2 * groups}n+2 for {groups} groups, not {self.depth}")
        for what, value, allowed in (
            ("Shortcut", self.shortcut, SHORTCUTS),
            ("Activation", self.activation, ACTIVATIONS),
            ("Weight scale", self.weight_scale, WEIGHT_SCALES),
            ("Weight quantizer", self.weight_quantizer, WEIGHT_QUANTIZERS),
            ("Activation quantizer", self.act_quantizer, ACT_QUANTIZERS),
        ):
            check_name(value, allowed, what)
        if self.stream_prelu and self.stream_relu:
            raise ValueError("The stream has a ReLU (stream_relu) or an RPReLU (stream_prelu), not both")
        if self.act_quantizer != "dorefa" and self.activation != "relu":
            raise ValueError(
                f"Activation {self.activation!r} belongs to act_quantizer 'dorefa', not {self.act_quantizer!r}"
            )
        if self.act_quantizer != "dorefa" and self.learned_clip:
            raise ValueError(f"learned_clip belongs to act_quantizer 'dorefa', not {self.act_quantizer!r}")
        if self.weight_quantizer != "dorefa" and (self.standardize or self.weight_scale != "layer"):
            raise ValueError(
                f"weight_scale and standardize belong to weight_quantizer 'dorefa', not {self.weight_quantizer!r}"
            )
        if self.shortcut != "B" and list(self.channels) != sorted(self.channels):
            raise ValueError(f"Widths may fall with shortcut B alone, not {self.channels} with {self.shortcut}")
        check_bits(self.weight_bits, "Weights")
        check_bits(self.act_bits, "Activations")
        check_bits(self.grad_bits, "Gradients")
        for name in self.bits.keys() - set(self.layers):
            raise ValueError(f"Bits are given for {name!r}, but the layers are {', '.join(self.layers)}")
        for name, pair in {"first_bits": self.first_bits, "last_bits": self.last_bits, **self.bits}.items():
            check_bits(pair[0], f"Weights of {name}")
            check_bits(pair[1], f"Activations of {name}")
        for name in self.layers[1:-1]:
            self.check_quantizers(name)

    def check_quantizers(self, name: str) -> None:
        """Raise ValueError where a hidden layer's bits are not among those of the quantizers chosen."""
        for what, quantizer, bits in (
            ("Weight", WEIGHT_QUANTIZERS[self.weight_quantizer], self.layer_bits(name)[0]),
            ("Activation", ACT_QUANTIZERS[self.act_quantizer], self.layer_bits(name)[1]),
        ):
            if has := quantizer.lacks(bits):
                chosen = self.weight_quantizer if what == "Weight" else self.act_quantizer
                raise ValueError(f"{what} quantizer {chosen!r} has {has}; {name} has {bits}")

    @property
    def layers(self) -> list[str]:
        """Names of all layers with bits of their own, in order."""
        names = []
        for group in range(len(self.widths)):
            names += [f"group{group}.conv{index}" for index in range(2 * self.blocks)]
            if self.shortcut == "B" and group > 0:
                names.append(f"group{group}.project")
        return ["stem", *names, "linear"]

    @property
    def blocks(self) -> int:
        """Blocks (pairs of convs) in a group."""
        return (self.depth - 2) // (2 * len(self.widths))

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of each group, the width multiplier applied."""
        return tuple(max(1, round(w * self.width_multiplier)) for w in self.widths)

    def layer_bits(self, name: str) -> tuple[int, int]:
        """(W, A) of the layer `name`; in a float network the first and last layers are float too."""
        if name in self.bits:
            w, a = self.bits[name]
            return w, a
        if name in ("stem", "linear"):
            w, a = self.first_bits if name == "stem" else self.last_bits
            return (FLOAT_BITS if self.weight_bits == FLOAT_BITS else w, a)
        return self.weight_bits, self.act_bits

    def least_map(self, size: int) -> int:
        """Pixels a side of the last group's maps for images of size x size; ValueError where they cannot be halved."""
        for group in range(1, len(self.widths)):
            if self.shortcut == "avgpool" and size % 2:
                raise ValueError(
                    f"group {group} would halve maps of {size} x {size}, and shortcut 'avgpool' halves even sizes "
                    f"alone; take {group} groups (widths), shortcut A or B, or other images"
                )
            size = -(-size // 2)
        return size

    def to_dict(self) -> dict:
        return asdict(self)


class ConvUnit(nn.Module):
    """quantize -> conv -> BatchNorm: stream or BN output [N, Ci, H, W] to [N, Co, H/stride, W/stride]."""

    name: str
    quantizer: ActivationQuantizer
    conv: QuantConv2d
    bn: nn.BatchNorm2d

    def __init__(self, name: str, c_in: int, c_out: int, kernel: int, stride: int, config: ResNetConfig):
        super().__init__()
        w_bits, a_bits = config.layer_bits(name)
        self.name = name
        self.quantizer = act_quantizer(config.act_quantizer, a_bits, c_in, config.activation, config.learned_clip)
        shape = (c_out, c_in, kernel, kernel)
        weights = weight_quantizer(
            config.weight_quantizer, w_bits, shape, config.weight_scale, config.standardize, config.beta_dimensions
        )
        self.conv = QuantConv2d(shape, stride, weights, config.grad_bits)
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(self.quantizer(x)))


class Shortcut(nn.Module):
    """Identity; or stride 2 by subsampling (A) or 2x2 means (avgpool), new channels zero, half before, half after."""

    stride: int
    average: bool
    c_out: int
    pad_front: int
    pad_back: int

    def __init__(self, c_in: int, c_out: int, stride: int, average: bool):
        super().__init__()
        self.stride, self.average, self.c_out = stride, average and stride > 1, c_out
        self.pad_front = (c_out - c_in) // 2
        self.pad_back = c_out - c_in - self.pad_front

    def forward(self, x: Tensor) -> Tensor:
        if self.average:
            x = F.avg_pool2d(x, self.stride)
        elif self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.pad_front, self.pad_back)) if self.pad_front + self.pad_back else x


class Residual(nn.Module):
    """One addition to the stream: r' = act(shortcut(r) + units(r)), act a ReLU, an RPReLU or nothing."""

    units: nn.ModuleList
    shortcut: ConvUnit | Shortcut
    relu: bool
    prelu: RPReLU | None

    def __init__(self, units: list[ConvUnit], shortcut: ConvUnit | Shortcut, relu: bool, prelu: RPReLU | None = None):
        super().__init__()
        self.units = nn.ModuleList(units)
        self.shortcut = shortcut
        self.relu = relu
        self.prelu = prelu

    @property
    def chain(self) -> list[ConvUnit]:
        """The conv units in order, typed."""
        return [unit for unit in self.units if isinstance(unit, ConvUnit)]

    def forward(self, r: Tensor) -> Tensor:
        y = r
        for unit in self.chain:
            y = unit(y)
        r = self.shortcut(r) + y
        if self.prelu is not None:
            return self.prelu(r)
        return F.relu(r) if self.relu else r


class ResNet(QuantNetwork):
    """The network: image [N, C, H, W] of values x/255 in [0, 1] to logits [N, classes].

    The stem and the linear layer have DoReFa weights, whatever the quantizer of the others is. The last addition has no
    RPReLU: the head's ReLU follows it.
    """

    config: ResNetConfig

    def __init__(self, config: ResNetConfig):
        super().__init__(config)
        w_bits, _ = config.layer_bits("stem")
        c = config.channels[0]
        weights = DoReFaWeights(w_bits, config.weight_scale, config.standardize)
        self.stem = QuantConv2d((c, config.in_channels, 3, 3), 1, weights, config.grad_bits)
        self.stem_bn = nn.BatchNorm2d(c)
        self.residuals = nn.ModuleList()
        for group, width in enumerate(config.channels):
            for index in range(0, 2 * config.blocks, config.convs_per_shortcut):
                stride = 2 if group > 0 and index == 0 else 1
                units, source = [], c
                for k in range(index, index + config.convs_per_shortcut):
                    name = f"group{group}.conv{k}"
                    units.append(ConvUnit(name, c, width, 3, stride if k == index else 1, config))
                    c = width
                if config.shortcut == "B" and (stride > 1 or source != width):
                    shortcut: ConvUnit | Shortcut = ConvUnit(
                        f"group{group}.project", source, width, config.project_kernel, stride, config
                    )
                else:
                    shortcut = Shortcut(source, width, stride, config.shortcut == "avgpool")
                last = group == len(config.channels) - 1 and index + config.convs_per_shortcut == 2 * config.blocks
                prelu = RPReLU(width) if config.stream_prelu and not last else None
                self.residuals.append(Residual(units, shortcut, config.stream_relu, prelu))
        self.linear = nn.Linear(c, config.classes)
        self.linear_quantizer = DoReFaWeights(config.layer_bits("linear")[0], keep_range=True)

    @property
    def additions(self) -> list[Residual]:
        """The additions to the stream in order, typed."""
        return [residual for residual in self.residuals if isinstance(residual, Residual)]

    def pixels(self, x: Tensor) -> Tensor:
        """Images x/255 at the stem's activation bits."""
        bits = self.config.layer_bits("stem")[1]
        return RoundToLevels.apply(x, 2**bits - 1) if bits < 8 else x  # pixels have 8 bits

    def features(self, x: Tensor) -> Tensor:
        """The stream after the last addition, [N, C, H', W']."""
        r = self.stem_bn(self.stem(self.pixels(x)))
        r = F.relu(r) if self.config.stream_relu else r
        for residual in self.additions:
            r = residual(r)
        return r

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.relu(self.features(x)).mean((2, 3))
        return F.linear(pooled, self.linear_quantizer(self.linear.weight), self.linear.bias)
