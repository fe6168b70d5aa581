"""Fine-tuning on the frozen integers: the forward pass is the hardware's, the gradient the float network's.

At each step the network is frozen anew (model/freezing/freeze.py: BatchNorm folded with its statistics fixed, weights,
stream and thresholds as integers), the batch runs through those integers (model/freezing/frozen.py), and their values
take the place of the float ones at every addition to the stream, every quantizer and the logits: exactly what the
hardware computes is what is trained. Gradients pass straight through each replacement. For a short last phase with a
small learning rate.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from popstream.model.data import quantize_pixels
from popstream.model.freezing import frozen
from popstream.model.freezing.freeze import FreezeError, Freezer, measure_stream
from popstream.model.manifest.node import Node
from popstream.model.networks.resnet import ConvUnit, ResNet
from popstream.model.quantizers import ActivationQuantizer
from popstream.model.training.checkpoint import TrainingError


class Replace(torch.autograd.Function):
    """Forward the exact value in float32, backward the gradient of the surrogate."""

    @staticmethod
    def forward(ctx, surrogate: Tensor, exact: Tensor) -> Tensor:
        ctx.dtype = surrogate.dtype
        return exact.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad.to(ctx.dtype), None


class FrozenForward(nn.Module):
    """A trained network whose forward is that of its integers: x/255 [N, C, H, W] to logits [N, classes].

    calibration: uint8 images [N, C, H, W] that set the stream's scale, as export does; `rescale` measures it anew.
    Raises TrainingError for a network that has no integers.
    """

    def __init__(self, network: ResNet, calibration: Tensor, stream_bits: int):
        super().__init__()
        self.network, self.calibration, self.stream_bits = network, calibration, stream_bits
        self.twin = [copy.deepcopy(network).cpu()]  # in a list: no parameters of this module
        self.values: dict[str, Tensor] = {}
        for module, name in places(network):
            module.register_forward_hook(self.replacement(name))
        for residual in network.additions:
            if residual.prelu is not None:
                before = self.replacement(f"{residual.chain[-1].name}.add")
                residual.prelu.register_forward_pre_hook(
                    lambda module, inputs, hook=before: hook(module, (), inputs[0])
                )
        self.rescale()

    def replacement(self, name: str):
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
            if name not in self.values:
                return None  # the float network is evaluated
            if isinstance(module, ActivationQuantizer):
                unit = module.amplitude() / (2**module.bits - 1)
            else:
                unit = 2.0**-self.fraction_bits
            return Replace.apply(output, self.values[name].float() * unit)

        return hook

    @torch.no_grad()
    def rescale(self) -> None:
        """Measure the stream's fraction bits and the largest mean anew from the calibration images."""
        largest, self.mean = measure_stream(self.network, self.calibration)
        self.fraction_bits = self.stream_bits - 1 - math.ceil(math.log2(max(largest, 1e-6)))
        self.nodes()  # refuses float layers here, before anything is trained

    @torch.no_grad()
    def nodes(self) -> list[Node]:
        """The integers of the present weights."""
        twin = self.twin[0]
        twin.load_state_dict({name: value.cpu() for name, value in self.network.state_dict().items()})
        shape = self.calibration.shape[2:]
        try:
            return Freezer(twin.eval(), (shape[0], shape[1]), self.stream_bits, self.fraction_bits).run(self.mean)
        except (FreezeError, ValueError) as error:
            raise TrainingError(f"A frozen phase needs a network that has integers: {error}") from error

    @torch.no_grad()
    def run(self, x: Tensor) -> tuple[dict[str, Tensor], float]:
        """Every node's integers for images x/255, and the value of one unit of the logits."""
        bits = self.network.config.layer_bits("stem")[1]
        pixels = torch.floor(x * 255 + 0.5).to(torch.uint8).cpu().numpy()
        values: dict[str, Tensor] = {}
        unit = 1.0
        for node in self.nodes():
            if node.op == "input":
                values[node.name] = torch.from_numpy(quantize_pixels(pixels, bits)).to(x.device)
                continue
            source = values[node.inputs[0]]
            values[node.name] = frozen.OPERATIONS[node.op](node, *(values[name] for name in node.inputs))
            if node.op == "pool":
                unit = 2.0 ** (node["shift"] - self.fraction_bits) / (source.shape[2] * source.shape[3])
        _, scale = self.network.linear_quantizer.to_int(self.network.linear.weight)
        return values, unit * scale.flatten()[0].item()

    def forward(self, x: Tensor) -> Tensor:
        self.network.eval()  # BatchNorm's statistics are fixed
        with torch.autocast(x.device.type, enabled=False):  # integers are exact in float32 only
            values, unit = self.run(x)
        self.values = values
        surrogate = self.network(x)
        self.values = {}
        return Replace.apply(surrogate, values["linear"].float() * unit)


def places(network: ResNet) -> list[tuple[nn.Module, str]]:
    """Modules of a ResNet, each with the node that its output stands for: an addition to the stream, or thresholds."""
    found: list[tuple[nn.Module, str]] = [(network.stem_bn, "stem.requant")]
    for residual in network.additions:
        project = residual.shortcut
        units = [*residual.chain, project] if isinstance(project, ConvUnit) else residual.chain
        found += [(unit.quantizer, f"{unit.name}.threshold") for unit in units]
        if isinstance(project, ConvUnit):
            found.append((project, f"{project.name}.requant"))
        name = residual.chain[-1].name
        found.append((residual, f"{name}.add" if residual.prelu is None else f"{name}.prelu"))
    return found
