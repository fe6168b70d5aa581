"""How a shared stage goes over one layer: rows, groups of pixels and of channels, chunks; and its sums' ranges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from popstream.hw.folding.fold import Share
from popstream.hw.folding.layers import Layer
from popstream.hw.lib.planes import plane_pairs
from popstream.model.manifest import accumulator_range, node_weights

__all__ = ["Walk", "lane_range", "layer_bits", "walk_of", "widest_range"]


@dataclass(frozen=True)
class Walk:
    """How one layer is gone over: rows of output, in each `columns` groups of pixels, in each `groups` of channels.

    Rows in memory begin with some empty columns where what was read is padded by less than half of a kernel: `margin`
    of what is read, `first`, the column there of the first that is made, and `after` of what is made.
    bits : planes of weights and of codes that are gone through. kernel : rows of it. chunks : of a step. slices : of
    its input's channels. beats : of a group's results; only the first `real` of all groups' stand for channels that
    there are. skip_beats : [first, past the last) of those to which a skip is added. length : cycles of a group.
    slow : whether two words are read for a skip.
    """

    layer: Layer
    margin: int
    first: int
    after: int
    bits: tuple[int, int]
    kernel: int
    rows: int
    columns: int
    groups: int
    slices: int
    chunks: int
    work: int
    beats: int
    real: int
    skip_beats: tuple[int, int]
    slow: bool
    length: int

    @property
    def cycles(self) -> int:
        """Cycles from the first chunk of the layer to the last cycle of its last group."""
        return self.rows * self.columns * self.groups * self.length

    @property
    def words(self) -> int:
        """Words of weights."""
        return self.groups * self.chunks * self.bits[0] if self.layer.conv is not None else 0


def layer_bits(layer: Layer, share: Share, signed: bool) -> tuple[int, int]:
    """Planes of weights and of codes that a layer's steps go through.

    Lanes for signed weights take odd ones as signed of a bit more; as many code planes as lanes do at once are whole.
    """
    if layer.conv is None:
        return 1, share.planes
    wider = signed and layer.conv["weights"] == "odd"
    return layer.conv["weight_bits"] + wider, -(-layer.conv["act_bits"] // share.planes) * share.planes


@lru_cache(maxsize=4096)  # alike in all sizes of a stage
def lane_range(layer: Layer, planes: int, signed: bool) -> tuple[int, int, np.ndarray]:
    """The least and the greatest raw sum of a conv on so many code planes, and how much each channel's are too high.

    Lanes for signed weights give exact sums, all parts of which are within the range; see hw.lib.popcount.lane_sums.
    """
    assert layer.conv is not None
    integers = node_weights(layer.conv).reshape(len(layer.conv.tensors["weight"]), -1)
    if signed:
        bits = layer.conv["weight_bits"] + (layer.conv["weights"] == "odd")
        top = (1 << layer.conv["act_bits"]) - 1
        below = top * int(((integers < 0).sum(axis=1) << bits - 1).max())  # the highest plane alone is below zero
        above = top * int((integers & (1 << bits - 1) - 1).sum(axis=1).max())
        return -below, above, np.zeros(len(integers), np.int64)
    most, top = (1 << layer.conv["weight_bits"]) - 1, (1 << planes) - 1
    codes = integers + most >> 1
    high = top * int(np.maximum(codes, most - codes).sum(axis=1).max())
    return 0, high, top * (most - codes).sum(axis=1)


def widest_range(layer: Layer, planes: int, signed: bool) -> tuple[int, int]:
    """The least and the greatest raw sum with any weights."""
    conv = layer.conv
    assert conv is not None
    count, bits = int(np.prod(conv.tensors["weight"].shape[1:])), conv["weight_bits"]
    if signed:
        bits += conv["weights"] == "odd"
        top = count * ((1 << conv["act_bits"]) - 1)
        return -(top << bits - 1), top * ((1 << bits - 1) - 1)
    return 0, count * ((1 << planes) - 1) * ((1 << bits) - 1)


def direct_range(layer: Layer, any_weights: bool = False) -> tuple[int, int]:
    """The least and the greatest sum of products of a conv, with its weights or with any of as many bits."""
    assert layer.conv is not None
    if any_weights:
        limit = (
            int(np.prod(layer.conv.tensors["weight"].shape[1:])) << layer.conv["weight_bits"] + layer.conv["act_bits"]
        )
        return -limit, limit - 1
    low, high = accumulator_range(layer.conv)
    return int(low.min()), int(high.max())


def walk_of(layer: Layer, share: Share, signed: bool, margin: int, first: int) -> Walk:
    """The walk over a layer, whose place in memory is known."""
    bits = layer_bits(layer, share, signed)
    groups, beats = -(-layer.made[0] // share.pe), share.pe // share.beat
    slices = -(-layer.given[0] // share.slice) if layer.conv is not None else 1
    chunks = layer.kernel * slices
    work = len(plane_pairs(*bits, share.planes)) * chunks if layer.conv is not None else 1
    skip = layer.skip
    front, count = (skip.pad_front // share.beat, -(-skip.channels // share.beat)) if skip else (0, 0)
    slow = bool(skip and skip.average)
    spent = [
        sum(1 + (slow and front <= beat < front + count) for beat in range(group * beats, (group + 1) * beats))
        for group in range(groups)
    ]
    last = first + (layer.made[2] - 1) * layer.stride
    return Walk(
        layer, margin, first, first // layer.stride, bits, layer.kernel, layer.made[1], last // share.pixels + 1,
        groups, slices, chunks, work, beats, -(-layer.made[0] // share.beat), (front, front + count), slow,
        max(work, *spent),
    )  # fmt: skip
