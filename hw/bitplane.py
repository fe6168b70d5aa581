"""Arithmetic of one output channel on one chunk of codes: XNOR-popcount on bit planes, or multipliers."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.popcount import AdderTree, PopCount

__all__ = ["MacTerm", "XnorTerm", "plane_pairs"]


def plane_pairs(weight_bits: int, act_bits: int) -> list[tuple[int, int]]:
    """All pairs (k, m) of a weight plane and a code plane, the heaviest k + m first."""
    pairs = [(k, m) for k in range(weight_bits) for m in range(act_bits)]
    return sorted(pairs, key=lambda pair: -sum(pair))


class XnorTerm(wiring.Component):
    """o = popcount(weights XNOR codes) over `simd` lanes of one bit; free-running, after `latency` cycles.

    Members
    -------
    codes, weights : In(simd), one plane of each
    o : Out(simd.bit_length())
    """

    def __init__(self, simd: int) -> None:
        self.simd = simd
        self.latency = self.latency_of(simd)
        super().__init__({"codes": In(simd), "weights": In(simd), "o": Out(simd.bit_length())})

    @staticmethod
    def latency_of(simd: int) -> int:
        """Cycles from the operands to `o`."""
        return 1 + PopCount.latency_of(simd)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        match = Signal(self.simd)
        m.d.sync += match.eq(~(self.codes ^ self.weights))
        m.submodules.count = count = PopCount(self.simd)
        m.d.comb += [count.i.eq(match), self.o.eq(count.o)]
        return m


class MacTerm(wiring.Component):
    """o = sum over `simd` lanes of (2*q - (2**W - 1)) * a; free-running, after `latency` cycles.

    A lane's weight q is given with its top bit inverted: with a 1 appended below, that is 2*q - (2**W - 1) in two's
    complement of W+1 bits.

    Members
    -------
    codes : In(simd*A), a of each lane
    weights : In(simd*W), q of each lane, top bit inverted
    o : Out(signed)
    """

    def __init__(self, simd: int, weight_bits: int, act_bits: int) -> None:
        self.simd = simd
        self.weight_bits = weight_bits
        self.act_bits = act_bits
        self.latency = self.latency_of(simd)
        high = ((1 << weight_bits) - 1) * ((1 << act_bits) - 1)
        self._tree = (-high, high, simd)
        super().__init__(
            {
                "codes": In(simd * act_bits),
                "weights": In(simd * weight_bits),
                "o": Out(AdderTree.shape_of(simd * -high, simd * high)),
            }
        )

    @staticmethod
    def latency_of(simd: int) -> int:
        """Cycles from the operands to `o`."""
        return 1 + AdderTree.latency_of(simd)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.tree = tree = AdderTree(*self._tree)
        for lane in range(self.simd):
            weight = Cat(1, self.weights.word_select(lane, self.weight_bits)).as_signed()
            product = Signal(tree.i[lane].shape(), name=f"product{lane}")
            m.d.sync += product.eq(weight * self.codes.word_select(lane, self.act_bits))
            m.d.comb += tree.i[lane].eq(product)
        m.d.comb += self.o.eq(tree.o)
        return m
