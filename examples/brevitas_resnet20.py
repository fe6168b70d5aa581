"""A usual Brevitas ResNet-20 (post-activation, ternary weights, codes of two bits), trained on CIFAR-10 and exported.

    python examples/brevitas_resnet20.py --epochs 10 --out resnet20.onnx
    popstream import resnet20.onnx --name mine --data cifar10
    popstream sim build/imported/mine
    popstream fold build/imported/mine ulx3s-85f

All is standard Brevitas; docs/bring-your-own.md says which choices make the import exact. Those made here: one
QuantIdentity for both branches of an addition, weights of one scale a layer, an average by TruncAvgPool2d, no weights
without a quantizer, an unsigned quantizer for the image. The training is short and plain: it shows the way, and does
not claim an accuracy.
"""

import argparse
import warnings
from pathlib import Path

import brevitas.nn as qnn
import torch
from brevitas import quant
from brevitas.export import export_qonnx
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from popstream.model import data
from popstream.model.training.checkpoint import save

__all__ = ["ResNet", "export", "train"]


class Kinds:
    """The quantizers of a network: float scales, or powers of two."""

    def __init__(self, weight_bits: int, act_bits: int, powers_of_two: bool):
        fixed = powers_of_two
        self.weight = quant.Int8WeightPerTensorFixedPoint if fixed else quant.Int8WeightPerTensorFloat
        self.codes = quant.Uint8ActPerTensorFixedPoint if fixed else quant.Uint8ActPerTensorFloat
        self.shared = quant.Int8ActPerTensorFixedPoint if fixed else quant.Int8ActPerTensorFloat
        self.inner = {"weight_quant": self.weight, "weight_bit_width": weight_bits}
        if weight_bits == 1:
            scale = 0.125 if fixed else 0.1
            self.inner = {"weight_quant": quant.SignedBinaryWeightPerTensorConst, "weight_scaling_const": scale}
        self.act_bits = act_bits
        self.act = {"act_quant": self.codes, "bit_width": act_bits}

    def conv(self, ins: int, outs: int, kernel: int, stride: int) -> nn.Sequential:
        """A convolution of few bits, and its BatchNorm."""
        conv = qnn.QuantConv2d(ins, outs, kernel, stride, kernel // 2, bias=False, **self.inner)
        return nn.Sequential(conv, nn.BatchNorm2d(outs))

    def relu(self) -> nn.Module:
        """ReLU and the codes behind it; of one bit, no ReLU, and the codes -1 and +1."""
        if self.act_bits == 1:
            return qnn.QuantIdentity(act_quant=quant.SignedBinaryActPerTensorConst, return_quant_tensor=True)
        return qnn.QuantReLU(**self.act, return_quant_tensor=True)


class Block(nn.Module):
    """Two convolutions and a shortcut, which meet in one QuantIdentity: so both are whole numbers of one scale."""

    def __init__(self, kinds: Kinds, ins: int, outs: int, stride: int):
        super().__init__()
        self.first, self.relu = kinds.conv(ins, outs, 3, stride), kinds.relu()
        self.second, self.last = kinds.conv(outs, outs, 3, 1), kinds.relu()
        self.project = kinds.conv(ins, outs, 1, stride) if stride != 1 or ins != outs else nn.Identity()
        self.shared = qnn.QuantIdentity(act_quant=kinds.shared)

    def forward(self, x: Tensor) -> Tensor:
        """Codes in, codes out."""
        y = self.second(self.relu(self.first(x)))
        return self.last(self.shared(y) + self.shared(self.project(x)))


class ResNet(nn.Module):
    """He's network of 6 n + 2 layers for square images of 3 channels, `size` pixels a side, values 0 to 1."""

    def __init__(
        self,
        n: int = 3,
        channels: tuple[int, ...] = (16, 32, 64),
        size: int = 32,
        classes: int = 10,
        weight_bits: int = 2,
        act_bits: int = 2,
        powers_of_two: bool = False,
        rounding: str = "round",
    ):
        super().__init__()
        kinds = Kinds(weight_bits, act_bits, powers_of_two)
        self.entry = qnn.QuantIdentity(act_quant=kinds.codes)
        stem = qnn.QuantConv2d(3, channels[0], 3, 1, 1, bias=False, weight_quant=kinds.weight)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(channels[0]), kinds.relu())
        blocks, ins = [], channels[0]
        for group, outs in enumerate(channels):
            for index in range(n):
                blocks.append(Block(kinds, ins, outs, 2 if group and not index else 1))
                ins = outs
        self.blocks = nn.Sequential(*blocks)
        self.pool = qnn.TruncAvgPool2d(size >> (len(channels) - 1), float_to_int_impl_type=rounding)
        self.last = qnn.QuantLinear(ins, classes, bias=True, weight_quant=kinds.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images [N, 3, size, size]."""
        return self.last(self.pool(self.blocks(self.stem(self.entry(x)))).flatten(1))


KEPT = 100  # batches, after which all is saved


def train(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    epochs: int,
    batch: int = 128,
    rate: float = 2e-3,
    state: Path | None = None,
) -> None:
    """Adam on uint8 images, mirrored and shifted by up to 4 pixels, over one cycle of the rate. SGD at the rate of such
    a network without quantizers, 0.1, takes scales of activations so far up that all codes become 0.

    With a file `state`, a training that was stopped goes on from what it last saved there; while Brevitas still
    gathers statistics for its scales (the first 300 batches), it gathers them anew.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(2, steps))
    net.train()
    parts = {"net": net, "optimizer": optimizer, "schedule": schedule}
    done = 0
    if state and state.exists():
        saved = torch.load(state, weights_only=True)
        done = saved["done"]
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        torch.set_rng_state(saved["rng"])
    bar = tqdm(range(done, steps), desc="train", unit="batch", initial=done, total=steps)
    for step in bar:
        chosen = torch.randint(len(images), (batch,))
        x = F.pad(images[chosen].float() / 255, (4, 4, 4, 4))
        top, left = torch.randint(9, (2,)).tolist()
        x = x[:, :, top : top + images.shape[2], left : left + images.shape[3]]
        x = x.flip(3) if torch.rand(()) < 0.5 else x
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels[chosen])
        loss.backward()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        optimizer.step()
        schedule.step()
        if state and (step + 1) % KEPT == 0:
            now = {name: part.state_dict() for name, part in parts.items()}
            save(now | {"done": step + 1, "rng": torch.get_rng_state()}, state)


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percent of the images that get their label."""
    net.eval()
    found = [net(part.float() / 255).argmax(1) for part in images.split(500)]
    return 100 * (torch.cat(found) == labels).double().mean().item()


def export(net: nn.Module, size: int, path: Path, dynamo: bool = False) -> None:
    """The network as a QONNX file for one image at a time."""
    net.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of exporters, on their own future
        export_qonnx(net, args=torch.rand(1, 3, size, size), export_path=str(path), dynamo=dynamo)


def main() -> None:
    """Train, say how well, export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("brevitas-resnet20.onnx"))
    given = parser.parse_args()
    torch.manual_seed(0)
    loaded = data.load("cifar10")
    train_set, test_set = (
        (torch.from_numpy(images), torch.from_numpy(labels))
        for images, labels in (
            (loaded.train_images, loaded.train_labels),
            (loaded.test_images, loaded.test_labels),
        )
    )
    net = ResNet()
    state = given.out.with_suffix(f".{given.epochs}epochs.pt")
    train(net, *train_set, given.epochs, state=state)
    print(f"top-1 of {len(test_set[0]):,} test images: {accuracy(net, *test_set):.2f} %")
    export(net, 32, given.out)
    print(f"-> {given.out}; now: popstream import {given.out} --name mine --data cifar10")


if __name__ == "__main__":
    main()
