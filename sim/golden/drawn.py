"""Seeded random networks with the shape of a real one, and images for them: for tests and for soaking.

Thresholds, multipliers, biases and shifts are chosen from what the golden model computes on random images, so
that codes spread over their range and streams rarely saturate.
"""

import math
from collections.abc import Sequence

import numpy as np

from popstream.model.manifest import Network, Node, entry_bits
from popstream.sim import golden
from popstream.sim.golden import ops

SHORTCUTS = ("identity", "A", "B", "avgpool")
CALIBRATION_IMAGES = 8


def random_images(network_input: Node, seed: int, count: int) -> np.ndarray:
    """Images uint8 [count, C, H, W] for an input node: noise of another spread and mean in every image."""
    rng = np.random.default_rng(seed)
    top = 2 ** entry_bits(network_input) - 1
    shape = (count, network_input["channels"], network_input["height"], network_input["width"])
    mean = rng.uniform(0.2, 0.8, (count, 1, 1, 1))
    noise = rng.normal(mean, rng.uniform(0.1, 0.5, (count, 1, 1, 1)), shape)
    return np.floor(np.clip(noise, 0, 1) * top + 0.5).astype(np.uint8)


def close_images(network: Network, seed: int, count: int, among: int) -> np.ndarray:
    """Of `among` random images those `count` uint8 [count, C, H, W] whose two greatest logits are nearest: a fault in a
    low bit of a logit changes the class of no other.
    """
    images = random_images(network.input, seed, among)
    if network.output.shape[0] < 2:
        return images[:count]
    second, first = np.sort(golden.run_batches(network, images).astype(np.int64), axis=1)[:, -2:].T
    return images[np.argsort(first - second, kind="stable")[:count]]


class Builder:
    """Grows a network node by node and keeps every node's golden value on the calibration images."""

    def __init__(self, rng: np.random.Generator, stream_bits: int):
        self.rng = rng
        self.stream_bits = stream_bits
        self.nodes: list[Node] = []
        self.values: dict[str, np.ndarray] = {}

    def add(self, name: str, op: str, inputs: tuple[str, ...] = (), tensors: dict | None = None, **attributes) -> str:
        node = Node(name, op, inputs, attributes, tensors or {})
        self.nodes.append(node)
        if op == "input":
            images = random_images(node, int(self.rng.integers(2**31)), CALIBRATION_IMAGES)
            self.values[name] = ops.entry(node, images)
        else:
            self.values[name] = golden.node_function(node, *(self.values[i] for i in inputs))
        return name

    def conv(
        self, name: str, source: str, out: int, kernel: int, stride: int, padding: int, bits: tuple, weights: str,
        pad_code: int = 0,
    ) -> str:  # fmt: skip
        """Random weights of the kind `weights`; every code occurs with equal chance."""
        shape = (out, self.values[source].shape[1], kernel, kernel)
        weight = self.rng.integers(0, 2 ** bits[0], shape, dtype=np.uint8)
        attributes = dict(
            kernel=kernel, stride=stride, padding=padding, weight_bits=bits[0], act_bits=bits[1], weights=weights,
            pad_code=pad_code,
        )  # fmt: skip
        return self.add(name, "conv", (source,), dict(weight=weight), out_channels=out, **attributes)

    def threshold(self, name: str, source: str, bits: int) -> str:
        """Thresholds at jittered quantiles of each channel, so every code has about the same share."""
        x = self.values[source]
        count = 2**bits - 1
        share = (np.arange(1, count + 1) + self.rng.uniform(-0.4, 0.4, (x.shape[1], count))) / (count + 1)
        flat = x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1)
        t = np.stack([np.quantile(channel, np.clip(s, 0, 1)) for channel, s in zip(flat, share, strict=True)])
        return self.add(name, "threshold", (source,), dict(thresholds=np.sort(np.ceil(t)).astype(np.int32)), bits=bits)

    def requant(self, name: str, source: str, skip: str | None, relu: bool, ties: str = "up") -> str:
        """Brings each channel to mean about 0 and a deviation of 1/8 of the stream's range; random signs."""
        acc = self.values[source].transpose(1, 0, 2, 3).reshape(self.values[source].shape[1], -1)
        target = max(0.7, 2.0 ** (self.stream_bits - 4)) * self.rng.uniform(0.5, 1.5, len(acc))
        ratio = target / np.maximum(acc.std(1), 0.5)
        shift = int(np.clip(math.floor(math.log2(2**12 / ratio.max())), 1, 31))
        sign = self.rng.choice([-1, 1], len(acc))
        multiplier = np.floor(sign * ratio * 2**shift + 0.5).astype(np.int32)
        bias = -np.floor(multiplier * acc.mean(1)) + np.floor(self.rng.normal(0, 0.3, len(acc)) * target * 2**shift)
        tensors = dict(multiplier=multiplier, bias=bias.astype(np.int64))
        attributes = dict(shift=shift, stream_bits=self.stream_bits, fraction_bits=max(0, self.stream_bits - 4))
        inputs = (source, skip) if skip else (source,)
        return self.add(name, "requant", inputs, tensors, relu=relu, ties=ties, **attributes)

    def prelu(self, name: str, source: str) -> str:
        """Shifts of about the stream's deviation, slopes of both signs up to 1."""
        x = self.values[source]
        low, high = -(2 ** (self.stream_bits - 1)), 2 ** (self.stream_bits - 1) - 1
        shifts = self.rng.normal(0, max(1.0, x.std() / 2), (2, x.shape[1])).round().clip(low, high).astype(np.int32)
        slope = self.rng.integers(-(2**10), 2**12, x.shape[1]).astype(np.int32)
        tensors = dict(shift_in=shifts[0], slope=slope, shift_out=shifts[1])
        return self.add(name, "prelu", (source,), tensors, shift=12, stream_bits=self.stream_bits)

    def head(self, source: str, classes: int, bits: tuple[int, int], weights: str, ties: str = "up") -> None:
        """Pool, scaled so that most codes are below the largest, and linear, biased so that every class wins."""
        total = self.values[source].sum((2, 3))
        reach = max(1.0, float(np.quantile(total, 0.9)))
        shift = max(0, math.floor(math.log2(reach / 2 ** bits[1])) + 1)
        self.linear(self.add("pool", "pool", (source,), bits=bits[1], shift=shift, ties=ties), classes, bits, weights)

    def linear(self, source: str, classes: int, bits: tuple[int, int], weights: str) -> None:
        """Random weights, and biases so that every class wins."""
        weight = self.rng.integers(0, 2 ** bits[0], (classes, self.values[source].shape[1]), dtype=np.uint8)
        attributes = dict(out_features=classes, weight_bits=bits[0], act_bits=bits[1], weights=weights)
        plain = Node("linear", "linear", (source,), attributes, dict(weight=weight, bias=np.zeros(classes, np.int32)))
        bias = -np.floor(ops.linear(plain, self.values[source]).mean((0, 2, 3))).astype(np.int32)
        self.add("linear", "linear", (source,), dict(weight=weight, bias=bias), **attributes)


def random_network(
    seed: int,
    *,
    weight_bits: int | Sequence[int] = 1,
    act_bits: int | Sequence[int] = 2,
    kernel: int | Sequence[int] = 3,
    padding: int | None = None,
    strides: tuple[int, ...] = (1, 2),
    height: int = 8,
    width: int = 8,
    in_channels: int = 3,
    channels: tuple[int, ...] = (4, 8),
    blocks: int = 1,
    convs_per_block: int = 2,
    shortcut: str = "avgpool",
    convs_per_shortcut: int = 1,
    stream_bits: int = 12,
    first_bits: tuple[int, int] = (8, 8),
    last_bits: tuple[int, int] = (8, 8),
    weights: str = "odd",
    end_weights: str = "odd",
    relu: bool = False,
    prelu: bool = False,
    maxpool: int = 0,
    classes: int = 4,
    name: str = "random",
) -> Network:
    """A residual network with a stem, `blocks` * `convs_per_block` convs for each entry of `channels`, and a head.

    strides: of each group's first conv. shortcut "identity" leaves the skip out where a conv changes the shape;
    "A" subsamples, "avgpool" averages (even sizes), "B" projects by a 1x1 conv; other padding than kernel // 2 leaves
    all skips out. relu: on every stream; the last has one anyway. prelu: on every other stream.
    weight_bits, act_bits, kernel: of all hidden convs, or of one after another, and again from the first. maxpool: size
    of the squares ahead of the last group, whose first sum has no skip then; none with 0.
    first_bits, last_bits: (W, A) of stem and linear. weights, end_weights: their kind ("odd", "signed") in hidden
    convs, and in stem and linear.
    """
    if shortcut not in SHORTCUTS:
        raise ValueError(f"Shortcut must be one of {', '.join(SHORTCUTS)}, not {shortcut!r}")
    if len(strides) != len(channels) or blocks * convs_per_block % convs_per_shortcut:
        raise ValueError(f"Strides {strides} and channels {channels} must pair, convs per shortcut divide a group")
    kernels, weight_widths, act_widths = (
        (some,) if isinstance(some, int) else tuple(some) for some in (kernel, weight_bits, act_bits)
    )
    pad = kernels[0] // 2 if padding is None else padding
    net = Builder(np.random.default_rng(seed), stream_bits)
    net.add("input", "input", channels=in_channels, height=height, width=width, bits=first_bits[1])
    net.conv("stem.conv", "input", channels[0], kernels[0], 1, pad, first_bits, end_weights)
    total = len(channels) * blocks * convs_per_block
    stream = net.requant("stem.requant", "stem.conv", None, relu or total == 0)
    done, shrunk = 0, False
    for group, (out, first_stride) in enumerate(zip(channels, strides, strict=True)):
        for index in range(blocks * convs_per_block):
            unit = f"group{group}.conv{index}"
            stride = first_stride if index == 0 else 1
            if index % convs_per_shortcut == 0:
                source, changed = stream, stride != 1 or net.values[stream].shape[1] != out
                value = stream
            size = kernels[done % len(kernels)]
            pad = size // 2 if padding is None else padding
            bits = weight_widths[done % len(weight_widths)], act_widths[done % len(act_widths)]
            codes = net.threshold(f"{unit}.threshold", value, bits[1])
            shrinks = bool(maxpool) and group == len(channels) - 1 and index == 0
            if shrinks:
                codes = net.add(f"{unit}.maxpool", "maxpool", (codes,), size=maxpool)
            value = net.conv(f"{unit}.conv", codes, out, size, stride, pad, bits, weights)
            shrunk = shrinks or (index % convs_per_shortcut > 0 and shrunk)
            done += 1
            if index % convs_per_shortcut == convs_per_shortcut - 1:
                joined = pad == size // 2 and not shrunk and not (shortcut == "identity" and changed)
                first = f"group{group}.conv{index + 1 - convs_per_shortcut}"
                skip = source if joined else None
                if joined and changed:
                    change = first_stride if index + 1 == convs_per_shortcut else 1
                    skip = add_shortcut(net, f"{first}.", source, out, change, shortcut, bits, weights)
                stream = net.requant(f"{unit}.requant", value, skip, relu or done == total)
                if prelu and done < total:
                    stream = net.prelu(f"{unit}.prelu", stream)
    net.head(stream, classes, last_bits, end_weights)
    names = [f"class{i}" for i in range(classes)]
    return Network.build(name, "random", names, net.nodes, {}, {"seed": seed})


def add_shortcut(
    net: Builder, prefix: str, source: str, out: int, stride: int, kind: str, bits: tuple, weights: str
) -> str:
    """The skip path where a block changes the shape; returns the name of its last node."""
    if kind == "B":
        codes = net.threshold(f"{prefix}project.threshold", source, bits[1])
        acc = net.conv(f"{prefix}project.conv", codes, out, 1, stride, 0, bits, weights)
        return net.requant(f"{prefix}project.requant", acc, None, False)
    given = net.values[source].shape[1]
    if out < given:
        raise ValueError(f"Only shortcut B can narrow {given} channels to {out}")
    attributes: dict = dict(stride=stride, reduce="average" if kind == "avgpool" else "sample")
    return net.add(
        f"{prefix}shortcut", "shortcut", (source,), out_channels=out, pad_front=(out - given) // 2, **attributes
    )
