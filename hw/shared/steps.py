"""Steps from values to words of codes that a shared stage's results and its input go through alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Signal, Value

from popstream.hw.lib.pipeline import delay

__all__ = ["compared", "part_of_word"]


def compared(m: Module, values: Sequence[Value], rows: Sequence[Sequence[Value]], bits: int, name: str) -> list[Value]:
    """code = #{ j : v >= T[j] } of each value, `bits` cycles later: a bit a cycle, the highest first, each compared
    with the threshold that the bits before it choose.

    rows : the 2^bits - 1 thresholds of the channels of a beat, of which the values are one or several.
    """
    left: list[dict[int, Value]] = [dict(enumerate(row)) for row in rows]
    later = list(values)
    result: list[Value] = [Const(0, 0)] * len(later)
    for level in range(bits):
        step = 1 << (bits - level)
        places = [prefix * step + step // 2 - 1 for prefix in range(1 << level)]
        for index, value in enumerate(later):
            choices = [left[index % len(left)][place] for place in places]
            bit = value >= (Array(choices)[result[index]] if level else choices[0])
            code = Signal(level + 1, name=f"{name}{level}_{index}")
            m.d.sync += code.eq(Cat(bit, result[index]))
            result[index] = code
        if level < bits - 1:
            later = [delay(m, value, 1, f"{name}_value{level}_{index}_") for index, value in enumerate(later)]
            left = [
                {n: delay(m, row, 1, f"{name}_row{level}_{c}_{n}_") for n, row in some.items() if n not in places}
                for c, some in enumerate(left)
            ]
    return result


def part_of_word(m: Module, name: str, codes: Sequence[Value], slot: Any, valid: Value, size: int, bits: int) -> Signal:
    """A word of `size` codes of so many bits, of which a beat of codes becomes the slot's part; the first one of a word
    clears what is behind it.
    """
    word = Signal(size * bits, name=name)
    beat = Cat(Cat(code, Const(0, bits - len(code))) for code in codes)
    with m.If(valid):
        for part in range(len(word) // len(beat)):
            target = word[part * len(beat) : (part + 1) * len(beat)]
            with m.If(slot.part == part):
                m.d.sync += target.eq(beat)
            with m.Elif(slot.fresh):
                m.d.sync += target.eq(0)
    return word
