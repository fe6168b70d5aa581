"""Where the values of a shared stage lie: areas of its two memories, and when the next image may take them over.

pixels in a row:   0 1 2 3 | 4 5 6 7 | ..      a stream's word: `beat` channels of a pixel, in the bank of its
stream banks (P):  0 1 2 3   0 1 2 3           column; of all banks a beat is read or written at once
code banks (B):    0 1 2 3   4 5 6 7 | 0 1 ..  a code word: `slice` channels; B >= P + K - 1 of them are a row of
                                               the kernel for P pixels
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from popstream.hw.folding.fold import Share
from popstream.hw.folding.layers import Chain
from popstream.hw.folding.memory_map import Area, place

__all__ = ["StageMemory"]


class StageMemory:
    """The memories of a chain's stage.

    Attributes
    ----------
    chain, layers, share. source, source_shape : the node whose values come in.
    banks : of the code memory.
    margins : columns that are not used at the beginning of each row of a node's values.
    codes, streams : where each value lies in the code memory's and the stream memory's banks (memory_map.Area, by name
        of the node of the codes, and of the stream).
    code_words, stream_words : words of a bank.
    own, own_words : whether the input's stream has banks of its own, and their words.
    open_rows : rows of the next image that may be written into memory once each layer is done.
    """

    def __init__(self, chain: Chain, share: Share, kernel: int) -> None:
        self.chain = chain
        self.layers = chain.layers
        self.share = share
        self.source, self.source_shape = chain.source.name, chain.source.shape
        self.banks = 1 << (share.pixels + kernel - 2).bit_length()
        self.margins = {self.source: 0, self.source_codes: 0}

    def row_words(self, width: int, bank_columns: int, words: int) -> int:
        """Words of a bank for a row of so many pixels of so many words."""
        return -(-width // bank_columns) * words

    def _node(self, name: str) -> tuple[int, int, int]:
        """The shape of a value or of codes that the stage holds."""
        for layer in self.layers:
            for node in (layer.threshold, *layer.pools):
                if node is not None and node.name == name:
                    return node.shape
            if layer.value == name:
                return layer.made
        return self.source_shape

    def code_row(self, name: str) -> int:
        """Words of a code bank for a row of these codes."""
        channels, _, width = self._node(name)
        return self.row_words(self.margins[name] + width, self.banks, -(-channels // self.share.slice))

    def stream_row(self, name: str) -> int:
        """Words of a stream bank for a row of this stream."""
        channels, _, width = self._node(name)
        return self.row_words(self.margins[name] + width, self.share.pixels, -(-channels // self.share.beat))

    @cached_property
    def phases(self) -> list[tuple[int, int | None]]:
        """What is done one after another: a layer, by its index, and the index of each of its max-poolings."""
        return [(at, pool) for at, layer in enumerate(self.layers) for pool in (None, *range(len(layer.pools)))]

    @property
    def source_codes(self) -> str:
        """The node whose codes are there once the input is, or the input's own."""
        return self.chain.threshold.name if self.chain.threshold else self.source

    def _last(self, codes: bool) -> dict[str, int]:
        """The last phase in which codes, or streams, are read, by their nodes."""
        last: dict[str, int] = {}
        for phase, (at, pool) in enumerate(self.phases):
            layer = self.layers[at]
            if pool is not None:
                read = layer.pools[pool].inputs[0] if codes else None
            elif codes:
                read = layer.codes.name if layer.codes else None
            else:
                read = layer.skip.source if layer.skip else None
            if read is not None:
                last[read] = phase
        return last

    @cached_property
    def _codes(self) -> tuple[dict[str, Area], int]:
        """Areas of the code memory, by first and last phase of use: -1 is the input's coming in."""
        last, begin = self._last(True), self.source_codes
        areas = []
        if begin in last:
            areas.append(Area(begin, self.code_row(begin) * self.source_shape[1], -1, last[begin]))
        for phase, (at, pool) in enumerate(self.phases):
            layer = self.layers[at]
            node = layer.threshold if pool is None else layer.pools[pool]
            if node is not None:
                areas.append(Area(node.name, self.code_row(node.name) * node.shape[1], phase, last[node.name]))
        return place(areas, self.share.apart)

    @cached_property
    def _streams(self) -> tuple[dict[str, Area], int]:
        """Areas of the stream memory. What takes a skip's place word by word may lie over it."""
        areas, last = [], self._last(False)
        if self.source in last:
            areas.append(Area(self.source, self.stream_row(self.source) * self.source_shape[1], -1, last[self.source]))
        for phase, (at, pool) in enumerate(self.phases):
            layer = self.layers[at]
            if pool is None and layer.value in last:
                skip = layer.skip
                alike = skip and layer.stride == 1 and not skip.pad_front and skip.channels == layer.made[0]
                over = skip.source if skip and alike and last[skip.source] == phase else None
                size = self.stream_row(layer.value) * layer.made[1]
                areas.append(Area(layer.value, size, phase, last[layer.value], over))
        if not self.own:
            return place(areas, False) if areas else ({}, 0)
        placed, words = place(areas[1:], False) if areas[1:] else ({}, 0)
        return {self.source: areas[0], **placed}, words

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
    def own(self) -> bool:
        """Whether the input's stream has banks of its own."""
        return self.share.apart and self.source in self._last(False)

    @property
    def own_words(self) -> int:
        """Words of one of them."""
        return self.streams[self.source].size if self.own else 0

    def entries(self) -> Iterator[tuple[Area, dict[str, Area], int]]:
        """Of each memory into which the input comes: its area, all areas, and the words of its rows."""
        if self.source_codes in self.codes:
            yield self.codes[self.source_codes], self.codes, self.code_row(self.source_codes)
        if self.source in self.streams:
            entry = self.streams[self.source]
            yield entry, {self.source: entry} if self.own else self.streams, self.stream_row(self.source)

    @cached_property
    def open_rows(self) -> list[int]:
        """A row is open once nothing of this image that is to be read or written lies where it goes."""
        rows = [self.source_shape[1]] * len(self.phases)
        for entry, areas, row in self.entries():
            for area in areas.values():
                low = max(area.at - entry.at, 0)
                if low < entry.size and area.at + area.size > entry.at:
                    for done in range(area.last):
                        rows[done] = min(rows[done], low // row)
        ends = [phase for phase, (at, _) in enumerate(self.phases) if (*self.phases, (-1, None))[phase + 1][0] != at]
        return [rows[phase] for phase in ends]
