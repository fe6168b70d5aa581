"""Pipelined adder trees: of signed or unsigned numbers, and of single bits (population count)."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.carry import And, Bit, Number, Xor, add_in_chains, chain_luts, delayed, passed, plain
from popstream.hw.lib.models import is_simulation, model_count

__all__ = ["AdderTree", "PopCount", "lane_sums"]

GATES = (None, Xor, And)  # as the model of a PopCount numbers them


def lane_sums(
    weights: np.ndarray, top_weight: int, top_code: int, bounds: np.ndarray | None = None
) -> tuple[Shape, np.ndarray]:
    """Shape of the sums of XNOR lanes for weight codes [Co, N] of 0 .. `top_weight` and codes of 0 .. `top_code`, and
    by how much each output channel's are too high, [Co]. `bounds`: weight codes [rows, N] that the shape is to hold.
    """
    bounds = weights if bounds is None else bounds
    high = top_code * int(np.maximum(bounds, top_weight - bounds).sum(axis=1).max())
    return unsigned(high.bit_length()), top_code * (top_weight - weights).sum(axis=1)


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
    """o = sum over m < planes of 2**m * popcount(i[m]), or with a pair of 2**m * popcount(i XOR j[m]) or (i AND j[m]).

    Of the n codes of `planes` bits, some are `leaves` of a binary tree of adders, and each adder takes at its carry the
    lowest bit of another one, whose upper bits are left to a tree of their own. n codes need (n+1)/2 leaves. The adders
    of a level, of all trees, share carry chains (hw.lib.carry), on an ECP5 together with the XORs or ANDs. Registers
    lie behind every level of adders, or behind every second, third or fourth: the first levels, the widest, then have
    none. Free-running: a sum each cycle, `latency` cycles after its bits.

    Parameters
    ----------
    n : number of bits of a plane, at least 1.
    planes : number of planes, at least 1.
    pair : Xor or And: there is a `j`, which is joined with `i` so; or None.
    levels : levels of adders from one register to the next, at least 1.

    Attributes
    ----------
    latency : the levels, ceil(log2(leaves)) + ceil(log2(trees)), over `levels`, rounded up; there are as many trees as
        planes, unless n is small.

    Members
    -------
    i : In(planes*n), plane by plane; with a pair In(n)
    j : In(planes*n), with a pair
    o : Out(unsigned, to (2**planes - 1)*n)
    """

    def __init__(self, n: int, planes: int = 1, pair: type[Xor] | type[And] | None = None, levels: int = 1) -> None:
        for name, number in (("bit", n), ("plane", planes), ("level between registers", levels)):
            if number < 1:
                raise ValueError(f"A population count needs at least 1 {name}, not {number}")
        self.n = n
        self.planes = planes
        self.pair = pair
        self.levels = levels
        self.latency = self.latency_of(n, planes, levels)
        members = {"i": In(n), "j": In(planes * n)} if pair else {"i": In(planes * n)}
        super().__init__(members | {"o": Out((((1 << planes) - 1) * n).bit_length())})

    @staticmethod
    def _trees(n: int, planes: int) -> list[int]:
        """Leaves of each tree."""
        leaves = -(-(n + 1) // 2)
        return [leaves] + (PopCount._trees(n - leaves, planes - 1) if planes > 1 and n > leaves else [])

    @staticmethod
    def _depth(n: int, planes: int) -> int:
        """Levels of adders."""
        trees = PopCount._trees(n, planes)
        return (trees[0] - 1).bit_length() + (len(trees) - 1).bit_length()

    @staticmethod
    def latency_of(n: int, planes: int = 1, levels: int = 1) -> int:
        """Cycles from the bits to their sum."""
        return -(-PopCount._depth(n, planes) // levels)

    @staticmethod
    def _registered(n: int, planes: int, levels: int) -> list[bool]:
        """Of each level, whether registers follow: behind every `levels` of them, and behind the last."""
        depth = PopCount._depth(n, planes)
        return [level % levels == 0 or level == depth for level in range(1, depth + 1)]

    @staticmethod
    def _sides(n: int, planes: int) -> list[int]:
        """The codes in the order in which they enter, leaves first, so that neighbours are added to one another first:
        where along the adders of a level each enters goes from 0 to 1.
        """
        leaves = PopCount._trees(n, planes)[0]
        places, adders = [(leaf + 0.5) / leaves for leaf in range(leaves)], leaves
        while len(places) < n:  # the others come in at carries, those of the first level first
            adders, odd = divmod(adders, 2)
            places += [(adder + 0.5) / adders for adder in range(adders)]
            adders += odd
        result = [0] * n
        for code, entry in enumerate(sorted(range(n), key=lambda entry: places[entry])):
            result[entry] = code
        return result

    @staticmethod
    @cache
    def size(n: int, planes: int = 1, paired: bool = False, levels: int = 1) -> tuple[int, int, int]:
        """LUT4s of the carry cells on an ECP5, flip-flops, and with a pair those of bits of `j`, which counts of the
        same `j` share. Walks along the same trees as `elaborate`.
        """
        trees: list[list[int]] = []  # greatest value of each number
        carries: list[int] = []
        left, bits = n, planes
        for leaves in PopCount._trees(n, planes):
            trees.append([(1 << bits) - 1] * leaves)
            left, bits = left - leaves, bits - 1
            carries.append(left)
        luts, flip_flops, shared, shift = 0, 0, 0, 1
        both = paired  # numbers are still two bits each
        registered = iter(PopCount._registered(n, planes, levels))
        while any(len(tree) > 1 for tree in trees):
            kept = next(registered)
            widths: list[int] = []
            for index, tree in enumerate(trees):
                sums = []
                for x, y in zip(tree[::2], tree[1::2], strict=False):
                    widths.append(max(x, y).bit_length())
                    sums.append(x + y + (carries[index] > 0))
                    carries[index] -= carries[index] > 0
                    flip_flops += kept * sums[-1].bit_length()
                odd = tree[-1:] if len(tree) % 2 else []
                waiting = sum(high.bit_length() for high in odd)
                flip_flops += kept * ((len(odd) if both else waiting) + carries[index])
                shared += kept * (both * waiting + paired * carries[index])
                trees[index] = sums + odd
            luts += chain_luts(widths)
            both = both and not kept
        totals = [tree[0] for tree in trees]
        while len(totals) > 1:
            kept, widths, joined = next(registered), [], []
            for low, high in zip(totals[::2], totals[1::2], strict=False):
                widths.append(max((low >> shift).bit_length(), high.bit_length()))
                joined.append(low + (high << shift))
                flip_flops += kept * joined[-1].bit_length()
            odd = totals[-1:] if len(totals) % 2 else []
            flip_flops += kept * sum(high.bit_length() for high in odd)
            luts, totals, shift = luts + chain_luts(widths), joined + odd, 2 * shift
        return luts, flip_flops, shared

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if is_simulation(platform):
            j, gate = (self.j, GATES.index(self.pair)) if self.pair else (None, 0)
            model_count(m, self.i, j, self.o, n=self.n, planes=self.planes, gate=gate, latency=self.latency)
            return m
        codes: list[list[Bit]] = []
        for index in range(self.n):
            if self.pair:
                codes.append([self.pair(self.i[index], self.j[plane * self.n + index]) for plane in range(self.planes)])
            else:
                codes.append([self.i[plane * self.n + index] for plane in range(self.planes)])
        codes = [codes[code] for code in self._sides(self.n, self.planes)]
        trees: list[list[Number]] = []
        carries: list[list[Bit]] = []
        for leaves in self._trees(self.n, self.planes):
            trees.append([(code, (1 << len(code)) - 1) for code in codes[:leaves]])
            carries.append([code[0] for code in codes[leaves:]])
            codes = [code[1:] for code in codes[leaves:]]
        level, registered = 0, self._registered(self.n, self.planes, self.levels)
        while any(len(tree) > 1 for tree in trees):
            keep = delayed if registered[level] else passed
            adders: list[tuple[Number, Number, Bit | None]] = []
            rests: list[list[Number]] = []
            for index, (tree, singles) in enumerate(zip(trees, carries, strict=True)):
                for x, y in zip(tree[::2], tree[1::2], strict=False):
                    adders.append((x, y, singles.pop(0) if singles else None))
                odd = tree[-1:] if len(tree) % 2 else []
                rests.append([(keep(m, bits, f"rest{level}_{index}"), high) for bits, high in odd])
                carries[index] = keep(m, singles, f"carries{level}_{index}")
            sums = iter(add_in_chains(m, adders, f"sum{level}_", platform, registered[level]))
            trees = [[*islice(sums, len(tree) // 2), *rest] for tree, rest in zip(trees, rests, strict=True)]
            level += 1
        self._weigh(m, [tree[0] for tree in trees], level, registered, platform)
        return m

    def _weigh(self, m: Module, totals: list[Number], level: int, registered: list[bool], platform: Any) -> None:
        """o = sum of 2**m * totals[m], pair by pair."""
        shift = 1  # planes that one of `totals` holds
        while len(totals) > 1:
            keep = delayed if registered[level] else passed
            adders: list[tuple[Number, Number, Bit | None]] = []
            lowest: list[list[Bit]] = []  # these bits meet nothing
            for (low, low_high), (bits, high) in zip(totals[::2], totals[1::2], strict=False):
                lowest.append(keep(m, low[:shift], f"low{level}_{len(lowest)}"))
                adders.append(((low[shift:], low_high >> shift), (bits, high), None))
            rest: list[Number] = []
            if len(totals) % 2:
                rest = [(keep(m, totals[-1][0], f"odd{level}"), totals[-1][1])]
            sums = add_in_chains(m, adders, f"sum{level}_", platform, registered[level])
            joined = zip(lowest, sums, strict=True)
            totals = [([*low, *bits], (high << shift) + (1 << shift) - 1) for low, (bits, high) in joined] + rest
            shift, level = 2 * shift, level + 1
        m.d.comb += self.o.eq(Cat(plain(bit) for bit in totals[0][0]))
