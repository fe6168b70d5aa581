"""The frozen network in torch: the manifest's integers, evaluated as training's framework does.

Independent of sim/golden/__init__.py on purpose: the two are compared on whole test sets. Sums run in float32 where
they stay below 2^24, to which it is exact, and in float64 elsewhere; requantization runs in int64. Rounding rules:
sim/golden/__init__.py's table.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from popstream.model.data import quantize_pixels
from popstream.model.manifest import Network, Node

FLOAT32_EXACT = 2**24


def weight_values(node: Node) -> Tensor:
    """Codes q to the integers w, float32: odd ones 2q - (2^W - 1), signed ones of W bits in two's complement."""
    q, count = torch.from_numpy(node.tensors["weight"].astype(np.float32)), 2 ** node["weight_bits"]
    return torch.where(2 * q < count, q, q - count) if node["weights"] == "signed" else q * 2 - (count - 1)


def column(tensor: np.ndarray, like: Tensor) -> Tensor:
    """A per-channel tensor [C] as int64 [C, 1, 1], where `like` lies."""
    return torch.from_numpy(tensor.astype(np.int64)).view(-1, 1, 1).to(like.device)


def exact(node: Node, weight: Tensor, device: torch.device) -> torch.dtype:
    """The float type whose sums are exact here: float32 where they stay small enough; on a GPU, whose convs may
    transform it, float64."""
    if device.type == "cuda":
        return torch.float64
    largest = weight.abs().flatten(1).sum(1).max().item() * (2 ** node["act_bits"] - 1)
    return torch.float32 if largest < FLOAT32_EXACT else torch.float64


def conv(node: Node, a: Tensor) -> Tensor:
    weight = weight_values(node)
    dtype = exact(node, weight, a.device)
    padded = F.pad(a.to(dtype), (node["padding"],) * 4, value=node["pad_code"])
    return F.conv2d(padded, weight.to(a.device, dtype), stride=node["stride"]).to(torch.int32)


def threshold(node: Node, x: Tensor) -> Tensor:
    """Rule R4: the count of thresholds up to x, which the manifest holds in rising order."""
    levels, channels_first = torch.tensor(node.tensors["thresholds"], device=x.device), x.transpose(0, 1).contiguous()
    codes = torch.searchsorted(levels, channels_first.flatten(1), right=True, out_int32=True)
    return codes.view(channels_first.shape).transpose(0, 1)


def requant(node: Node, acc: Tensor, skip: Tensor | None = None) -> Tensor:
    y = acc.long() * column(node.tensors["multiplier"], acc) + column(node.tensors["bias"], acc)
    y = nearest(y, node["shift"], node["ties"])
    return saturated(node, y if skip is None else y + skip)


def nearest(x: Tensor, shift: int, ties: str) -> Tensor:
    """x / 2^shift, halves up or to even (rule R25)."""
    up = (x + ((1 << shift) >> 1)) >> shift
    tie = (x.remainder(1 << shift) * 2 == 1 << shift) & (up.remainder(2) == 1)
    return up - tie.to(up.dtype) if ties == "even" else up


def saturated(node: Node, total: Tensor) -> Tensor:
    limit = 1 << (node["stream_bits"] - 1)
    r = total.clamp(-limit, limit - 1).to(torch.int32)
    return r.relu() if node["relu"] else r


def add(node: Node, first: Tensor, second: Tensor) -> Tensor:
    """Rule R26."""
    return saturated(node, first + second)


def dequantize(node: Node, codes: Tensor) -> Tensor:
    """Rule R27, and R29 of an input: each channel's row of the table, at its codes."""
    table = torch.from_numpy(node.tensors["table"].astype(np.int32)).to(codes.device)
    channels_first = codes.transpose(0, 1)
    found = table.expand(len(channels_first), -1).gather(1, channels_first.flatten(1).long())
    return found.view(channels_first.shape).transpose(0, 1)


def prelu(node: Node, r: Tensor) -> Tensor:
    """Rule R12."""
    d = r.long() - column(node.tensors["shift_in"], r)
    bent = (d * column(node.tensors["slope"], r) + (1 << (node["shift"] - 1))) >> node["shift"]
    limit = 1 << (node["stream_bits"] - 1)
    return (torch.where(d < 0, bent, d) + column(node.tensors["shift_out"], r)).clamp(-limit, limit - 1).to(torch.int32)


def shortcut(node: Node, r: Tensor) -> Tensor:
    step = node["stride"]
    if node["reduce"] == "average" and step == 2:
        r = (r[:, :, ::2, ::2] + r[:, :, ::2, 1::2] + r[:, :, 1::2, ::2] + r[:, :, 1::2, 1::2] + 2) >> 2
    else:
        r = r[:, :, ::step, ::step]
    return F.pad(r, (0, 0, 0, 0, node["pad_front"], node["out_channels"] - node["pad_front"] - r.shape[1]))


def maxpool(node: Node, a: Tensor) -> Tensor:
    return F.max_pool2d(a.float(), node["size"]).to(torch.int32)


def pool(node: Node, r: Tensor) -> Tensor:
    code = nearest(r.long().sum((2, 3), keepdim=True), node["shift"], node["ties"])
    return code.clamp(0, 2 ** node["bits"] - 1).to(torch.int32)


def linear(node: Node, a: Tensor) -> Tensor:
    weight = weight_values(node)
    dtype = exact(node, weight, a.device)
    total = F.linear(a.flatten(1).to(dtype), weight.to(a.device, dtype)).to(torch.int32)
    return total + torch.tensor(node.tensors["bias"], device=a.device)


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "conv": conv, "threshold": threshold, "requant": requant, "dequantize": dequantize, "add": add,
    "prelu": prelu, "shortcut": shortcut, "pool": pool, "maxpool": maxpool, "linear": linear,
}  # fmt: skip


@torch.no_grad()
def run(network: Network, images: np.ndarray, progress: bool = False, batch: int = 100) -> np.ndarray:
    """Logits int32 [N, classes] of uint8 images [N, C, H, W] (pixels 0..255). `progress`: a bar, on a terminal."""
    codes = torch.from_numpy(quantize_pixels(images, network.entry_bits))
    logits = []
    off = None if progress else True
    for part in tqdm(codes.split(batch), desc="frozen", unit="batch", leave=False, disable=off):
        table = "table" in network.input.tensors
        values = {network.input.name: dequantize(network.input, part) if table else part}
        for node in network.nodes:
            if node.op != "input":
                values[node.name] = OPERATIONS[node.op](node, *(values[name] for name in node.inputs))
        logits.append(values[network.output.name])
    return torch.cat(logits).numpy().astype(np.int32)


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy in percent; argmax takes the lowest index among equals."""
    return 100.0 * float(np.mean(logits.argmax(1) == labels))
