"""Folding: BatchNorm, activation and quantizer as the integers of hardware, for one layer at a time.

A conv's real output is gain[c] * acc + shift[c] (scale of weights and codes, then BatchNorm). Into the stream,
of value r = integer * 2^-f, it goes as (acc * M + B + 2^(F-1)) >> F; into codes as thresholds on acc. Filters of
channels with negative gain are negated before thresholds (odd weights are closed under negation, and signed ones but
for the least, which no quantizer gives), so that every comparison is `acc >= T`.
"""

import math

import numpy as np
import torch
from torch import Tensor

from popstream.model.manifest.node import Node
from popstream.model.networks.layers import QuantConv2d
from popstream.model.quantizers import RPReLU, WeightQuantizer

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


def rising(codes: Tensor, gain: Tensor, quantizer: WeightQuantizer) -> tuple[Tensor, Tensor]:
    """The filters of channels with negative gain negated: codes, and a gain of at least 0."""
    count = 2**quantizer.bits
    negated = (-codes).remainder(count) if quantizer.kind == "signed" else count - 1 - codes
    return torch.where(gain.view(-1, 1, 1, 1) < 0, negated, codes), gain.abs()


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


def prelu_tensors(prelu: RPReLU, fraction_bits: int, stream_bits: int) -> tuple[int, Tensors]:
    """F and the tensors of an RPReLU on the stream (rule R12); F is the largest whose slopes fit MULTIPLIER_BITS."""
    slope = prelu.slope.detach().double()
    power = largest_shift(slope.abs().max().item(), "An RPReLU slope of {:.0f}")
    limit = 2 ** (stream_bits - 1)
    tensors = {"slope": torch.floor(slope * 2.0**power + 0.5).to(torch.int32).numpy()}
    for key, value in (("shift_in", prelu.shift_in), ("shift_out", prelu.shift_out)):
        steps = torch.floor(value.detach().double() * 2.0**fraction_bits + 0.5).clamp(-limit, limit - 1)
        tensors[key] = steps.to(torch.int32).numpy()
    return power, tensors


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


class Collector:
    """Nodes of a manifest, collected in order."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, name: str, op: str, inputs: list[str], tensors: Tensors | None = None, **attributes) -> str:
        self.nodes.append(Node(name, op, tuple(inputs), attributes, tensors or {}))
        return name

    def conv(self, name: str, source: str, conv: QuantConv2d, codes: Tensor, act_bits: int) -> str:
        return self.add(
            name, "conv", [source], {"weight": codes.to(torch.uint8).numpy()}, out_channels=conv.out_channels,
            kernel=conv.kernel_size[0], stride=conv.stride[0], padding=conv.padding[0],
            weight_bits=conv.quantizer.bits, act_bits=act_bits, weights=conv.quantizer.kind,
        )  # fmt: skip

    def linear(
        self, source: str, layer: torch.nn.Linear, quantizer: WeightQuantizer, unit: float, act_bits: int
    ) -> str:
        """The sink; a code of `source` stands for a value of `unit`. FreezeError where a bias leaves 32 bits."""
        assert layer.bias is not None
        codes, scale = quantizer.to_int(layer.weight)
        unit *= scale.double().flatten()[0].item()
        bias = torch.floor(layer.bias.detach().double() / unit + 0.5).to(torch.int64).numpy()
        if np.abs(bias).max() >= 2**31:
            raise FreezeError(
                f"A linear bias of {np.abs(bias).max()} units does not fit into 32 bits; its weights vanish"
            )
        tensors = {"weight": codes.to(torch.uint8).numpy(), "bias": bias.astype(np.int32)}
        attributes = dict(
            out_features=layer.out_features, weight_bits=quantizer.bits, act_bits=act_bits, weights=quantizer.kind
        )
        return self.add("linear", "linear", [source], tensors, **attributes)
