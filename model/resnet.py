"""ResNet for small images (He et al. 2015, section 4.2) with low-bit convs around a wide residual stream.

    image -> stem conv -> stream -> [quantize -> conv -> BN -> add to stream] ... -> ReLU -> mean -> linear

The stream r is never quantized to a few bits; each conv reads it through its own quantizer (Bi-Real style
pre-activation). `convs_per_shortcut` = 1 adds after every conv, 2 after every second one, as He et al. do.
"""

from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.quant import (
    ACTIVATIONS,
    FLOAT_BITS,
    WEIGHT_SCALES,
    ActivationQuantizer,
    GradientQuantizer,
    RoundToLevels,
    WeightQuantizer,
    check_bits,
)

SHORTCUTS = ("A", "B", "avgpool")


@dataclass(frozen=True)
class ResNetConfig:
    """What fixes a network's graph and bits. `widths` has one entry a group; the depth is 2 n groups + 2.

    `bits` overrides (W, A) by layer name, e.g. {"group0.conv1": [2, 4]}, in a float network too; "stem" and "linear"
    default to `first_bits` and `last_bits`. Raises ValueError for what is not allowed.
    """

    depth: int = 20
    widths: tuple[int, ...] = (16, 32, 64)
    in_channels: int = 3
    classes: int = 10
    weight_bits: int = FLOAT_BITS
    act_bits: int = FLOAT_BITS
    first_bits: tuple[int, int] = (8, 8)
    last_bits: tuple[int, int] = (8, 8)
    shortcut: str = "avgpool"
    convs_per_shortcut: int = 1
    activation: str = "relu"
    stream_relu: bool = False
    learned_clip: bool = False
    weight_scale: str = "layer"
    standardize: bool = False
    grad_bits: int = FLOAT_BITS
    width_multiplier: float = 1.0
    bits: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self):
        groups = len(self.widths)
        if groups < 1 or self.depth < 2 * groups + 2 or (self.depth - 2) % (2 * groups):
            raise ValueError(f"Depth must be {2 * groups}n+2 for {groups} groups, not {self.depth}")
        for what, value, allowed in (
            ("Shortcut", self.shortcut, SHORTCUTS),
            ("Activation", self.activation, ACTIVATIONS),
            ("Weight scale", self.weight_scale, WEIGHT_SCALES),
        ):
            if value not in allowed:
                raise ValueError(f"{what} must be one of {', '.join(allowed)}, not {value!r}")
        if self.convs_per_shortcut not in (1, 2):
            raise ValueError(f"Convs per shortcut must be 1 or 2, not {self.convs_per_shortcut}")
        if self.shortcut != "B" and list(self.channels) != sorted(self.channels):
            raise ValueError(f"Widths may fall with shortcut B alone, not {self.channels} with {self.shortcut}")
        check_bits(self.weight_bits, "Weights")
        check_bits(self.act_bits, "Activations")
        check_bits(self.grad_bits, "Gradients")
        for name in self.bits.keys() - set(self.layers):
            raise ValueError(f"Bits are given for {name!r}, but the layers are {', '.join(self.layers)}")
        for name, pair in {"first_bits": self.first_bits, "last_bits": self.last_bits, **self.bits}.items():
            if len(pair) != 2:
                raise ValueError(f"Bits of {name} must be two numbers, [W, A], not {pair}")
            check_bits(pair[0], f"Weights of {name}")
            check_bits(pair[1], f"Activations of {name}")

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

    def to_dict(self) -> dict:
        return asdict(self)


class QuantConv2d(nn.Conv2d):
    """Conv without bias on quantized weights; its output's gradient may be quantized too (eq. 12)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, config: ResNetConfig, weight_bits: int):
        super().__init__(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        self.quantizer = WeightQuantizer(weight_bits, config.weight_scale, config.standardize)
        self.grad_bits = check_bits(config.grad_bits, "Gradients")
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(x, self.quantizer(self.weight), None, self.stride, self.padding)
        return y if self.grad_bits == FLOAT_BITS else GradientQuantizer.apply(y, self.grad_bits)


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
        self.quantizer = ActivationQuantizer(a_bits, c_in, config.activation, config.learned_clip)
        self.conv = QuantConv2d(c_in, c_out, kernel, stride, config, w_bits)
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
    """One addition to the stream: r' = act(shortcut(r) + units(r))."""

    units: nn.ModuleList
    shortcut: ConvUnit | Shortcut
    relu: bool

    def __init__(self, units: list[ConvUnit], shortcut: ConvUnit | Shortcut, relu: bool):
        super().__init__()
        self.units = nn.ModuleList(units)
        self.shortcut = shortcut
        self.relu = relu

    @property
    def chain(self) -> list[ConvUnit]:
        """The conv units in order, typed."""
        return [unit for unit in self.units if isinstance(unit, ConvUnit)]

    def forward(self, r: Tensor) -> Tensor:
        y = r
        for unit in self.chain:
            y = unit(y)
        r = self.shortcut(r) + y
        return F.relu(r) if self.relu else r


class ResNet(nn.Module):
    """The network: image [N, C, H, W] of values x/255 in [0, 1] to logits [N, classes]."""

    def __init__(self, config: ResNetConfig):
        super().__init__()
        self.config = config
        w_bits, _ = config.layer_bits("stem")
        c = config.channels[0]
        self.stem = QuantConv2d(config.in_channels, c, 3, 1, config, w_bits)
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
                    shortcut: ConvUnit | Shortcut = ConvUnit(f"group{group}.project", source, width, 1, stride, config)
                else:
                    shortcut = Shortcut(source, width, stride, config.shortcut == "avgpool")
                self.residuals.append(Residual(units, shortcut, config.stream_relu))
        self.linear = nn.Linear(c, config.classes)
        self.linear_quantizer = WeightQuantizer(config.layer_bits("linear")[0], keep_range=True)

    @property
    def additions(self) -> list[Residual]:
        """The additions to the stream in order, typed."""
        return [residual for residual in self.residuals if isinstance(residual, Residual)]

    def features(self, x: Tensor) -> Tensor:
        """The stream after the last addition, [N, C, H', W']."""
        bits = self.config.layer_bits("stem")[1]
        if bits < 8:  # pixels have 8 bits
            x = RoundToLevels.apply(x, 2**bits - 1)
        r = self.stem_bn(self.stem(x))
        r = F.relu(r) if self.config.stream_relu else r
        for residual in self.additions:
            r = residual(r)
        return r

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.relu(self.features(x)).mean((2, 3))
        return F.linear(pooled, self.linear_quantizer(self.linear.weight), self.linear.bias)

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Set every learned clip from one batch of images, in the order of the layers."""
        quantizers = [m for m in self.modules() if isinstance(m, ActivationQuantizer)]
        for quantizer in quantizers:
            quantizer.calibrating = quantizer.learned
        self.train()
        self(x)
        for quantizer in quantizers:
            quantizer.calibrating = False
