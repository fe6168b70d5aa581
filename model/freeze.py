"""Freeze: fold BatchNorm, activation and quantizer of a trained ResNet into the integers of a manifest.

A conv's real output is gain[c] * acc + shift[c] (scale of weights and codes, then BatchNorm). Into the stream,
of value r = integer * 2^-f, it goes as (acc * M + B + 2^(F-1)) >> F; into another conv as thresholds on acc.
Filters of channels with negative gain are negated there (odd codes are closed under negation), so that every
comparison is `acc >= T`.
"""

import math

import numpy as np
import torch
from torch import Tensor

from model.layers import QuantConv2d
from model.manifest import Network, Node
from model.quant import FLOAT_BITS, RPReLU
from model.resnet import ConvUnit, ResNet
from model.step import prepare

MULTIPLIER_BITS = 16  # signed; one 18x18 multiplier takes it
Tensors = dict[str, np.ndarray]
ALWAYS, NEVER = -(2**31), 2**31 - 1
MAX_SHIFT = 31


class FreezeError(ValueError):
    """The network has no exact integer form; the message says which part and what to choose instead."""


def affine_of(conv: QuantConv2d, norm: torch.nn.BatchNorm2d, unit: float) -> tuple[Tensor, Tensor, Tensor]:
    """Codes q [Co, Ci, K, K] and the real output's gain and shift, float64 [Co], on codes a of value a * unit."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    codes, scale = conv.quantizer.to_int(conv.weight)
    gamma = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    gain = gamma * scale.double().expand(conv.out_channels, 1, 1, 1).reshape(-1) * unit
    shift = norm.bias.detach().double() - norm.running_mean.double() * gamma
    return codes, gain, shift


def largest_shift(largest: float, what: str) -> int:
    """The largest F in 1..31 with largest * 2^F inside MULTIPLIER_BITS; else FreezeError, begun by `what`."""
    top = 2 ** (MULTIPLIER_BITS - 1) - 1
    power = MAX_SHIFT if largest == 0 else min(MAX_SHIFT, math.floor(math.log2(top / largest)))
    if power < 1:
        raise FreezeError(f"{what.format(largest)} needs more than {MULTIPLIER_BITS} bits")
    return power


def requant_tensors(gain: Tensor, shift: Tensor, fraction_bits: int) -> tuple[int, Tensors]:
    """F and {multiplier, bias}: the largest F whose multipliers fit MULTIPLIER_BITS."""
    scaled = gain * 2.0**fraction_bits
    power = largest_shift(scaled.abs().max().item(), "A BatchNorm gain of {:.0f} stream steps a unit")
    multiplier = torch.floor(scaled * 2.0**power + 0.5).to(torch.int32).numpy()
    bias = torch.floor(shift * 2.0 ** (fraction_bits + power) + 0.5).to(torch.int64).numpy()
    return power, {"multiplier": multiplier, "bias": bias}


def prelu_tensors(prelu: RPReLU, fraction_bits: int) -> tuple[int, Tensors]:
    """F and the tensors of an RPReLU on the stream (rule R12); F is the largest whose slopes fit MULTIPLIER_BITS."""
    slope = prelu.slope.detach().double()
    power = largest_shift(slope.abs().max().item(), "An RPReLU slope of {:.0f}")
    tensors = {key: value.detach().double() * 2.0**fraction_bits for key, value in prelu.named_parameters()}
    tensors["slope"] = slope * 2.0**power
    return power, {key: torch.floor(value + 0.5).to(torch.int32).numpy() for key, value in tensors.items()}


def stream_thresholds(real: Tensor, fraction_bits: int) -> np.ndarray:
    """Integers T with r >= real 2^-f steps exactly where integer >= T: int32 [C, 2^A - 1]."""
    return torch.ceil(real * 2.0**fraction_bits).clamp(ALWAYS, NEVER).to(torch.int64).numpy().astype(np.int32)


def accumulator_thresholds(real: Tensor, gain: Tensor, shift: Tensor) -> np.ndarray:
    """T with gain acc + shift >= real where acc >= T, for gain >= 0: int32 [C, 2^A - 1]; gain 0 is a constant."""
    safe = torch.where(gain > 0, gain, torch.ones_like(gain))
    exact = torch.ceil((real - shift[:, None]) / safe[:, None]).clamp(ALWAYS, NEVER)
    never = torch.full_like(exact, NEVER)  # float64: float32 would round 2^31 - 1 up, out of int32
    constant = torch.where(shift[:, None] >= real, torch.full_like(exact, ALWAYS), never)
    return torch.where(gain[:, None] > 0, exact, constant).to(torch.int64).numpy().astype(np.int32)


class Freezer:
    """Walks a trained ResNet once and collects nodes; `stream_bits` and `fraction_bits` fix the stream's scale."""

    def __init__(self, model: ResNet, image_shape: tuple[int, int], stream_bits: int, fraction_bits: int):
        self.model, self.config = model, model.config
        self.image_shape = image_shape
        self.stream_bits, self.fraction_bits = stream_bits, fraction_bits
        self.nodes: list[Node] = []

    def add(
        self, name: str, op: str, inputs: list[str], tensors: dict[str, np.ndarray] | None = None, **attributes
    ) -> str:
        self.nodes.append(Node(name, op, tuple(inputs), attributes, tensors or {}))
        return name

    def conv(self, name: str, source: str, conv: QuantConv2d, codes: Tensor, act_bits: int) -> str:
        return self.add(
            name, "conv", [source], {"weight": codes.to(torch.uint8).numpy()}, out_channels=conv.out_channels,
            kernel=conv.kernel_size[0], stride=conv.stride[0], padding=conv.padding[0],
            weight_bits=conv.quantizer.bits, act_bits=act_bits,
        )  # fmt: skip

    def requant(self, name: str, inputs: list[str], gain: Tensor, shift: Tensor, relu: bool) -> str:
        power, tensors = requant_tensors(gain, shift, self.fraction_bits)
        return self.add(name, "requant", inputs, tensors, shift=power, stream_bits=self.stream_bits,
                        fraction_bits=self.fraction_bits, relu=relu)  # fmt: skip

    def units(self, units: list[ConvUnit], stream: str) -> tuple[str, Tensor, Tensor]:
        """A chain of conv units from the stream: the last conv's node and its real gain and shift."""
        source, gain, shift = stream, torch.empty(0), torch.empty(0)
        for unit in units:
            bits = unit.quantizer.bits
            real = unit.quantizer.thresholds()
            if unit is units[0]:
                thresholds = stream_thresholds(real, self.fraction_bits)
            else:
                thresholds = accumulator_thresholds(real, gain, shift)
            source = self.add(f"{unit.name}.threshold", "threshold", [source], {"thresholds": thresholds}, bits=bits)
            codes, gain, shift = affine_of(unit.conv, unit.bn, unit.quantizer.amplitude() / (2**bits - 1))
            if unit is not units[-1]:  # thresholds follow, and they need a gain that is not negative
                top = 2**unit.conv.quantizer.bits - 1
                codes, gain = torch.where(gain.view(-1, 1, 1, 1) < 0, top - codes, codes), gain.abs()
            source = self.conv(f"{unit.name}.conv", source, unit.conv, codes, bits)
        return source, gain, shift

    def head(self, stream: str, pixels: int, largest_mean: float) -> None:
        """Mean of the (rectified) stream as codes, and the linear layer on them."""
        weight_bits, act_bits = self.config.layer_bits("linear")
        largest_sum = max(largest_mean, 1e-9) * pixels * 2.0**self.fraction_bits
        shift = max(0, math.ceil(math.log2(largest_sum / (2**act_bits - 1))))
        pooled = self.add("pool", "pool", [stream], bits=act_bits, shift=shift)
        codes, scale = self.model.linear_quantizer.to_int(self.model.linear.weight)
        unit = scale.double().flatten()[0].item() * 2.0 ** (shift - self.fraction_bits) / pixels
        bias = torch.floor(self.model.linear.bias.detach().double() / unit + 0.5).to(torch.int64).numpy()
        if np.abs(bias).max() >= 2**31:
            raise FreezeError(
                f"A linear bias of {np.abs(bias).max()} units does not fit into 32 bits; its weights vanish"
            )
        self.add("linear", "linear", [pooled], {"weight": codes.to(torch.uint8).numpy(), "bias": bias.astype(np.int32)},
                 out_features=self.config.classes, weight_bits=weight_bits, act_bits=act_bits)  # fmt: skip

    def run(self, largest_mean: float) -> list[Node]:
        height, width = self.image_shape
        model, config = self.model, self.config
        input_bits = config.layer_bits("stem")[1]
        self.add("image", "input", [], channels=config.in_channels, height=height, width=width, bits=input_bits)
        codes, gain, shift = affine_of(model.stem, model.stem_bn, 1 / (2**input_bits - 1))
        acc = self.conv("stem.conv", "image", model.stem, codes, input_bits)
        stream = self.requant("stem.requant", [acc], gain, shift, config.stream_relu)
        last = len(model.additions) - 1
        for index, residual in enumerate(model.additions):
            name = residual.chain[-1].name
            skip = stream
            path, stride = residual.shortcut, residual.chain[0].conv.stride[0]
            if isinstance(path, ConvUnit):
                acc, gain, shift = self.units([path], stream)
                skip = self.requant(f"{path.name}.requant", [acc], gain, shift, relu=False)
            elif path.stride > 1 or path.pad_front + path.pad_back:
                skip = self.add(
                    f"{residual.chain[0].name}.shortcut", "shortcut", [stream], stride=path.stride,
                    reduce="average" if path.average else "sample", out_channels=path.c_out, pad_front=path.pad_front,
                )  # fmt: skip
            height, width = -(-height // stride), -(-width // stride)
            acc, gain, shift = self.units(residual.chain, stream)
            # the head's ReLU belongs to the last addition
            stream = self.requant(f"{name}.add", [acc, skip], gain, shift, residual.relu or index == last)
            if residual.prelu is not None:
                power, tensors = prelu_tensors(residual.prelu, self.fraction_bits)
                stream = self.add(
                    f"{name}.prelu", "prelu", [stream], tensors, shift=power, stream_bits=self.stream_bits
                )
        self.head(stream, height * width, largest_mean)
        return self.nodes


@torch.no_grad()
def measure_stream(model: ResNet, images: Tensor, batch: int = 500) -> tuple[float, float]:
    """Largest |r| or shift of an RPReLU anywhere in the stream, and largest mean of a rectified channel.

    `images` are uint8 [N, C, H, W].
    """
    prelus = [residual.prelu for residual in model.additions if residual.prelu is not None]
    shifts = [p.abs().max().item() for prelu in prelus for p in (prelu.shift_in, prelu.shift_out)]
    seen = {"stream": max([0.0, *shifts])}

    def watch(module, inputs, output):
        seen["stream"] = max(seen["stream"], output.abs().max().item())

    def watch_input(module, inputs):
        seen["stream"] = max(seen["stream"], inputs[0].abs().max().item())

    handles = [m.register_forward_hook(watch) for m in [model.stem_bn, *model.additions]]
    handles += [prelu.register_forward_pre_hook(watch_input) for prelu in prelus]
    model.eval()
    mean = 0.0
    for x in images.split(batch):
        mean = max(mean, torch.relu(model.features(prepare(x))).mean((2, 3)).max().item())
    for handle in handles:
        handle.remove()
    return seen["stream"], mean


def freeze(model: ResNet, calibration: np.ndarray, name: str, data: str, classes: list[str], stream_bits: int = 16,
           accuracy: dict | None = None, training: dict | None = None) -> Network:  # fmt: skip
    """The integer network of a trained model. `calibration`: uint8 images [N, C, H, W] that set the stream's scale.

    Raises FreezeError for a network that has float layers or an activation without an integer form.
    """
    if not isinstance(model, ResNet):
        raise FreezeError(f"A {type(model).__name__} has no form in hardware yet; networks of family 'resnet' have one")
    if FLOAT_BITS in (model.config.weight_bits, model.config.act_bits):
        raise FreezeError("A float network has no integers; train a phase with weight_bits and act_bits of 1 to 8")
    for layer in model.config.layers:
        if FLOAT_BITS in model.config.layer_bits(layer):
            raise FreezeError(f"Layer {layer} is float and has no integers; give it 1 to 8 bits (W, A) and train again")
    model = model.eval().cpu()
    largest, mean = measure_stream(model, torch.from_numpy(calibration))
    fraction_bits = stream_bits - 1 - math.ceil(math.log2(max(largest, 1e-6)))
    nodes = Freezer(model, calibration.shape[2:], stream_bits, fraction_bits).run(mean)
    return Network.build(name, data, classes, nodes, accuracy, training)
