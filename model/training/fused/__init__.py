"""A ResNet's forward and backward pass on a CPU in few passes over memory: what lies between convs is one function.

The network is ResNet's own (model/networks/resnet.py); only the order of its operations is another. norm.py joins
BatchNorm, the addition to the stream and the next quantizer; small.py has signs of weights and shortcuts; kernels.py
compiles their C++. A network or a machine that this does not suit trains by its modules, slower.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from popstream.model.networks.resnet import ResNet, Shortcut
from popstream.model.training.fused.kernels import BLOCK, library
from popstream.model.training.fused.norm import place
from popstream.model.training.fused.small import conv, shortcut
from popstream.model.training.precision import Precision

__all__ = ["Fused", "fused"]


def fused(network: nn.Module, precision: Precision) -> Callable[[Tensor], Tensor]:
    """The network in few passes where that can be, in training or evaluation; else the network."""
    if not isinstance(network, ResNet) or not precision.channels_last or not usable(network):
        return network
    return Fused(network)


def usable(network: ResNet) -> bool:
    """Whether Fused can take the place of a network's own forward pass."""
    return (
        network.stem.weight.device.type == "cpu"
        and all(channels % BLOCK == 0 for channels in network.config.channels)
        and not network.config.stream_relu
        and all(isinstance(residual.shortcut, Shortcut) for residual in network.additions)
        and library() is not None
    )


class Fused:
    """The forward pass of a ResNet, in training or evaluation: images x/255 [N, C, H, W], channels last, to logits."""

    def __init__(self, network: ResNet):
        self.network = network

    def __call__(self, x: Tensor) -> Tensor:
        network = self.network
        z, s, norm, prelu = network.stem(network.pixels(x)), None, network.stem_bn, None
        for residual in network.additions:
            stream = None
            for unit in residual.chain:
                r, q = place(z, s, norm, prelu, unit.quantizer)
                stream = r if stream is None else stream
                z, norm, s, prelu = conv(unit.conv, q), unit.bn, None, None
            assert isinstance(residual.shortcut, Shortcut)
            assert stream is not None
            s, prelu = shortcut(residual.shortcut, stream), residual.prelu
        _, q = place(z, s, norm, prelu, None)
        return F.linear(q.mean((2, 3)), network.linear_quantizer(network.linear.weight), network.linear.bias)
