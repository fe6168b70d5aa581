"""Sizes of a shared stage: the walk over each layer, the shapes of its numbers, and what that costs in cycles."""

from __future__ import annotations

import math
from functools import cached_property

from amaranth.hdl import Shape, signed

from popstream.hw.folding.fold import FoldingError, Share
from popstream.hw.folding.layers import Chain, Layer
from popstream.hw.folding.stage_memory import StageMemory
from popstream.hw.folding.walk import Walk, direct_range, lane_range, walk_of
from popstream.hw.lib.multiply import MULTIPLIER_BITS, Multiplier
from popstream.hw.lib.planes import plane_pairs
from popstream.hw.lib.table import range_shape
from popstream.model.manifest import Node, signed_width

__all__ = ["BEND", "BLOCKS", "POOL", "READ", "WAITING", "StagePlan"]

READ = 6
"""Cycles from the choice of a chunk to its codes and weights (hw.shared.codes)."""

WAITING, BLOCKS = 16, 2
"""Beats of input that wait for their turn, and groups of pixels of output (hw.shared.stage, hw.shared.emit)."""

VALUE = 7
"""Cycles from a beat of sums to its value, where a product takes two (hw.shared.finish)."""

BEND = 5
"""Cycles that a PReLU takes (hw.shared.bend)."""

POOL = 8
"""Cycles from the last word that a max-pooling reads to its last effect, and two (hw.shared.squares)."""


class StagePlan(StageMemory):
    """All that follows from the layers and a Share.

    Attributes
    ----------
    kernel, signed : of the largest kernel; whether lanes are those of signed weights.
    code_bits, made_bits : of all codes, and of those that are made here.
    kinds : planes of weights and of codes that layers go through, each once. steps_of : (k, m) of each step of a kind.
    steps : of all kinds.
    walks : one for each layer.
    """

    def __init__(self, chain: Chain, share: Share) -> None:
        convs = [layer.conv for layer in chain.layers if layer.conv is not None]
        self.kernel = max(conv["kernel"] for conv in convs)
        super().__init__(chain, share, self.kernel)
        self.signed = any(conv["weights"] == "signed" for conv in convs)
        self.code_bits = max(conv["act_bits"] for conv in convs)
        marks = [layer.threshold for layer in self.layers] + [chain.threshold]
        self.made_bits = max((mark["bits"] for mark in marks if mark is not None), default=0)
        self.code_bits = max(self.code_bits, self.made_bits)
        self._check()
        self.walks = [self._walk(layer) for layer in self.layers]
        self.kinds = sorted({walk.bits for walk in self.walks if walk.layer.conv is not None})
        self.steps_of = {kind: plane_pairs(*kind, share.planes) for kind in self.kinds}
        self.steps = [pair for steps in self.steps_of.values() for pair in steps]

    def _check(self) -> None:
        share, name = self.share, self.chain.name
        for what in ("slice", "pe", "pixels", "planes", "beat"):
            if type(getattr(share, what)) is not int or getattr(share, what) < 1:
                raise FoldingError(f"Stage of {name!r}: {what} must be at least 1, not {getattr(share, what)!r}")
        if share.pixels & (share.pixels - 1):
            raise FoldingError(f"Stage of {name!r}: pixels must be a power of two, not {share.pixels}")
        if share.pe % share.beat or share.slice % share.beat:
            raise FoldingError(
                f"Stage of {name!r}: beat must divide pe ({share.pe}) and slice ({share.slice}), {share.beat} does not"
            )
        if share.planes > self.code_bits:
            raise FoldingError(f"Stage of {name!r}: planes must be 1 to {self.code_bits}, not {share.planes}")
        ends = [("it makes", self.chain.end.shape[0])]
        if self.chain.source.kind == "stream":
            ends.append(("come in", self.source_shape[0]))
        for what, count in ends:
            if count % share.beat:
                raise FoldingError(f"Stage of {name!r}: beat must divide the {count} channels that {what}, "
                                   f"{share.beat} does not")  # fmt: skip
        for layer in self.layers:
            if layer.stride == 2 and share.pixels < 2:
                raise FoldingError(f"Node {layer.value!r}: a stride of 2 takes 2 pixels at least, not 1")
            ahead = layer.skip.pad_front if layer.skip else 0
            if ahead % share.beat:
                raise FoldingError(
                    f"Node {layer.value!r}: beat must divide its {ahead} channels ahead of those that are added, "
                    f"{share.beat} does not"
                )

    def _walk(self, layer: Layer) -> Walk:
        """The walk, and the margins of what it makes: in memory, rows begin with columns that are not used."""
        source = layer.codes.name if layer.codes else layer.skip.source if layer.skip else ""
        margin = self.margins[source]
        first = margin + (layer.kernel // 2 - layer.conv["padding"] if layer.conv is not None else 0)
        after = first // layer.stride
        added = layer.skip and (first if layer.skip.stride == layer.stride else after)
        if first % layer.stride or (layer.skip and self.margins[layer.skip.source] != added):
            raise FoldingError(
                f"Node {layer.value!r}: padding of less than half a kernel has moved what it reads by {first} columns, "
                f"which a shared stage cannot {'halve' if first % layer.stride else 'add'}; end the stage ahead of it"
            )
        self.margins[layer.value] = after
        if layer.threshold is not None:
            self.margins[layer.threshold.name] = after
        for pool in layer.pools:
            self.margins[pool.name] = 0
        return walk_of(layer, self.share, self.signed, margin, first)

    def steps_from(self, kind: tuple[int, int]) -> tuple[int, int]:
        """Of a kind, the first step among all, and how many there are."""
        return sum(len(self.steps_of[other]) for other in self.kinds if other < kind), len(self.steps_of[kind])

    @property
    def entry(self) -> int:
        """Channels of a beat that comes in."""
        share, channels = self.share, self.source_shape[0]
        return share.beat if self.chain.source.kind == "stream" else math.gcd(share.beat, channels)

    # Shapes of numbers

    @cached_property
    def stream_bits(self) -> int:
        """R of the streams; 0 where there is none."""
        nodes = [layer.requant for layer in self.layers] + [layer.prelu for layer in self.layers]
        bits = {node["stream_bits"] for node in nodes if node is not None}
        if self.chain.source.kind == "stream":
            bits.add(self.chain.source.bits)
        if len(bits) > 1:
            raise FoldingError(
                f"Stage of {self.chain.name!r}: all streams must have the same bits, not {sorted(bits)}; "
                f"share out the layers by their streams' bits"
            )
        return bits.pop() if bits else 0

    @cached_property
    def value_bits(self) -> int:
        """Of streams, and of sums that are not requantized."""
        ranges = [direct_range(layer) for layer in self.layers if layer.direct]
        return max([self.stream_bits, 2, *(signed_width(low, high) for low, high in ranges)])

    @property
    def end_bits(self) -> int:
        """Of what leaves."""
        return self.value_bits if self.chain.end.kind == "acc" else self.stream_bits

    @cached_property
    def sum_shape(self) -> Shape:
        """Of the raw sums, all layers'."""
        convs = [walk for walk in self.walks if walk.layer.conv is not None]
        ranges = [lane_range(walk.layer, walk.bits[1], self.signed)[:2] for walk in convs]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        return range_shape(min(low, -1) if self.signed else 0, high)

    @property
    def narrow(self) -> bool:
        """Whether smaller kernels need their outer columns cleared: AND lanes have weights of 0 there."""
        kernels = {walk.kernel for walk in self.walks if walk.layer.conv is not None}
        return not self.signed and len(kernels) > 1

    @property
    def bends(self) -> bool:
        """Whether there is a PReLU."""
        return any(layer.prelu is not None for layer in self.layers)

    @property
    def weight_words(self) -> int:
        return sum(walk.words for walk in self.walks)

    @property
    def constant_words(self) -> int:
        """Words of a layer's requantization and thresholds, at most, and of the input's thresholds."""
        return max(-(-self.source_shape[0] // self.share.beat), *(walk.groups * walk.beats for walk in self.walks))

    # Cycles

    @property
    def least(self) -> int:
        """Cycles an image whose input is there in time."""
        return sum(self.spent(walk) for walk in self.walks)

    def spent(self, walk: Walk) -> int:
        """Cycles from one layer to the next."""
        return walk.cycles + self.between + self.results(walk) + sum(map(self.pooling, walk.layer.pools))

    def pooling(self, node: Node) -> int:
        """Cycles of a max-pooling: a word of a pixel each."""
        channels, height, width = node.shape
        return int(height * width * node["size"] ** 2 * -(-channels // self.share.slice)) + POOL + self.drain

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
    def multiplied(self) -> int:
        """Cycles of a product of a sum and a factor."""
        return Multiplier.latency_of(self.sum_shape, signed(MULTIPLIER_BITS))

    @property
    def value(self) -> int:
        """Cycles from a beat of sums to its value."""
        return VALUE - 2 + self.multiplied + BEND * self.bends

    @property
    def drain(self) -> int:
        """Cycles from the one in which a beat is decided on to its last effect on memory: a code's bits, its word."""
        return self.value + self.made_bits + 4

    def interval(self, supply: int) -> int:
        """Cycles an image, where a pixel of the input comes every `supply` cycles at best, and its rows are let in as
        far as they are open.
        """
        channels, height, width = self.source_shape
        row = width * max(supply, channels // self.entry)
        now, loaded = 0, 0.0  # rows of the next image
        for walk, rows in zip(self.walks, [0, *self.open_rows], strict=False):
            spent = self.spent(walk)
            loaded = min(rows, loaded + spent / row) if rows else 0.0
            now += spent
        return now + math.ceil((height - loaded) * row) + self.drain
