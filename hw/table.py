"""Constant table with a registered read: thresholds, multipliers and biases of one lane, one entry a channel group."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Const, Module, Shape
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

LOGIC_DEPTH = 64
"""Deepest table that `storage="auto"` builds from LUTs; 64 entries take about 9 LUT4 a bit, multiplexers included."""

STORAGES = ("auto", "logic", "block")


def checked_storage(storage: str) -> str:
    """`storage` itself; ValueError unless it is one of STORAGES."""
    if storage not in STORAGES:
        raise ValueError(f"Storage must be one of {', '.join(STORAGES)}, not {storage!r}")
    return storage


def range_shape(low: int, high: int) -> Shape:
    """Smallest shape that holds every integer in [low, high], unsigned unless `low` is negative; at least 1 bit."""
    shape = Shape.cast(range(low, high + 1))
    return Shape(max(shape.width, 1), shape.signed)


def shape_limits(shape: Shape) -> tuple[int, int]:
    """Lowest and highest integer that `shape` holds."""
    if shape.signed:
        return -(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1
    return 0, (1 << shape.width) - 1


def lane_values(values: Any, lanes: int, lane: int) -> list[int]:
    """Entries of one lane, in the order of the channel groups, out of a list with one entry a channel."""
    return [int(value) for value in values[lane::lanes]]


class Table(wiring.Component):
    """Read-only table: o = values[address] of the last cycle with `en` high.

    Latency 1 enabled cycle, one read a cycle. A table whose entries are all equal is a constant and takes no logic at
    all.

    Parameters
    ----------
    values : the entries, at least one.
    storage : "logic" (LUTs), "block" (block RAM) or "auto" (logic up to LOGIC_DEPTH entries).

    Members
    -------
    address : In, unsigned, below the number of entries.
    en : In, 1 bit.
    o : Out, the smallest shape that holds all entries (attribute `shape`).

    Raises
    ------
    ValueError : for no entries, or a storage that does not exist.
    """

    def __init__(self, values: Iterable[int], storage: str = "auto"):
        self.values = tuple(int(value) for value in values)
        if not self.values:
            raise ValueError("A table must have at least one entry")
        self.storage = checked_storage(storage)
        self.constant = len(set(self.values)) == 1
        self.shape = range_shape(min(self.values), max(self.values))
        super().__init__({"address": In(range(len(self.values))), "en": In(1), "o": Out(self.shape)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self.constant:
            m.d.comb += self.o.eq(Const(self.values[0], self.shape))
            return m
        block = self.storage == "block" or (self.storage == "auto" and len(self.values) > LOGIC_DEPTH)
        m.submodules.rom = rom = Memory(
            shape=self.shape,
            depth=len(self.values),
            init=self.values,
            attrs={"rom_style": "block" if block else "logic"},
        )
        port = rom.read_port()
        m.d.comb += [port.addr.eq(self.address), port.en.eq(self.en), self.o.eq(port.data)]
        return m
