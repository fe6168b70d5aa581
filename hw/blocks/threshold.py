"""Thresholds: turns accumulators or stream values into activation codes by a pipelined binary search."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Module, Shape, ShapeLike, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.skid import LastStage
from popstream.hw.lib.stream import connect, value_layout
from popstream.hw.lib.table import Table, TablePair, checked_storage, group_entries, range_shape, shape_limits


class Threshold(wiring.Component):
    """code = #{ j : x >= T[c, j] }, for every channel c.

    T does not fall along j, so the code is found from its most significant bit down: stage k knows the upper k bits p
    of the code, and the next bit is x >= T[c, j] with j = p followed by 1 and then zeros, less one. Every stage has one
    comparator and one table a lane; a table whose entries are equal over all channels of the lane loses the channel
    group's address bits, and is a constant if one entry is left. Tables in block RAM take a cycle more; two stages of a
    lane share one, on a port each. Thresholds beyond what `shape` holds are legal: they always or never pass.

    One clock enable moves all stages together (hw.lib.skid.LastStage). Registers that move stage by stage would gain
    only the bubbles inside, and counting beats in flight would need a FIFO as deep as the pipeline.

    Latency A + 1 cycles and one for each stage with a table in block RAM (attribute `latency`), one beat a cycle.

    Parameters
    ----------
    thresholds : integers [C, 2^A-1], 1 <= A <= 8, not falling along axis 1.
    shape : shape of the values, signed or unsigned.
    lanes : channels a beat, a divisor of C.
    storage : of the tables, see `hw.lib.table.Table`.

    Attributes
    ----------
    entries : of the table of each lane and stage.
    reads : cycles that the tables of each stage take.
    latency : cycles from a value to its code.

    Members
    -------
    i : In, stream of `lanes` values of `shape`.
    o : Out, stream of `lanes` unsigned codes of A bits.

    Raises
    ------
    ValueError : for a parameter outside of these ranges.
    """

    def __init__(self, thresholds: Any, shape: ShapeLike, lanes: int, storage: str = "auto"):
        self.thresholds = np.array(thresholds, dtype=np.int64)
        if self.thresholds.ndim != 2 or not self.thresholds.shape[0]:
            raise ValueError(f"Thresholds must have the shape [channels, 2^bits-1], not {list(self.thresholds.shape)}")
        self.channels, steps = (int(size) for size in self.thresholds.shape)
        self.bits = steps.bit_length()
        if steps != (1 << self.bits) - 1 or not 1 <= self.bits <= 8:
            raise ValueError(f"Thresholds must be 2^bits-1 a channel with 1 to 8 bits, not {steps}")
        if (np.diff(self.thresholds, axis=1) < 0).any():
            raise ValueError("Thresholds must not fall along axis 1")
        if lanes < 1 or self.channels % lanes:
            raise ValueError(f"Lanes must divide the {self.channels} channels, not be {lanes}")
        self.shape = Shape.cast(shape)
        self.lanes = lanes
        self.storage = checked_storage(storage)
        self.entries = [[self._table(lane, level) for level in range(self.bits)] for lane in range(lanes)]
        self.reads = [
            max(Table.latency_of(len(entries[level]), storage) for entries in self.entries)
            for level in range(self.bits)
        ]
        self.latency = sum(self.reads) + 1
        super().__init__(
            {
                "i": In(stream.Signature(value_layout(self.shape, lanes))),
                "o": Out(stream.Signature(value_layout(unsigned(self.bits), lanes))),
            }
        )

    def _table(self, lane: int, level: int) -> list[int]:
        """Table of one lane and stage, clamped to what decides: 2^level entries a group, once if all groups agree."""
        low, high = shape_limits(self.shape)
        step = 1 << (self.bits - level)
        rows = self.thresholds[lane :: self.lanes, step // 2 - 1 :: step].clip(low, high + 1)
        return group_entries(rows, self.storage)

    def pairs(self, lane: int) -> list[tuple[int, int]]:
        """Stages of a lane whose tables share a block RAM."""
        if self.storage == "reload":
            return []
        entries = self.entries[lane]
        block = [k for k, e in enumerate(entries) if Table.in_block(len(e), self.storage) and len(set(e)) > 1]
        some = zip(block[::2], block[1::2], strict=False)
        return [(first, second) for first, second in some if TablePair.pays(entries[first], entries[second])]

    def _stored(self, m: Module, lane: int, enable: Value) -> list[tuple[Any, Any]]:
        """Address and output of each stage's table of one lane."""
        entries = self.entries[lane]
        ports: dict[int, tuple[Any, Any]] = {}
        reload = self.storage == "reload"
        low, high = shape_limits(self.shape)
        whole = range_shape(low, high + 1) if reload else None
        for first, second in self.pairs(lane):
            m.submodules[f"tables_{first}_{second}_{lane}"] = pair = TablePair(entries[first], entries[second])
            m.d.comb += pair.en.eq(enable)
            ports[first], ports[second] = (pair.address0, pair.o0), (pair.address1, pair.o1)
        for level in range(self.bits):
            if level not in ports:
                m.submodules[f"table_{level}_{lane}"] = table = Table(entries[level], self.storage, whole)
                m.d.comb += table.en.eq(enable)
                ports[level] = table.address, table.o
        return [ports[level] for level in range(self.bits)]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        groups = self.channels // self.lanes
        m.submodules.last = last = LastStage(self.o.payload.shape())
        enable = last.i.ready
        connect(m, last.o, self.o)
        m.d.comb += self.i.ready.eq(enable)

        group = Signal(range(groups))
        valid: Signal = self.i.valid
        with m.If(self.i.valid & enable):
            m.d.sync += group.eq(next_of(group, groups))

        ports = [self._stored(m, lane, enable) for lane in range(self.lanes)]
        values = [self.i.payload[lane] for lane in range(self.lanes)]
        codes = [Cat() for _ in range(self.lanes)]
        for level in range(self.bits):
            for cycle in range(self.reads[level]):
                stage = f"{level}_{cycle}"
                ahead = Signal(name=f"valid_{stage}")
                next_group = Signal(range(groups), name=f"group_{stage}")
                with m.If(enable):
                    m.d.sync += [ahead.eq(valid), next_group.eq(group)]
                for lane in range(self.lanes):
                    entries = len(self.entries[lane][level])
                    if cycle == self.reads[level] - Table.latency_of(entries, self.storage):
                        full = entries > 1 << level  # for each group
                        m.d.comb += ports[lane][level][0].eq(Cat(codes[lane], group) if full else codes[lane])
                    value = Signal(self.shape, name=f"value_{stage}_{lane}", reset_less=True)
                    prefix = Signal(level, name=f"prefix_{stage}_{lane}", reset_less=True)
                    with m.If(enable):
                        m.d.sync += [value.eq(values[lane]), prefix.eq(codes[lane])]
                    values[lane], codes[lane] = value, prefix
                valid, group = ahead, next_group
            for lane in range(self.lanes):
                passed = Signal(name=f"passed_{level}_{lane}")
                m.d.comb += passed.eq(values[lane] >= ports[lane][level][1])
                codes[lane] = Cat(passed, codes[lane])
        m.d.comb += last.i.valid.eq(valid)
        m.d.comb += [last.i.payload[lane].eq(codes[lane]) for lane in range(self.lanes)]
        return m
