"""Thaw: a manifest back into a network that trains, the inverse of freezing (model/freezing/freeze.py).

A published network is thus a place to start from, and a teacher, where its checkpoint is gone. What the integers tell
is restored: codes of weights, thresholds, gain and shift of every channel. What they don't tell is chosen: the size of
latent weights (that of a new network's), BatchNorm's statistics (measured on images) and the temperature of the logits
(that of the least cross entropy). The result computes what the manifest does, but for rounding; standardized weights
of several bits come back within a step.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from popstream.model.freezing import frozen
from popstream.model.freezing.affine import ALWAYS, NEVER
from popstream.model.manifest import Network, Node
from popstream.model.networks import build_network, phase_config
from popstream.model.networks.layers import QuantConv2d, prepare
from popstream.model.networks.resnet import ConvUnit, ResNet, ResNetConfig
from popstream.model.quantizers import ActivationQuantizer, DoReFaActivations, DoReFaWeights, RPReLU, WeightQuantizer
from popstream.model.quantizers.base import standardize
from popstream.model.quantizers.signs import RSignActivations, SignActivations

TEMPERATURES = torch.logspace(-8, 0, 161, dtype=torch.float64)  # value of a unit of the logits
Affine = tuple[Tensor, Tensor]  # gain and shift of each channel, float64 [C]


class ThawError(ValueError):
    """The manifest does not tell enough to train from; the message says what is lacking."""


def trained_config(network: Network) -> ResNetConfig:
    """The configuration that a network was trained with; ThawError where it is not of a form that can be thawed."""
    recipe: Any = network.training.get("recipe")
    if not recipe:
        raise ThawError(f"Network {network.name!r} does not say by what recipe it was trained; it cannot be thawed")
    try:
        config = phase_config(recipe, recipe["phase"][-1])
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ThawError(f"Network {network.name!r}: the recipe it was trained by cannot be read ({error})") from error
    if not isinstance(config, ResNetConfig):
        family = recipe["network"]["family"]
        raise ThawError(f"Network {network.name!r} is of the family {family!r}; only 'resnet' can be thawed")
    return config


def check_form(network: Network) -> None:
    """ThawError names the first node that no network which trains freezes to."""
    foreign = {"ties": "sends halves to even", "pad_code": "pads with another code than 0"}
    for node in network.nodes:
        said = [words for key, words in foreign.items() if key in node.attributes]  # else it is at its default
        said += ["has a table of pixels"] if node.op == "input" and node.tensors else []
        said += [f"is of the op {node.op!r}"] if node.op in ("add", "dequantize") else []
        if said:
            raise ThawError(f"Node {node.name!r} {said[0]}, as no network that trains here; it cannot be thawed")


def tensor(node: Node, key: str) -> Tensor:
    """A node's tensor in float64."""
    return torch.from_numpy(node.tensors[key].astype(np.float64))


def unit_weights(node: Node) -> Tensor:
    """The odd weights of a conv or linear node over the largest, in [-1, 1]: float64."""
    return frozen.weight_values(node).double() / (2 ** node["weight_bits"] - 1)


def latent_weights(quantizer: WeightQuantizer, units: Tensor, deviation: float) -> Tensor:
    """Float weights that quantize to `units`, of about this deviation where it is free."""
    if quantizer.bits == 1:
        return units * deviation
    if not isinstance(quantizer, DoReFaWeights):
        raise ThawError(f"{type(quantizer).__name__} of {quantizer.bits} bits cannot be thawed; DoReFa's and signs can")
    if not quantizer.standardized:  # eq. 9 knows no size: the largest weight fixes it
        return torch.atanh(0.9 * units)
    low, high = torch.tensor((0.01, 0.999999), dtype=torch.float64)
    for _ in range(60):  # the layer's largest |tanh| is the one at which the filters' deviation is 1, as it was
        middle = (low + high) / 2
        wide = torch.atanh(middle * units).flatten(1).std(1).mean() > 1
        low, high = (low, middle) if wide else (middle, high)
    return standardize(torch.atanh(low * units)) * deviation


def set_conv(conv: QuantConv2d, node: Node) -> None:
    """Latent weights, of the deviation that those of a new conv have (He et al. 2015)."""
    fan_in = node.tensors["weight"][0].size
    conv.weight.copy_(latent_weights(conv.quantizer, unit_weights(node), (2 / fan_in) ** 0.5))


def set_quantizer(quantizer: ActivationQuantizer, node: Node, fraction_bits: int, x: Tensor) -> None:
    """Learned offset and step from the thresholds on the stream; the step of one-bit codes from its values x."""
    real = (tensor(node, "thresholds") - 0.5) * 2.0**-fraction_bits  # freezing rounds up, by 1/2 on average
    if isinstance(quantizer, RSignActivations):
        quantizer.offset.copy_(real.squeeze(1))
    elif not isinstance(quantizer, DoReFaActivations | SignActivations):
        raise ThawError(f"{type(quantizer).__name__} cannot be thawed; DoReFa's, signs and RSign can")
    if not isinstance(quantizer, DoReFaActivations) or not quantizer.learned:
        return
    levels = quantizer.thresholds()[:1]  # at offset 0 and step 1
    if quantizer.bits == 1:
        quantizer.calibrate(x)
    else:
        quantizer.step.copy_(((real[:, -1] - real[:, 0]) / (levels[:, -1] - levels[:, 0])).mean())
    quantizer.offset.copy_((real - quantizer.step.double() * levels).mean(1))


def requant_affine(node: Node) -> Affine:
    """What a requantizer makes of its accumulator, as values of the stream."""
    power = 2.0 ** -(node["shift"] + node["fraction_bits"])
    return tensor(node, "multiplier") * power, tensor(node, "bias") * power


def threshold_affine(quantizer: ActivationQuantizer, node: Node, spread: Tensor) -> Affine:
    """Gain and shift that take thresholds on an accumulator to those of the quantizer as it is.

    spread: the accumulator's deviation in each channel, which sets the gain of one-bit codes.
    """
    levels, given = quantizer.thresholds(), tensor(node, "thresholds") - 0.5
    if quantizer.bits == 1:
        gain = 0.5 / spread.clamp_min(1.0)
    else:
        gain = (levels[:, -1] - levels[:, 0]) / (given[:, -1] - given[:, 0]).clamp_min(1.0)
    shift = (levels - gain[:, None] * given).mean(1)
    # thresholds at both ends of int32 are a constant, of gain 0
    constant = ((given <= ALWAYS) | (given >= NEVER - 1)).any(1)
    between = torch.cat((levels[:, :1] - 1, (levels[:, 1:] + levels[:, :-1]) / 2, levels[:, -1:] + 1), 1)
    code = (given <= ALWAYS).sum(1, keepdim=True)
    return torch.where(constant, 0.0, gain), torch.where(constant, between.gather(1, code).squeeze(1), shift)


def unit_value(conv: QuantConv2d, node: Node, amplitude: float) -> float:
    """Value of a 1 in the accumulator, where the largest input code has the value `amplitude`."""
    units = unit_weights(node)
    scale = (conv.quantizer(conv.weight).double() * units).sum() / units.square().sum()
    return scale.item() * amplitude / (2 ** node["weight_bits"] - 1) / (2 ** node["act_bits"] - 1)


def set_norm(norm: nn.BatchNorm2d, z: Tensor, affine: Affine, unit: float) -> None:
    """BatchNorm with the statistics of its input z [N, C, H, W], whose output is affine of z in units of `unit`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = z.double().mean((0, 2, 3)), z.double().var((0, 2, 3), unbiased=False)
    gain, shift = affine[0] / unit, affine[1]
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(gain * torch.sqrt(variance + norm.eps))
    norm.bias.copy_(shift + gain * mean)


class Thawer:
    """Fills a new network layer by layer with what the manifest tells, the images' stream running along."""

    def __init__(self, network: Network, model: ResNet):
        self.network, self.model = network, model

    def chain(self, units: list[ConvUnit], r: Tensor, requant: Node) -> None:
        """Conv units from the stream r to the requantizer that puts them back into it."""
        x = r
        for index, unit in enumerate(units):
            acc = self.network.node(f"{unit.name}.conv")
            if index == 0:
                threshold = self.network.node(f"{unit.name}.threshold")
                set_quantizer(unit.quantizer, threshold, requant["fraction_bits"], x)
            set_conv(unit.conv, acc)
            z = unit.conv(unit.quantizer(x))
            value = unit_value(unit.conv, acc, unit.quantizer.amplitude())
            if unit is units[-1]:
                affine = requant_affine(requant)
            else:
                following = units[index + 1]
                spread = z.double().std((0, 2, 3)) / value
                affine = threshold_affine(following.quantizer, self.network.node(f"{following.name}.threshold"), spread)
            set_norm(unit.bn, z, affine, value)
            x = unit.bn(z)

    def prelu(self, prelu: RPReLU, node: Node, fraction_bits: int) -> None:
        """An RPReLU's shifts and slopes (rule R12)."""
        prelu.slope.copy_(tensor(node, "slope") * 2.0 ** -node["shift"])
        prelu.shift_in.copy_(tensor(node, "shift_in") * 2.0**-fraction_bits)
        prelu.shift_out.copy_(tensor(node, "shift_out") * 2.0**-fraction_bits)

    def body(self, x: Tensor) -> None:
        """Everything before the head; x: images x/255."""
        model, network = self.model, self.network
        acc, requant = network.node("stem.conv"), network.node("stem.requant")
        set_conv(model.stem, acc)
        z = model.stem(model.pixels(x))
        set_norm(model.stem_bn, z, requant_affine(requant), unit_value(model.stem, acc, 1.0))
        r = model.stem_bn(z)
        r = F.relu(r) if model.config.stream_relu else r
        for residual in model.additions:
            name = residual.chain[-1].name
            addition = network.node(f"{name}.add")
            self.chain(residual.chain, r, addition)
            if isinstance(residual.shortcut, ConvUnit):
                self.chain([residual.shortcut], r, network.node(f"{residual.shortcut.name}.requant"))
            if residual.prelu is not None:
                self.prelu(residual.prelu, network.node(f"{name}.prelu"), addition["fraction_bits"])
            r = residual(r)

    def head(self, images: np.ndarray, labels: np.ndarray) -> None:
        """The linear layer, at the temperature of the least cross entropy on these images that its weights allow."""
        node, pool = self.network.output, self.network.node("pool")
        last = f"{self.model.additions[-1].chain[-1].name}.add"
        _, height, width = self.network.node(last).shape
        unit = 2.0 ** (pool["shift"] - self.network.node(last)["fraction_bits"]) / (height * width)
        top = 2 ** node["weight_bits"] - 1
        allowed = TEMPERATURES[TEMPERATURES / unit * top < 0.99]  # the largest weight is below 1, as tanh gives it
        logits, truth = torch.from_numpy(frozen.run(self.network, images)).double(), torch.from_numpy(labels)
        losses = torch.stack([F.cross_entropy(logits * t, truth) for t in allowed])
        temperature = allowed[losses.argmin()]
        self.model.linear.weight.copy_(torch.atanh(temperature / unit * top * unit_weights(node)))
        self.model.linear.bias.copy_(tensor(node, "bias") * temperature)


@torch.no_grad()
def thaw(network: Network, images: np.ndarray, labels: np.ndarray) -> ResNet:
    """The network of a manifest, ready to train, on the CPU. images: uint8 [N, C, H, W] of its data set, with labels.

    Raises ThawError for a network of another family than 'resnet', of quantizers whose steps are learned (LSQ, EWGS,
    BiNeal), without the recipe of its training, or with what only others' networks have.
    """
    config = trained_config(network)
    check_form(network)
    model = build_network(config.to_dict())
    assert isinstance(model, ResNet)
    model.eval()
    thawer = Thawer(network, model)
    thawer.body(prepare(torch.from_numpy(images)))
    thawer.head(images, labels)
    return model
