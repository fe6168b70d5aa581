"""A table of codes: what a code stands for in the stream, or the code of a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Shape, ShapeLike, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.skid import LastStage
from popstream.hw.lib.stream import connect, value_layout
from popstream.hw.lib.table import Table, checked_storage, group_entries, shape_limits

__all__ = ["Lookup"]


class Lookup(wiring.Component):
    """o = T[c, code], for every channel c (rules R27, R29).

    A table a lane. Where all channels of a lane have one row it is 2^A entries deep, else as much for each channel
    group. One clock enable moves all stages together, as in `hw.blocks.threshold.Threshold`.

    Latency in attribute `latency`, one beat a cycle.

    Parameters
    ----------
    table : integers [C, 2^A], 1 <= A <= 8.
    shape : of the results; it holds all entries.
    lanes : channels a beat, a divisor of C.
    storage : of the tables, see `hw.lib.table.Table`.

    Attributes
    ----------
    entries : of the table of each lane.
    reads : cycles that the tables take.
    latency : 2 cycles, with tables in block RAM 3.

    Members
    -------
    i : In, stream of `lanes` unsigned codes of A bits.
    o : Out, stream of `lanes` values of `shape`.

    Raises
    ------
    ValueError : for a parameter outside of these ranges.
    """

    def __init__(self, table: Any, shape: ShapeLike, lanes: int, storage: str = "auto"):
        self.table = np.array(table, dtype=np.int64)
        if self.table.ndim != 2 or not self.table.shape[0]:
            raise ValueError(f"A table must have the shape [channels, 2^bits], not {list(self.table.shape)}")
        self.channels, size = (int(n) for n in self.table.shape)
        self.bits = size.bit_length() - 1
        if size != 1 << self.bits or not 1 <= self.bits <= 8:
            raise ValueError(f"A table must have 2^bits entries a channel with 1 to 8 bits, not {size}")
        if lanes < 1 or self.channels % lanes:
            raise ValueError(f"Lanes must divide the {self.channels} channels, not be {lanes}")
        self.shape = Shape.cast(shape)
        low, high = shape_limits(self.shape)
        if self.table.min() < low or self.table.max() > high:
            raise ValueError(f"Entries must be {low} to {high}, not {self.table.min()} to {self.table.max()}")
        self.lanes = lanes
        self.storage = checked_storage(storage)
        self.entries = [self._entries(lane) for lane in range(lanes)]
        self.reads = max(Table.latency_of(len(entries), storage) for entries in self.entries)
        self.latency = self.reads + 1
        super().__init__(
            {
                "i": In(stream.Signature(value_layout(unsigned(self.bits), lanes))),
                "o": Out(stream.Signature(value_layout(self.shape, lanes))),
            }
        )

    def _entries(self, lane: int) -> list[int]:
        """The table of one lane, a row for each channel group; one row if all groups agree."""
        return group_entries(self.table[lane :: self.lanes], self.storage)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        groups = self.channels // self.lanes
        m.submodules.last = last = LastStage(self.o.payload.shape())
        enable = last.i.ready
        connect(m, last.o, self.o)
        group = Signal(range(groups))
        valid = Signal(self.reads)
        m.d.comb += [self.i.ready.eq(enable), last.i.valid.eq(valid[-1])]
        with m.If(enable):
            m.d.sync += valid.eq(Cat(self.i.valid, valid))
            with m.If(self.i.valid):
                m.d.sync += group.eq(next_of(group, groups))
        whole = self.shape if self.storage == "reload" else None
        for lane, entries in enumerate(self.entries):
            m.submodules[f"table_{lane}"] = table = Table(entries, self.storage, whole)
            code, found = self.i.payload[lane], table.o
            m.d.comb += [
                table.address.eq(Cat(code, group) if len(entries) > 1 << self.bits else code),
                table.en.eq(enable),
            ]
            for stage in range(self.reads - table.latency):  # beside a lane whose table is slower
                later = Signal(table.shape, name=f"later{stage}_{lane}", reset_less=True)
                with m.If(enable):
                    m.d.sync += later.eq(found)
                found = later
            m.d.comb += last.i.payload[lane].eq(found)
        return m
