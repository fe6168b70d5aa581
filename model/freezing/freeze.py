"""Freeze: a trained network as the integers of a manifest, layer by layer (model/freezing/affine.py)."""

import math

import numpy as np
import torch
from torch import Tensor

from popstream.model.freezing.affine import (
    Collector,
    FreezeError,
    accumulator_thresholds,
    affine_of,
    prelu_tensors,
    requant_tensors,
    rising,
    stream_thresholds,
)
from popstream.model.freezing.chain import ChainFreezer
from popstream.model.manifest import Network, Node
from popstream.model.networks.dorefa import SVHNNet
from popstream.model.networks.layers import QuantNetwork, prepare
from popstream.model.networks.resnet import ConvUnit, ResNet
from popstream.model.quantizers import FLOAT_BITS

__all__ = ["FreezeError", "Freezer", "freeze", "measure_stream"]


class Freezer(Collector):
    """Walks a trained ResNet once and collects nodes; `stream_bits` and `fraction_bits` fix the stream's scale."""

    def __init__(self, model: ResNet, image_shape: tuple[int, int], stream_bits: int, fraction_bits: int):
        super().__init__()
        self.model, self.config = model, model.config
        self.image_shape = image_shape
        self.stream_bits, self.fraction_bits = stream_bits, fraction_bits

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
                codes, gain = rising(codes, gain, unit.conv.quantizer)
            source = self.conv(f"{unit.name}.conv", source, unit.conv, codes, bits)
        return source, gain, shift

    def head(self, stream: str, pixels: int, largest_mean: float) -> None:
        """Mean of the (rectified) stream as codes, and the linear layer on them."""
        act_bits = self.config.layer_bits("linear")[1]
        largest_sum = max(largest_mean, 1e-9) * pixels * 2.0**self.fraction_bits
        shift = max(0, math.ceil(math.log2(largest_sum / (2**act_bits - 1))))
        pooled = self.add("pool", "pool", [stream], bits=act_bits, shift=shift)
        unit = 2.0 ** (shift - self.fraction_bits) / pixels
        self.linear(pooled, self.model.linear, self.model.linear_quantizer, unit, act_bits)

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
                power, tensors = prelu_tensors(residual.prelu, self.fraction_bits, self.stream_bits)
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

    projects = [residual.shortcut for residual in model.additions if isinstance(residual.shortcut, ConvUnit)]
    handles = [m.register_forward_hook(watch) for m in [model.stem_bn, *projects, *model.additions]]
    handles += [prelu.register_forward_pre_hook(watch_input) for prelu in prelus]
    model.eval()
    mean = 0.0
    for x in images.split(batch):
        mean = max(mean, torch.relu(model.features(prepare(x))).mean((2, 3)).max().item())
    for handle in handles:
        handle.remove()
    return seen["stream"], mean


def freeze(model: QuantNetwork, calibration: np.ndarray, name: str, data: str, classes: list[str],
           stream_bits: int = 16, accuracy: dict | None = None, training: dict | None = None) -> Network:  # fmt: skip
    """The integer network of a trained model. `calibration`: uint8 images [N, C, H, W] that set the stream's scale.

    Raises FreezeError for a network of a family without a form in hardware, or with float layers.
    """
    model = model.eval().cpu()
    height, width = calibration.shape[2:]
    if isinstance(model, SVHNNet):
        return Network.build(name, data, classes, ChainFreezer(model, (height, width)).run(), accuracy, training)
    if not isinstance(model, ResNet):
        families = "'resnet' and 'dorefa_svhn' have one"
        raise FreezeError(f"{type(model).__name__} has no form in hardware; networks of the families {families}")
    if FLOAT_BITS in (model.config.weight_bits, model.config.act_bits):
        raise FreezeError("A float network has no integers; train a phase with weight_bits and act_bits of 1 to 8")
    for layer in model.config.layers:
        if FLOAT_BITS in model.config.layer_bits(layer):
            raise FreezeError(f"Layer {layer} is float and has no integers; give it 1 to 8 bits (W, A) and train again")
    largest, mean = measure_stream(model, torch.from_numpy(calibration))
    fraction_bits = stream_bits - 1 - math.ceil(math.log2(max(largest, 1e-6)))
    nodes = Freezer(model, (height, width), stream_bits, fraction_bits).run(mean)
    return Network.build(name, data, classes, nodes, accuracy, training)
