"""Plan of a matrix-vector unit: what follows from its shape and folding, for the hardware and for its cost alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from amaranth.hdl import Cat, Shape, Value

from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.pipeline import select_latency
from popstream.hw.lib.planes import bit_planes, plane_pairs
from popstream.hw.lib.popcount import AdderTree, lane_sums
from popstream.hw.unit.bitplane import MacTerm, XnorTerm
from popstream.model.manifest import Node, weight_integers

__all__ = ["MatVecPlan", "accumulator", "weight_matrix"]

LANES_PER_COPY, MULTIPLIERS_PER_COPY = 1536, 18  # loads on one copy of the weight address


def weight_matrix(node: Node) -> np.ndarray:
    """Weight codes [Co, N] in the order of a window's codes: (ky*K + kx)*C + c."""
    weight = node.tensors["weight"]
    return (weight.transpose(0, 2, 3, 1) if weight.ndim == 4 else weight).reshape(len(weight), -1)


def accumulator(
    weights: np.ndarray,
    weight_bits: int,
    act_bits: int,
    arithmetic: str,
    kind: str = "odd",
    bounds: np.ndarray | None = None,
) -> tuple[Shape, np.ndarray]:
    """Shape of the sums of MatVec, and its correction int64 [Co]; `bounds` are weight codes [rows, N] that
    the shape is to hold, by default `weights` [Co, N].
    """
    top_weight, top_code = (1 << weight_bits) - 1, (1 << act_bits) - 1
    bounds = weights if bounds is None else bounds
    if arithmetic == "lanes" and kind == "odd":
        return lane_sums(weights, top_weight, top_code, bounds)
    integers = weight_integers(bounds, weight_bits, kind)
    high = top_code * int(integers.clip(min=0).sum(axis=1).max())
    low = top_code * int(integers.clip(max=0).sum(axis=1).min())
    return AdderTree.shape_of(min(low, -1), high), np.zeros(len(weights), dtype=np.int64)


@dataclass(frozen=True)
class MatVecPlan:
    """Sizes and latencies of MatVec; parameters as there, `products` and `channels` those of the weights."""

    products: int
    channels: int
    weight_bits: int
    act_bits: int
    simd: int
    pe: int
    arithmetic: str = "lanes"
    planes: int = 1
    lanes: int = 1
    pes_per_copy: int = 1
    turns: bool = False
    kind: str = "odd"
    levels: int = 1

    @staticmethod
    def pes(simd: int, pe: int, arithmetic: str, planes: int) -> int:
        """Output channels that share a copy of the codes and of the weight address: LANES_PER_COPY lanes at most, or
        MULTIPLIERS_PER_COPY, which lie farther from one another.
        """
        most = LANES_PER_COPY if arithmetic == "lanes" else MULTIPLIERS_PER_COPY
        return min(pe, max(1, most // (simd * planes)))

    @property
    def groups(self) -> int:
        """Channel groups a window."""
        return self.channels // self.pe

    @property
    def chunks(self) -> int:
        """Chunks of `simd` codes a window."""
        return self.products // self.simd

    @property
    def beats(self) -> int:
        """Beats in which a group leaves."""
        return self.pe // self.lanes

    @cached_property
    def steps(self) -> list[tuple[int, int]]:
        """(k, m) of each step of a group."""
        return plane_pairs(self.weight_bits, self.act_bits, self.planes) if self.arithmetic == "lanes" else [(0, 0)]

    @property
    def group_cycles(self) -> int:
        return self.chunks * len(self.steps)

    @property
    def accumulates(self) -> bool:
        """Whether a group's sum is added up in registers: not one of a single cycle, unless it is subtracted there."""
        return self.group_cycles > 1 or self.subtracts

    @property
    def subtracts(self) -> bool:
        """Whether the highest plane of weights counts below zero."""
        return self.arithmetic == "lanes" and self.kind == "signed"

    @property
    def cycles(self) -> int:
        """Cycles a window."""
        return self.groups * self.group_cycles

    @property
    def copies(self) -> int:
        """Copies of the codes and of the weight address, each a cycle later than the one before."""
        return -(-self.pe // self.pes_per_copy)

    @property
    def pes_of_copies(self) -> list[int]:
        """Output channels of each copy."""
        return [min(self.pes_per_copy, self.pe - first) for first in range(0, self.pe, self.pes_per_copy)]

    @property
    def plane_bits(self) -> int:
        """Bits that choose among the planes of a code."""
        return (self.act_bits // self.planes - 1).bit_length() if self.arithmetic == "lanes" else 0

    @property
    def choices(self) -> int:
        """Chunks and choices of planes of which the lanes see one."""
        return (1 if self.turns else self.chunks) << self.plane_bits

    def views(self, codes: Value, split: Callable[[Value, int], list[Value]] = bit_planes) -> list[Value]:
        """What the lanes may see of a window's codes: choice p of planes of chunk j, at j * 2**plane_bits + p; mac:
        chunk j. `split` gives a chunk's planes.
        """
        bits, simd = self.act_bits, self.simd
        chunks = range(1 if self.turns else self.chunks)
        if self.arithmetic == "mac":
            return [codes.word_select(chunk, simd * bits) for chunk in chunks]
        views = []
        for chunk in chunks:
            planes = split(codes.word_select(chunk, simd * bits), bits)
            some = [Cat(planes[m : m + self.planes]) for m in range(0, bits, self.planes)]
            views += some + some[-1:] * ((1 << self.plane_bits) - len(some))
        return views

    def chunked(self, near: Sequence[int]) -> list[int]:
        """A permutation of the window's codes, cut into chunks so that choices are made among neighbours."""
        return [near[lane * self.chunks + chunk] for chunk in range(self.chunks) for lane in range(self.simd)]

    @property
    def select(self) -> int:
        """Cycles of that choice."""
        return select_latency(self.choices)

    @property
    def words(self) -> int:
        """Words of the weight memory."""
        return self.groups * self.chunks * (self.weight_bits if self.arithmetic == "lanes" else 1)

    @property
    def word_bits(self) -> int:
        """Bits that one output channel takes of a word."""
        return self.simd * (1 if self.arithmetic == "lanes" else self.weight_bits)

    @property
    def total(self) -> int:
        """Cycles from the issue of a group's last chunk to its total in the first copy."""
        if self.arithmetic == "lanes":
            term = XnorTerm.latency_of(self.simd, self.planes, self.levels)
        else:
            term = MacTerm.latency_of(self.simd)
        return self.select + term + self.accumulates

    @property
    def done(self) -> int:
        """The same for all copies."""
        return self.total + self.copies - 1

    @property
    def latency(self) -> int:
        """Cycles from the issue of a group's last chunk until its last beat is valid at the output."""
        return self.done + (self.beats if self.beats > 1 else 0) + StreamFifo.latency_of(2)

    @property
    def credits(self) -> int:
        """Groups that may be under way."""
        return 1 + -(-(self.latency + 1) // self.group_cycles)

    @property
    def depth(self) -> int:
        """Beats in the output FIFO."""
        return self.credits * self.beats
