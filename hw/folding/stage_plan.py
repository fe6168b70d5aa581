"""Sizes of a shared stage: the walk over each layer, where its values lie in memory, and what that costs in cycles.

pixels in a row:   0 1 2 3 | 4 5 6 7 | ..      a stream's word: `beat` channels of a pixel, in the bank of its
stream banks (P):  0 1 2 3   0 1 2 3           column; of all banks a beat is read or written at once
code banks (B):    0 1 2 3   4 5 6 7 | 0 1 ..  a code word: `slice` channels; B >= P + K - 1 of them are a row of
                                               the kernel for P pixels
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from popstream.hw.folding.chain import Layer
from popstream.hw.folding.fold import FoldingError
from popstream.hw.folding.memory_map import Area, place
from popstream.hw.folding.share import Share
from popstream.hw.lib.planes import plane_pairs

__all__ = ["BLOCKS", "FINISH", "READ", "WAITING", "StagePlan", "Walk"]

READ = 6
"""Cycles from the choice of a chunk to its codes and weights (hw.shared.codes)."""

WAITING, BLOCKS = 16, 2
"""Beats of input that wait for their turn, and groups of pixels of output (hw.shared.stage, hw.shared.emit)."""

FINISH = 8
"""Cycles from a beat of sums to its codes in memory, and one for each of their bits (hw.shared.finish)."""


@dataclass(frozen=True)
class Walk:
    """How one layer is gone over: rows of output, in each `columns` groups of pixels, in each `groups` of channels.

    chunks : of a step. slices : of its input's channels. beats : of a group's results; only the first `real` of all
    groups' stand for channels that there are. skip_beats : [first, past the last) of those to which a skip is added.
    length : cycles of a group. slow : whether two words are read for a skip.
    """

    layer: Layer
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


class StagePlan:
    """All that follows from the layers and a Share.

    Attributes
    ----------
    layers, share, kernel, weight_bits, act_bits.
    steps : (k, m) of each step.
    banks : of the code memory.
    walks : one for each layer.
    codes, streams : where each value lies in the code memory's and the stream memory's banks (memory_map.Area, by name
        of the value whose codes they are, and of the stream).
    code_words, stream_words : words of a bank.
    open_rows : rows of the next image that may be written into memory once each layer is done.
    """

    def __init__(self, layers: Sequence[Layer], share: Share) -> None:
        self.layers = list(layers)
        self.share = share
        conv = layers[0].conv
        self.kernel, self.weight_bits, self.act_bits = conv["kernel"], conv["weight_bits"], conv["act_bits"]
        self._check()
        self.steps = plane_pairs(self.weight_bits, self.act_bits, share.planes)
        self.banks = 1 << (share.pixels + self.kernel - 2).bit_length()
        self.walks = [self._walk(layer) for layer in layers]
        self.source = layers[0].threshold.inputs[0]
        self.source_shape = layers[0].given

    def _check(self) -> None:
        share, name = self.share, self.layers[0].conv.name
        for what in ("slice", "pe", "pixels", "planes", "beat"):
            if type(getattr(share, what)) is not int or getattr(share, what) < 1:
                raise FoldingError(f"Stage of {name!r}: {what} must be at least 1, not {getattr(share, what)!r}")
        if share.pixels & (share.pixels - 1):
            raise FoldingError(f"Stage of {name!r}: pixels must be a power of two, not {share.pixels}")
        if share.pe % share.beat or share.slice % share.beat:
            raise FoldingError(
                f"Stage of {name!r}: beat must divide pe ({share.pe}) and slice ({share.slice}), {share.beat} does not"
            )
        if self.act_bits % share.planes:
            raise FoldingError(f"Stage of {name!r}: planes must divide {self.act_bits}, {share.planes} does not")
        for layer in self.layers:
            if layer.skip and layer.skip.stride != layer.conv["stride"]:
                raise FoldingError(
                    f"Node {layer.value!r}: in a shared stage a stride of {layer.conv['stride']} adds what takes the "
                    f"same steps, not {layer.skip.node or layer.skip.source!r}"
                )
            if layer.conv["stride"] == 2 and share.pixels < 2:
                raise FoldingError(f"Node {layer.conv.name!r}: a stride of 2 takes 2 pixels at least, not 1")
            counts = {"channels": layer.given[0], "output channels": layer.made[0]}
            if layer.read:
                counts[f"channels ahead of {layer.read.source!r}"] = layer.read.pad_front
            for what, count in counts.items():
                if count % share.beat:
                    raise FoldingError(
                        f"Node {layer.conv.name!r}: beat must divide its {count} {what}, {share.beat} does not"
                    )

    def _walk(self, layer: Layer) -> Walk:
        share = self.share
        slices = -(-layer.given[0] // share.slice)
        groups, beats = -(-layer.made[0] // share.pe), share.pe // share.beat
        chunks = self.kernel * slices
        skip = layer.read
        front, count = (skip.pad_front // share.beat, skip.channels // share.beat) if skip else (0, 0)
        slow = bool(skip and skip.average)
        spent = [
            sum(1 + (slow and front <= beat < front + count) for beat in range(group * beats, (group + 1) * beats))
            for group in range(groups)
        ]
        work = len(self.steps) * chunks
        return Walk(
            layer, layer.made[1], -(-layer.given[2] // share.pixels), groups, slices, chunks, work, beats,
            layer.made[0] // share.beat, (front, front + count), slow, max(work, *spent),
        )  # fmt: skip

    def row_words(self, width: int, bank_columns: int, words: int) -> int:
        """Words of a bank for a row of so many pixels of so many words."""
        return -(-width // bank_columns) * words

    def code_row(self, shape: tuple[int, int, int]) -> int:
        """Words of a code bank for a row of a value of this shape."""
        return self.row_words(shape[2], self.banks, -(-shape[0] // self.share.slice))

    def stream_row(self, shape: tuple[int, int, int]) -> int:
        """Words of a stream bank for a row of a value of this shape."""
        return self.row_words(shape[2], self.share.pixels, shape[0] // self.share.beat)

    @cached_property
    def _last(self) -> dict[str, int]:
        """The last layer that adds each stream; the input's codes alone are read in none, -1."""
        last = {self.source: -1}
        for index, layer in enumerate(self.layers):
            if layer.read:
                last[layer.read.source] = index
        return last

    @cached_property
    def _codes(self) -> tuple[dict[str, Area], int]:
        """Areas of the code memory, by first and last layer of use: -1 is the input's coming in."""
        areas = [Area(self.source, self.code_row(self.source_shape) * self.source_shape[1], -1, 0)]
        for index, layer in enumerate(self.layers[:-1]):
            areas.append(Area(layer.value, self.code_row(layer.made) * layer.made[1], index, index + 1))
        return place(areas, self.share.apart)

    @cached_property
    def _streams(self) -> tuple[dict[str, Area], int]:
        """Areas of the stream memory. What takes a skip's place word by word may lie over it."""
        areas, last = [], self._last
        if last[self.source] >= 0:
            size = self.stream_row(self.source_shape) * self.source_shape[1]
            areas.append(Area(self.source, size, -1, last[self.source]))
        for index, layer in enumerate(self.layers[:-1]):
            stored, skip = layer.stored, layer.skip
            if stored in last:
                alike = skip and skip.stride == 1 and not skip.pad_front and skip.channels == layer.made[0]
                over = skip.source if skip and alike and last[skip.source] == index else None
                areas.append(Area(stored, self.stream_row(layer.made) * layer.made[1], index, last[stored], over))
        return place(areas, self.share.apart) if areas else ({}, 0)

    @property
    def codes(self) -> dict[str, Area]:
        return self._codes[0]

    @property
    def code_words(self) -> int:
        return self._codes[1]

    @property
    def streams(self) -> dict[str, Area]:
        return self._streams[0]

    @property
    def stream_words(self) -> int:
        return self._streams[1]

    @cached_property
    def open_rows(self) -> list[int]:
        """See above: a row is open once nothing of this image that is to be read or written lies where it goes."""
        height = self.source_shape[1]
        rows = [height] * len(self.layers)
        sizes = ((self.codes, self.code_row(self.source_shape)), (self.streams, self.stream_row(self.source_shape)))
        for areas, row in sizes:
            if self.source not in areas:
                continue
            entry = areas[self.source]
            for area in areas.values():
                low = max(area.at - entry.at, 0)
                if low < entry.size and area.at + area.size > entry.at:
                    for done in range(area.last):
                        rows[done] = min(rows[done], low // row)
        return rows

    @property
    def weight_words(self) -> int:
        return sum(walk.groups * walk.chunks * self.weight_bits for walk in self.walks)

    @property
    def constant_words(self) -> int:
        """Words of a layer's requantization and thresholds, at most, and of the input's thresholds."""
        return max(self.source_shape[0] // self.share.beat, *(walk.groups * walk.beats for walk in self.walks))

    @property
    def least(self) -> int:
        """Cycles an image whose input is there in time."""
        return sum(walk.cycles + self.between + self.results(walk) for walk in self.walks)

    @staticmethod
    def results(walk: Walk) -> int:
        """Cycles in which a layer's constants are read ahead of it, and its last group's results leave."""
        return walk.beats * (1 + walk.slow) + walk.groups * walk.beats

    @property
    def cycles(self) -> int:
        """Cycles of an image in the layers, without what lies between them."""
        return sum(walk.cycles for walk in self.walks)

    @property
    def between(self) -> int:
        """Cycles from the last one of a layer to the first one of the next: all that is made has to be in memory."""
        leaves = self.kernel * self.share.slice // 2 + 1
        tree = (leaves - 1).bit_length() + (self.share.planes - 1).bit_length()  # at most, of hw.lib.popcount
        return READ + tree + self.drain + 8

    @property
    def drain(self) -> int:
        """Cycles from the one in which a beat is decided on to its last effect on memory."""
        return FINISH + self.act_bits + 3

    def interval(self, supply: int) -> int:
        """Cycles an image, where a pixel of the input comes every `supply` cycles at best, and its rows are let in as
        far as they are open.
        """
        channels, height, width = self.source_shape
        row = width * max(supply, channels // self.share.beat)
        now, loaded = 0, 0.0  # rows of the next image
        for walk, rows in zip(self.walks, [0, *self.open_rows], strict=False):
            spent = walk.cycles + self.between + self.results(walk)
            loaded = min(rows, loaded + spent / row) if rows else 0.0
            now += spent
        return now + math.ceil((height - loaded) * row) + self.drain
