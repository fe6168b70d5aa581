"""Arithmetic of one output channel on one chunk of codes: popcount of XNOR or AND on bit planes, or multipliers."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.carry import And, Xor, plain
from popstream.hw.lib.multiply import Multiplier
from popstream.hw.lib.popcount import AdderTree, PopCount
from popstream.model.manifest import weight_integers

__all__ = ["AndTerm", "MacTerm", "XnorTerm", "product_limits"]


def extremes(weight_bits: int, kind: str) -> np.ndarray:
    """The codes of the least and of the greatest weight, [2]."""
    least = 1 << weight_bits - 1 if kind == "signed" else 0
    return np.array([least, (least - 1) % (1 << weight_bits)])


class _LaneTerm(wiring.Component):
    """o = sum over m < planes of 2**m * popcount(weights `gate` codes[m]); free-running, after `latency` cycles.

    Parameters
    ----------
    simd : lanes of a plane.
    planes : code planes, which share the weights.
    merged : the weights are functions of few bits, to be computed in the LUT of the gate; else they come from registers
        and the gate is left to the population count.
    levels : levels of adders from one register to the next.

    Attributes
    ----------
    gate : Xor or And. operand : the name of the weights' member.
    """

    gate: type[Xor] | type[And]
    operand: str

    def __init__(self, simd: int, planes: int = 1, merged: bool = False, levels: int = 1) -> None:
        self.simd = simd
        self.planes = planes
        self.merged = merged
        self.levels = levels
        self.latency = self.latency_of(simd, planes, levels)
        total = Out((simd * ((1 << planes) - 1)).bit_length())
        super().__init__({"codes": In(planes * simd), self.operand: In(simd), "o": total})

    @staticmethod
    def latency_of(simd: int, planes: int = 1, levels: int = 1) -> int:
        """Cycles from the operands to `o`."""
        return PopCount.latency_of(simd, planes, levels)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.count = count = PopCount(self.simd, self.planes, None if self.merged else self.gate, self.levels)
        weights = getattr(self, self.operand)
        if self.merged:
            m.d.comb += count.i.eq(plain(self.gate(self.codes, weights.replicate(self.planes))))
        else:
            m.d.comb += [count.i.eq(weights), count.j.eq(self.codes)]
        m.d.comb += self.o.eq(count.o)
        return m


class XnorTerm(_LaneTerm):
    """o = sum over m < planes of 2**m * popcount(inverted XOR codes[m]), where `inverted` is a weight plane inverted.

    That is the XNOR of weights and codes, as a carry chain takes it. Parameters of _LaneTerm.

    Members
    -------
    codes : In(planes*simd), plane by plane
    inverted : In(simd)
    o : Out(unsigned, to (2**planes - 1)*simd)
    """

    gate, operand = Xor, "inverted"


class AndTerm(_LaneTerm):
    """o = sum over m < planes of 2**m * popcount(weights AND codes[m]). Parameters of _LaneTerm.

    Members
    -------
    codes : In(planes*simd), plane by plane
    weights : In(simd)
    o : Out(unsigned, to (2**planes - 1)*simd)
    """

    gate, operand = And, "weights"


def product_limits(weight_bits: int, act_bits: int, kind: str) -> tuple[int, int]:
    """The least and the greatest product of a weight of this kind and a code; 1 where none is above 0."""
    least, most = (int(w) for w in weight_integers(extremes(weight_bits, kind), weight_bits, kind))
    top = (1 << act_bits) - 1
    return least * top, max(most * top, 1)


class MacTerm(wiring.Component):
    """o = sum over `simd` lanes of w * a; free-running, after `latency` cycles.

    An odd weight's code q is given with its top bit inverted: with a 1 appended below, that is w = 2*q - (2**W - 1) in
    two's complement of W+1 bits. A signed one's is w as it is, of W bits.

    Members
    -------
    codes : In(simd*A), a of each lane
    weights : In(simd*W), q of each lane, of odd weights the top bit inverted
    o : Out(signed)
    """

    def __init__(self, simd: int, weight_bits: int, act_bits: int, kind: str = "odd") -> None:
        self.simd = simd
        self.weight_bits = weight_bits
        self.act_bits = act_bits
        self.kind = kind
        self.latency = self.latency_of(simd)
        low, high = product_limits(weight_bits, act_bits, kind)
        self._tree = (low, high, simd)
        super().__init__(
            {
                "codes": In(simd * act_bits),
                "weights": In(simd * weight_bits),
                "o": Out(AdderTree.shape_of(simd * low, simd * high)),
            }
        )

    @staticmethod
    def latency_of(simd: int) -> int:
        """Cycles from the operands to `o`."""
        widest = (signed(9), unsigned(8))  # of weights, W + 1 bits, and codes: for one DSP block
        return Multiplier.latency_of(*widest) + 1 + AdderTree.latency_of(simd)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.tree = tree = AdderTree(*self._tree)
        products = Signal(tree.i.shape())
        m.d.comb += tree.i.eq(products)
        for lane in range(self.simd):
            code = self.weights.word_select(lane, self.weight_bits)
            weight = (code if self.kind == "signed" else Cat(1, code)).as_signed()
            m.submodules[f"multiplier{lane}"] = multiplier = Multiplier(weight.shape(), self.act_bits)
            m.d.comb += [
                multiplier.a.eq(weight),
                multiplier.b.eq(self.codes.word_select(lane, self.act_bits)),
            ]
            m.d.sync += products[lane].eq(multiplier.o)  # blocks with multipliers are far from one another
        m.d.comb += self.o.eq(tree.o)
        return m
