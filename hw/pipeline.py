"""Small pieces of plain values: delay by cycles, a registered choice among many, a counter's next number."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value

__all__ = ["delay", "next_of", "select", "select_latency"]

SELECT_BITS = 3  # a register follows after a choice of one in 2**SELECT_BITS


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


def select(m: Module, choices: list[Value], index: Value) -> Value:
    """`choices[index]`, registered; more than 2**SELECT_BITS choices take several levels, each with a register."""
    level = 0
    while True:
        low, high = index[:SELECT_BITS], index[SELECT_BITS:]
        chosen: list[Value] = []
        for start in range(0, len(choices), 1 << SELECT_BITS):
            some = choices[start : start + (1 << SELECT_BITS)]
            choice = Signal(len(some[0]), name=f"choice{level}_{len(chosen)}")
            with m.Switch(low):
                for position, value in enumerate(some[:-1]):
                    with m.Case(position):
                        m.d.sync += choice.eq(value)
                with m.Default():
                    m.d.sync += choice.eq(some[-1])
            chosen.append(choice)
        if len(chosen) == 1:
            return chosen[0]
        choices, index, level = chosen, delay(m, high, 1, f"choose{level}_"), level + 1


def select_latency(choices: int) -> int:
    """Cycles from `index` to the value that `select` yields."""
    return max(1, -(-(choices - 1).bit_length() // SELECT_BITS))
