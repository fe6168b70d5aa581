"""Pipelined adder trees: of signed or unsigned numbers, and of single bits (population count)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.pipeline import delay

__all__ = ["AdderTree", "Number", "PopCount", "add_in_chains"]


Number = tuple[Value, int]
"""An unsigned value and the greatest it may have."""

CHAIN_POSITIONS = 32  # most bits of a carry chain: a timing analysis sees it as one path


def add_in_chains(m: Module, adders: Sequence[tuple[Number, Number, Value | None]], name: str) -> list[Number]:
    """x + y + carry for each of `adders` (x, y, carry), registered; as few wide additions as CHAIN_POSITIONS allows.

    An adder takes the positions of its wider operand and, for its carry, one more: a bit c on both sides adds 2*c, the
    carry into the next position, and its sum bit is the carry out of the adder before.
    """
    sums: list[Number] = []
    left: list[Value] = []
    right: list[Value] = []
    places: list[tuple[int, int]] = []  # first position and greatest sum of each adder in the chain

    def close() -> None:
        chain = Signal(len(Cat(left)) + 1, name=f"{name}{len(sums)}")
        m.d.sync += chain.eq(Cat(left) + Cat(right))
        sums.extend((chain[start : start + high.bit_length()], high) for start, high in places)
        for part in (left, right, places):
            part.clear()

    for (x, x_high), (y, y_high), carry in adders:
        width = max(x_high.bit_length(), y_high.bit_length())
        used = len(Cat(left))
        if used and used + 1 + width > CHAIN_POSITIONS:
            close()
            used = 0
        if used or carry is not None:
            guard = Const(0, 1) if carry is None else carry
            left.append(guard)
            right.append(guard)
            used += 1
        places.append((used, x_high + y_high + (carry is not None)))
        for side, value in ((left, x), (right, y)):
            side.append(Cat(value, Const(0, width - len(value))))
    close()
    return sums


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

    A binary tree of adders, each of which also takes a single bit at its carry input, so that n bits need an adder less
    than its `operands`, about n/2 bits (or n/3 pairs of bits), and the other bits enter at the carries. The adders of a
    level stand in one carry chain: between two of them is a position with the same bit on both sides, which ends the
    one's carry and begins the other's. Every level is registered; a count each cycle, `latency` cycles after its bits.

    Parameters
    ----------
    n : number of bits, at least 1.
    pairs : the leaves are counts of two bits, for bits that are computed from two inputs each (count and computation
        share a LUT4); else they are single bits.

    Attributes
    ----------
    latency : ceil(log2(operands)).

    Members
    -------
    i : In(n)
    o : Out(n.bit_length())
    """

    def __init__(self, n: int, pairs: bool = False) -> None:
        if n < 1:
            raise ValueError(f"A population count needs at least 1 bit, not {n}")
        self.n = n
        self.pairs = pairs
        self.operands = self.operands_of(n, pairs)
        self.latency = self.latency_of(n, pairs)
        super().__init__({"i": In(n), "o": Out(n.bit_length())})

    @staticmethod
    def operands_of(n: int, pairs: bool) -> int:
        """Leaves of the tree: the fewest for which one bit at each carry input takes in the rest of the `n` bits."""
        return -(-(n + 1) // 3) if pairs else -(-(n + 1) // 2)

    @staticmethod
    def latency_of(n: int, pairs: bool = False) -> int:
        """Cycles from `n` bits to their count."""
        return (PopCount.operands_of(n, pairs) - 1).bit_length()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        numbers: list[Number] = []
        singles: list[Value] = list(self.i)
        for _ in range(self.operands):
            leaf, singles = singles[: 1 + self.pairs], singles[1 + self.pairs :]
            ones = leaf[0] if len(leaf) == 1 else Cat(leaf[0] ^ leaf[1], leaf[0] & leaf[1])
            numbers.append((ones, len(leaf)))
        level = 0
        while len(numbers) > 1:
            adders = []
            for x, y in zip(numbers[::2], numbers[1::2], strict=False):
                adders.append((x, y, singles.pop(0) if singles else None))
            rest = numbers[2 * len(adders) :]
            numbers = add_in_chains(m, adders, f"sum{level}_")
            numbers += [(delay(m, value, 1, f"rest{level}_"), high) for value, high in rest]
            if singles:
                singles = list(delay(m, Cat(singles), 1, f"singles{level}_"))
            level += 1
        m.d.comb += self.o.eq(numbers[0][0])
        return m
