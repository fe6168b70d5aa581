"""Sizes of a shared stage: the walk over each layer, the shapes of its numbers, and what that costs in cycles."""

from __future__ import annotations

import math
from functools import cached_property

from amaranth.hdl import Shape, signed

from popstream.hw.folding.fold import FoldingError, Share
from popstream.hw.folding.layers import Chain, Layer
from popstream.hw.folding.room import Bounds, Room
from popstream.hw.folding.stage_check import check_share
from popstream.hw.folding.stage_memory import StageMemory
from popstream.hw.folding.walk import Walk, direct_range, lane_range, walk_of, widest_range
from popstream.hw.lib.multiply import MULTIPLIER_BITS, Multiplier
from popstream.hw.lib.planes import plane_pairs
from popstream.hw.lib.table import Table, range_shape
from popstream.model.manifest import Node, signed_width

__all__ = ["BEND", "ENTER", "POOL", "READ", "WAITING", "StagePlan"]

READ = 6
"""Cycles from the choice of a chunk to its codes and weights (hw.shared.codes)."""

WAITING = 16
"""Beats of input that wait for their turn (hw.shared.stage)."""

VALUE = 7
"""Cycles from a beat of sums to its value, where a product takes two (hw.shared.finish)."""

ENTER = 2
"""Cycles from a beat that comes in to its value's being in a register (hw.shared.enter)."""

BEND = 5
"""Cycles that a PReLU takes (hw.shared.bend)."""

STREAMS = "bits of streams"  # of a Room

POOL = 8
"""Cycles from the last word that a max-pooling reads to its last effect, and two (hw.shared.squares)."""


class StagePlan(StageMemory):
    """All that follows from the layers and a Share.

    Parameters
    ----------
    chain, share.
    bounds : of a stage whose layers can be exchanged, with all that was trained (`reload`): what is built depends on
        them alone, not on the layers, which have to be within them.

    Attributes
    ----------
    room : gives the numbers of the bounds, or the layers' own.
    kernel, signed : of the largest kernel; whether lanes are those of signed weights.
    code_bits, made_bits : of all codes, and of those that are made here.
    kinds : planes of weights and of codes that layers go through, each once. steps_of : (k, m) of each step of a kind.
    steps : of all kinds.
    walks : one for each layer.
    narrow, bends, pools, reduces : whether smaller kernels need their outer columns cleared; whether there are PReLUs,
    max-poolings, skips of stride 2.
    margin, low : columns ahead of the images in memory, None where layers differ; the most of them, and half a kernel.
    columns, width, slices : that a layer goes over, that it takes, of its input's channels, at most.
    """

    def __init__(self, chain: Chain, share: Share, bounds: Bounds | None = None) -> None:
        convs = [layer.conv for layer in chain.layers if layer.conv is not None]
        self.reload = bounds is not None
        self.room = room = Room(chain.name, bounds)
        self.kernel = room.most("size of a kernel", max(conv["kernel"] for conv in convs))
        super().__init__(chain, share, self.kernel)
        self.signed = room.any("signed weights", any(conv["weights"] == "signed" for conv in convs))
        self.code_bits = max(conv["act_bits"] for conv in convs)
        marks = [layer.threshold for layer in self.layers] + [chain.threshold]
        self.made_bits = room.most(
            "bits of codes that are made", max((mark["bits"] for mark in marks if mark is not None), default=0)
        )
        self.code_bits = room.most("bits of codes", max(self.code_bits, self.made_bits))
        check_share(chain, share, self.code_bits)
        self.walks = [self._walk(layer) for layer in self.layers]
        if self.reload:
            self._fix()
        self.kinds: list[tuple[int, int]] = room.among(
            "planes of weights and codes", [walk.bits for walk in self.walks if walk.layer.conv is not None]
        )
        self.steps_of = {kind: plane_pairs(*kind, share.planes) for kind in self.kinds}
        self.steps = [pair for steps in self.steps_of.values() for pair in steps]
        self._measure()

    def _fix(self) -> None:
        """What comes in and leaves is built in."""
        chain, share, same, last = self.chain, self.share, self.room.same, self.layers[-1]
        same("size of the share", [share.slice, share.pe, share.pixels, share.planes, share.beat, share.apart,
                                   share.levels])  # fmt: skip
        for what, node, shape in (("comes in", chain.source, chain.source.shape), ("leaves", chain.end, last.made)):
            same(f"kind of what {what}", node.kind)
            same(f"bits of what {what}", 0 if node.kind == "acc" else node.bits)
            same(f"channels, height and width of what {what}", shape)
        same("thresholds on what comes in", chain.threshold is not None)
        same("stride of the last layer", last.stride)
        same("columns ahead of what leaves", self.walks[-1].first)
        same("what comes in is kept as codes", self.source_codes in self.codes)
        same("what comes in is kept as a stream", self.source in self.streams)

    def _measure(self) -> None:
        """What there is somewhere in the layers, and how much of it at most."""
        most, any_of, walks = self.room.most, self.room.any, self.walks
        kernels = {walk.kernel for walk in walks if walk.layer.conv is not None}
        strides = [layer.skip.stride for layer in self.layers if layer.skip]
        margins = self.room.among("columns ahead of an image", [walk.margin for walk in walks])
        # AND lanes have weights of 0 in the outer columns of a smaller kernel.
        self.narrow = any_of("smaller kernels beside", kernels != {self.kernel}) and not self.signed
        self.bends = any_of("PReLU", any(layer.prelu is not None for layer in self.layers))
        self.pools = any_of("max-pooling", any(layer.pools for layer in self.layers))
        self.reduces = any_of("shortcut of stride 2", 2 in strides)
        self.margin = margins[0] if len(margins) == 1 else None
        self.low = self.kernel // 2 + max(margins)
        self.columns = most("columns of a layer", max(self.share.pixels * walk.columns for walk in walks))
        self.width = most("width of what a layer takes", max(walk.layer.given[2] for walk in walks))
        self.slices = most("slices of input channels", max(walk.slices for walk in walks))

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
        bits = self._stream_bits()
        if bits:
            self.room.same(STREAMS, bits)
        elif self.room.bounds is not None:
            bits = self.room.bounds.same.get(STREAMS, 0)
        return bits

    def _stream_bits(self) -> int:
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
        ranges = [direct_range(layer, self.reload) for layer in self.layers if layer.direct]
        own = max([self.stream_bits, 2, *(signed_width(low, high) for low, high in ranges)])
        return self.room.most("bits of values", own)

    @property
    def end_bits(self) -> int:
        """Of what leaves."""
        return self.value_bits if self.chain.end.kind == "acc" else self.stream_bits

    @cached_property
    def sum_shape(self) -> Shape:
        """Of the raw sums, all layers'."""
        convs = [walk for walk in self.walks if walk.layer.conv is not None]
        of = widest_range if self.reload else lane_range
        ranges = [of(walk.layer, walk.bits[1], self.signed)[:2] for walk in convs]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        low = -self.room.most("least raw sum, below zero", -min(low, -1))
        high = self.room.most("greatest raw sum", high)
        return range_shape(low if self.signed else 0, high)

    @property
    def code_words(self) -> int:
        return self.room.most("words of a bank of codes", super().code_words)

    @property
    def stream_words(self) -> int:
        return self.room.most("words of a bank of streams", super().stream_words)

    @property
    def weight_words(self) -> int:
        return sum(walk.words for walk in self.walks)

    @cached_property
    def constant_words(self) -> int:
        """Words of a layer's requantization and thresholds, at most, and of the input's thresholds."""
        own = max(-(-self.source_shape[0] // self.share.beat), *(walk.groups * walk.beats for walk in self.walks))
        return self.room.most("words of a layer's constants", own)

    # Cycles

    @property
    def least(self) -> int:
        """Cycles an image whose input is there in time."""
        return sum(self.spent(walk) for walk in self.walks)

    def spent(self, walk: Walk) -> int:
        """Cycles from one layer to the next; those that the last one's values take to leave, if these are more."""
        cycles = max(walk.cycles, self.leaving) if walk is self.walks[-1] else walk.cycles
        return cycles + self.between + self.results(walk) + sum(map(self.pooling, walk.layer.pools))

    @property
    def leaving(self) -> int:
        """Cycles in which an image leaves."""
        channels, height, width = self.layers[-1].made
        return height * width * (channels // self.share.beat)

    @cached_property
    def blocks(self) -> int:
        """Groups of pixels for which there is room where they leave: as many as are on their way while one does."""
        last = self.walks[-1]
        group, leaves = last.groups * last.length, -(-self.leaving // (last.rows * last.columns))
        under_way = self.between + group + leaves
        return self.room.most("groups of pixels that leave", max(2, -(-under_way // max(group, leaves))))

    def pooling(self, node: Node) -> int:
        """Cycles of a max-pooling: a word of a pixel each."""
        channels, height, width = node.shape
        words = int(height * width * node["size"] ** 2 * -(-channels // self.share.slice))
        return words + POOL + self.enter + self.told - 1

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
        return READ + tree + self.drain + 7 + self.told

    @property
    def storage(self) -> str:
        """Of what is in LUTs, unless it can be exchanged (hw.lib.table)."""
        return "reload" if self.reload else "logic"

    @property
    def told(self) -> int:
        """Cycles from a layer's number to its row of a program (hw.shared.program)."""
        return Table.latency_of(1, self.storage)

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

    @property
    def enter(self) -> int:
        """Cycles from the one in which a beat of the input is taken to its last effect on memory."""
        return ENTER + self.made_bits + 4
