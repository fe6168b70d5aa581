"""A table of numbers by layer in a small memory: what a walker of a shared stage has to know of the layer at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth.hdl import Module, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.table import Table

__all__ = ["Program"]


class Program(wiring.Component):
    """o = the numbers of layer `layer`, `plan.told` cycles later: in LUTs one, in block RAM, to be reloaded, two.

    Parameters
    ----------
    plan : of the stage. name : of the program.
    rows : for each layer its numbers, not negative, by name; all layers have the same names.
    widths : bits of those numbers, by name, whose bits the stage's own sizes tell.

    Members
    -------
    layer : In, below the number of layers.
    o : Out(StructLayout), every number as wide as the largest of its name that the stage has room for.
    """

    def __init__(
        self, plan: StagePlan, name: str, rows: Sequence[Mapping[str, int]], widths: Mapping[str, int]
    ) -> None:
        self.plan = plan
        own = {key: max(1, *(row[key].bit_length() for row in rows)) for key in rows[0]}
        self.shape = data.StructLayout(
            {
                key: widths[key] if key in widths else plan.room.most(f"bits of {key!r} in {name}", bits)
                for key, bits in own.items()
            }
        )
        self.rows = [dict(row) for row in rows]
        depth = 1 << (len(rows) - 1).bit_length() if plan.reload else len(rows)
        self.depth = plan.room.most(f"rows of {name}", depth)
        super().__init__({"layer": In(range(self.depth)), "o": Out(self.shape)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        rows = [self.shape.const(row).as_bits() for row in self.rows] + [0] * (self.depth - len(self.rows))
        m.submodules.table = table = Table(rows, self.plan.storage, unsigned(self.shape.size))
        m.d.comb += [table.address.eq(self.layer), table.en.eq(1), Value.cast(self.o).eq(table.o)]
        return m
