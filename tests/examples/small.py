"""The Brevitas example's networks in small, with scales that images gave and no training: for tests of the import."""

import warnings
from pathlib import Path

import brevitas.nn as qnn
import torch
from torch import Tensor, nn

from popstream.model.qonnx.load import load_model
from popstream.model.qonnx.take import Taken, take

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Brevitas, of its own modules
    from examples.brevitas_resnet20 import Block, Kinds, ResNet, accuracy, export, train

__all__ = ["SIZE", "Kinds", "ResNet", "SeparateBlock", "accuracy", "calibrated", "taken", "train"]

SIZE = 8
IMAGES = 64  # that give the scales


class SeparateBlock(Block):
    """Each branch of the addition has a quantizer, and so a scale, of its own."""

    def __init__(self, kinds: Kinds, ins: int, outs: int, stride: int):
        super().__init__(kinds, ins, outs, stride)
        self.other = qnn.QuantIdentity(act_quant=kinds.shared)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.relu(self.first(x)))
        return self.last(self.shared(y) + self.other(self.project(x)))


@torch.no_grad()
def calibrated(seed: int = 0, separate: bool = False, **how) -> ResNet:
    """A ResNet-8 of 4 and 6 channels and 3 classes, some gains of its BatchNorms below zero; of ResNet's options.

    With powers of two as scales its BatchNorms have such gains, too, and quarters as offsets: many sums of them lie
    halfway between two codes.
    """
    torch.manual_seed(seed)
    net = ResNet(1, (4, 6), SIZE, 3, **how)
    if separate:
        kinds = Kinds(how.get("weight_bits", 2), how.get("act_bits", 2), how.get("powers_of_two", False))
        net.blocks = nn.Sequential(SeparateBlock(kinds, 4, 4, 1), SeparateBlock(kinds, 4, 6, 2))
    net.train()
    for _ in range(2):  # the second with the gains below
        net(torch.randint(256, (IMAGES, 3, SIZE, SIZE)) / 255)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                disturb(module, how.get("powers_of_two", False))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and how.get("powers_of_two", False):
            module.eps = 0.0  # in training it must be above
    return net.eval()


def disturb(norm: nn.BatchNorm2d, powers_of_two: bool) -> None:
    """Gains and offsets as no training gave them, and of powers of two those of the running statistics, too."""
    gains, offsets = 0.8 + 0.6 * torch.randn(norm.num_features), 0.3 * torch.randn(norm.num_features)
    if powers_of_two:
        norm.running_var.copy_(4.0 ** (norm.running_var.log2() / 2).round())
        norm.running_mean.copy_((norm.running_mean * 4).round() / 4)
        gains, offsets = gains.sign() * 2.0 ** gains.abs().log2().round(), (offsets * 4).round() / 4
    norm.weight.copy_(gains)
    norm.bias.copy_(offsets)


def taken(net: ResNet, path: Path, dynamo: bool = False) -> Taken:
    """Exported and read."""
    export(net, SIZE, path, dynamo)
    return take(load_model(path), "net")
