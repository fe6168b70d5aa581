"""Bit planes: those of codes; pairs of weight and code planes, the heaviest first, and how much lighter each is."""

from collections.abc import Sequence
from itertools import pairwise

from amaranth.hdl import Value

__all__ = ["bit_planes", "falls", "plane_pairs"]


def bit_planes(codes: Value, bits: int) -> list[Value]:
    """The planes of codes of `bits` bits, the lowest first."""
    return [codes[plane::bits] for plane in range(bits)]


def plane_pairs(weight_bits: int, act_bits: int, planes: int = 1) -> list[tuple[int, int]]:
    """All pairs (k, m) of a weight plane and the lowest of `planes` code planes, the heaviest k + m first."""
    pairs = [(k, m) for k in range(weight_bits) for m in range(0, act_bits, planes)]
    return sorted(pairs, key=lambda pair: -sum(pair))


def falls(steps: Sequence[tuple[int, int]]) -> tuple[list[int], tuple[int, ...]]:
    """By how much the weight k + m has fallen at the beginning of each step; and those falls above zero, rising."""
    each = [0, *(sum(before) - sum(after) for before, after in pairwise(steps))]
    return each, tuple(sorted(set(each) - {0}))
