"""A table of numbers by layer in a small memory: what a walker of a shared stage has to know of the layer at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["Program"]


class Program(wiring.Component):
    """o = the numbers of layer `layer`, a cycle later.

    Parameters
    ----------
    rows : for each layer its numbers, not negative, by name; all layers have the same names.
    least : bits of a number that are there at least, by name.

    Members
    -------
    layer : In, below the number of layers.
    o : Out(StructLayout), every number as wide as the largest of its name.
    """

    def __init__(self, rows: Sequence[Mapping[str, int]], least: Mapping[str, int] = {}) -> None:
        names = list(rows[0])
        widths = {name: max(1, least.get(name, 0), *(row[name].bit_length() for row in rows)) for name in names}
        self.shape = data.StructLayout(widths)
        self.rows = [dict(row) for row in rows]
        super().__init__({"layer": In(range(len(rows))), "o": Out(self.shape)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        memory = Memory(shape=self.shape, depth=len(self.rows), init=self.rows, attrs={"rom_style": "logic"})
        m.submodules.memory = memory
        port = memory.read_port()
        m.d.comb += [port.addr.eq(self.layer), Value.cast(self.o).eq(port.data)]
        return m
