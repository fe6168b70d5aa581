"""Pipelined adder trees: of signed or unsigned numbers, and of single bits (population count)."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AdderTree", "PopCount"]


class AdderTree(wiring.Component):
    """o = sum of the `n` numbers in `i`: pairs are added level by level, each level registered.

    Free-running: a sum each cycle, `latency` = ceil(log2(n)) cycles after its numbers (0 for n = 1).

    Parameters
    ----------
    low, high : least and greatest value of each number; the shape of `i` and the widths of all sums follow from them.
    n : how many numbers, at least 1.

    Members
    -------
    i : In(ArrayLayout(shape of low .. high, n))
    o : Out(shape of n*low .. n*high)
    """

    def __init__(self, low: int, high: int, n: int) -> None:
        if n < 1:
            raise ValueError(f"An adder tree needs at least 1 number, not {n}")
        if not low <= 0 < high:
            raise ValueError(f"The numbers' range must reach from 0 or less to 1 or more, not {low} .. {high}")
        self.low = low
        self.high = high
        self.n = n
        self.latency = self.latency_of(n)
        shape, total = self.shape_of(low, high), self.shape_of(n * low, n * high)
        super().__init__({"i": In(data.ArrayLayout(shape, n)), "o": Out(total)})

    @staticmethod
    def latency_of(n: int) -> int:
        """Cycles from `n` numbers to their sum."""
        return (n - 1).bit_length()

    @staticmethod
    def shape_of(low: int, high: int) -> Shape:
        """The narrowest shape that holds `low` .. `high`; unsigned where nothing is negative."""
        if low >= 0:
            return unsigned(high.bit_length())
        return signed(max(high.bit_length(), (-low - 1).bit_length()) + 1)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        terms: list[tuple[Value, int]] = [
            (Value.cast(self.i[index]), 1) for index in range(self.n)
        ]  # value, its numbers
        level = 0
        while len(terms) > 1:
            sums: list[tuple[Value, int]] = []
            for index in range(0, len(terms), 2):
                pair = terms[index : index + 2]
                numbers = sum(count for _, count in pair)
                total = Signal(self.shape_of(numbers * self.low, numbers * self.high), name=f"sum{level}_{index // 2}")
                m.d.sync += total.eq(sum((value for value, _ in pair[1:]), pair[0][0]))
                sums.append((total, numbers))
            terms = sums
            level += 1
        m.d.comb += self.o.eq(terms[0][0])
        return m


class PopCount(wiring.Component):
    """o = number of ones in the `n` bits of `i`.

    Four bits become one 3-bit count in three LUT4 (each bit is a function of four inputs), written for a whole word at
    once, then an `AdderTree` sums the counts. Every level is registered. Free-running: a count each cycle,
    `latency` = 1 + ceil(log2(ceil(n / 4))) cycles after its bits.

    Parameters
    ----------
    n : number of bits, at least 1.

    Members
    -------
    i : In(n)
    o : Out(n.bit_length())
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"A population count needs at least 1 bit, not {n}")
        self.n = n
        self.fours = -(-n // 4)
        self.latency = self.latency_of(n)
        super().__init__({"i": In(n), "o": Out(n.bit_length())})

    @staticmethod
    def latency_of(n: int) -> int:
        """Cycles from `n` bits to their count."""
        return 1 + AdderTree.latency_of(-(-n // 4))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        fours = self.fours
        a, b, c, d = (self.i[part * fours : (part + 1) * fours] for part in range(4))  # short or empty ones count as 0
        count_bits = [Signal(fours, name=f"count_bit{bit}") for bit in range(3)]
        m.d.sync += [
            count_bits[0].eq(a ^ b ^ c ^ d),
            count_bits[1].eq((a & b) ^ (c & d) ^ ((a ^ b) & (c ^ d))),  # parity of the pairs: set for 2 and 3 ones
            count_bits[2].eq(a & b & c & d),
        ]
        m.submodules.tree = tree = AdderTree(0, 4, fours)
        for index in range(fours):
            m.d.comb += tree.i[index].eq(Cat(bits[index] for bits in count_bits))
        m.d.comb += self.o.eq(tree.o)
        return m
