"""Seeded random post-activation networks (conv, BatchNorm, add, ReLU, quantize) and chains of linear layers.

What others' tools export: codes between all layers, additions of two streams, zero points, tables of pixels.
"""

import numpy as np

from popstream.model.manifest import Network
from popstream.sim.golden.drawn import Builder

__all__ = ["JOINS", "random_mlp", "random_post"]

JOINS = ("add", "requant")


class PostBuilder(Builder):
    """A Builder of networks whose residual blocks begin and end with codes."""

    def enter(self, shape: tuple[int, int, int], bits: int, rows: int) -> str:
        """An input of [C, H, W] with a table of so many rows; none of 0."""
        channels, height, width = shape
        tensors = dict(table=self.rng.integers(0, 2**bits, (rows, 256), dtype=np.uint8)) if rows else {}
        return self.add("input", "input", (), tensors, channels=channels, height=height, width=width, bits=bits)

    def dequantize(self, name: str, source: str, bits: int, rows: int) -> str:
        """A table of any values, which mostly rise with the code."""
        limit, entries = 2 ** (self.stream_bits - 1), 2**bits
        rise = np.linspace(-0.3, 0.3, entries) + self.rng.normal(0, 0.1, (rows, entries))
        table = np.floor(rise.clip(-1, 0.99) * limit).astype(np.int32)
        scale = dict(stream_bits=self.stream_bits, fraction_bits=max(0, self.stream_bits - 4))
        return self.add(name, "dequantize", (source,), dict(table=table), **scale)


def random_post(
    seed: int,
    *,
    weight_bits: int = 2,
    act_bits: int = 2,
    kernel: int = 3,
    strides: tuple[int, ...] = (1, 2),
    height: int = 6,
    width: int = 6,
    in_channels: int = 3,
    channels: tuple[int, ...] = (4, 6),
    stream_bits: int = 8,
    sum_bits: int = 9,
    first_bits: tuple[int, int] = (4, 4),
    last_bits: tuple[int, int] = (4, 4),
    weights: str = "signed",
    join: str = "add",
    skip_first: bool = False,
    relu: bool = True,
    ties: str = "up",
    pad_code: int = 0,
    table_rows: int = 0,
    own_rows: bool = False,
    pool_codes: bool = True,
    classes: int = 4,
    name: str = "random",
) -> Network:
    """A stem, then a residual block of two convs for each of `channels`, with codes between all of them.

    A shortcut is a table of the block's codes, or a 1x1 conv where the shape changes. join: "add" sums two streams of
    `stream_bits` into one of `sum_bits`; "requant" adds the shortcut as its skip. skip_first: the shortcut is the
    add's first input. table_rows: of the input, 0 for none; own_rows: each channel has its own row in the others.
    pad_code: of convs behind the stem, at most their largest code. pool_codes: whether codes or the stream are pooled.
    """
    if join not in JOINS or len(strides) != len(channels):
        raise ValueError(f"Join must be one of {', '.join(JOINS)}, not {join!r}; strides and channels pair")
    net = PostBuilder(np.random.default_rng(seed), stream_bits)
    pad, bits = kernel // 2, (weight_bits, act_bits)
    pad_code = min(pad_code, 2**act_bits - 1)
    codes = net.enter((in_channels, height, width), first_bits[1], table_rows)
    acc = net.conv("stem.conv", codes, channels[0], kernel, 1, pad, first_bits, weights)
    codes, stream = net.threshold("stem.threshold", acc, act_bits), ""
    for group, (out, stride) in enumerate(zip(channels, strides, strict=True)):
        where, given = f"group{group}", net.values[codes].shape[1]
        acc = net.conv(f"{where}.conv0", codes, out, kernel, stride, pad, bits, weights, pad_code)
        inner = net.threshold(f"{where}.threshold0", acc, act_bits)
        acc = net.conv(f"{where}.conv1", inner, out, kernel, 1, pad, bits, weights, pad_code)
        if stride == 1 and out == given:
            skip = net.dequantize(f"{where}.skip", codes, act_bits, given if own_rows else 1)
        else:
            projected = net.conv(f"{where}.project", codes, out, 1, stride, 0, bits, weights)
            skip = net.requant(f"{where}.skip", projected, None, False, ties)
        if join == "requant":
            stream = net.requant(f"{where}.sum", acc, skip, relu, ties)
        else:
            main = net.requant(f"{where}.main", acc, None, False, ties)
            both = (skip, main) if skip_first else (main, skip)
            stream = net.add(f"{where}.sum", "add", both, stream_bits=sum_bits, relu=relu)
        if group < len(channels) - 1 or pool_codes:
            codes = net.threshold(f"{where}.threshold1", stream, act_bits)
    net.head(codes if pool_codes else stream, classes, last_bits, weights, ties)
    names = [f"class{i}" for i in range(classes)]
    return Network.build(name, "random", names, net.nodes, {}, {"seed": seed})


def random_mlp(
    seed: int,
    *,
    features: int = 12,
    hidden: tuple[int, ...] = (8, 6),
    weight_bits: int = 2,
    act_bits: int = 2,
    first_bits: tuple[int, int] = (2, 4),
    weights: str = "signed",
    table_rows: int = 0,
    classes: int = 4,
    name: str = "random",
) -> Network:
    """Linear layers in a row on images of 1 x 1 pixels with `features` channels: convs with thresholds, then logits."""
    net = PostBuilder(np.random.default_rng(seed), 8)
    codes, bits = net.enter((features, 1, 1), first_bits[1], table_rows), first_bits
    for index, out in enumerate(hidden):
        acc = net.conv(f"layer{index}.conv", codes, out, 1, 1, 0, bits, weights)
        codes = net.threshold(f"layer{index}.threshold", acc, act_bits)
        bits = (weight_bits, act_bits)
    net.linear(codes, classes, bits, weights)
    names = [f"class{i}" for i in range(classes)]
    return Network.build(name, "random", names, net.nodes, {}, {"seed": seed})
