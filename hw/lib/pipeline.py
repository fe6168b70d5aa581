"""Small pieces of plain values: delay by cycles, a registered choice among many, a counter's next number."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Const, Module, Mux, Signal, Value

__all__ = ["delay", "next_of", "select", "select_latency", "select_levels"]

SELECT_BITS = 3  # a register follows after a choice of one in 2**SELECT_BITS at the latest


def delay(m: Module, value: Value, cycles: int, name: str) -> Value:
    """`value` as it was `cycles` cycles ago."""
    for cycle in range(cycles):
        later = Signal(value.shape(), name=f"{name}{cycle + 1}")
        m.d.sync += later.eq(value)
        value = later
    return value


def next_of(counter: Value, states: int) -> Value:
    """The number after `counter` of 0 .. states - 1, and 0 after the last: a power of two comes round by itself."""
    if states & (states - 1) == 0:
        return (counter + 1)[: len(counter)]
    return Mux(counter == states - 1, 0, counter + 1)


def select(m: Module, choices: list[Value], following: Value, advance: Value) -> Value:
    """`choices[index]`, registered, where `index` is what `following` was at the last `advance`; a single one as it is.

    In levels of several index bits (`select_levels`), each with a register behind. The index is known a cycle ahead, so
    that each choice has a line of its own from a register: two choices to a LUT, and no decoding before so many loads.
    """
    enable: Value = advance
    for level, bits in enumerate(select_levels(len(choices))):
        lines = Signal(1 << bits, name=f"lines{level}")
        rest = Signal(len(following) - bits, name=f"rest{level}")
        with m.If(enable):
            m.d.sync += [lines.eq(1 << following[:bits]), rest.eq(following[bits:])]
        chosen: list[Value] = []
        for start in range(0, len(choices), 1 << bits):
            some = choices[start : start + (1 << bits)]
            choice = Signal(len(some[0]), name=f"choice{level}_{len(chosen)}")
            shown = (value & line.replicate(len(value)) for value, line in zip(some, lines, strict=False))
            m.d.sync += choice.eq(reduce(or_, shown))
            chosen.append(choice)
        choices, following, enable = chosen, rest, Const(1)
    return choices[0]


def select_levels(choices: int) -> list[int]:
    """Index bits of each level of a choice among so many, lowest first: all in one up to SELECT_BITS, else two a level,
    as the index of a wide choice has many loads far apart. One is no choice, and takes no level."""
    left, levels = (choices - 1).bit_length(), []
    while left > SELECT_BITS:
        levels.append(2)
        left -= 2
    return [*levels, left] if left else levels


def select_latency(choices: int) -> int:
    """Cycles from `index` to the value that `select` yields."""
    return len(select_levels(choices))
