"""Partial sums in a memory: adds up values that belong to one address, until the last of them releases the sum.

Partial maxima likewise."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.stream import value_layout
from popstream.hw.lib.table import range_shape, shape_limits


class PartialSums(wiring.Component):
    """sum = initial + the values at one address, from the beat marked `first` to the beat marked `last`.

    Latency 2 cycles from the last beat, 3 with the sums in block RAM; one beat a cycle. The stages (memory read, in two
    cycles from block RAM, whose data go into a register first; addition and write back) share one clock enable, the
    cheapest back-pressure: the pipeline stands still while a sum waits to be taken.

    Parameters
    ----------
    shape : shape of the values.
    lanes : independent sums a beat.
    depth : number of addresses.
    terms : largest number of values in a sum.
    initial : constant that is added to every sum (a rounding constant, for instance).
    spacing : fewest beats from one of an address to the next of the same. If 1, those that have the address of the beat
        before them are marked `again`, and the last sum is also kept in a register. Always so if the depth is 1, and
        then there is no memory. Block RAM needs 3.

    Attributes
    ----------
    block : whether the sums are in block RAM.
    latency : cycles from the last beat to its sum.

    Members
    -------
    i : In, stream of {"values": `lanes` values of `shape`, "address": below depth, "first", "last", "again": 1 bit
        each}.
    o : Out, stream of `lanes` sums, one beat for each `last` (attribute `sum_shape`: the smallest that holds every
        sum).

    Raises
    ------
    ValueError : for a parameter below 1, or initial below 0.
    """

    def __init__(self, shape: ShapeLike, lanes: int, depth: int, terms: int, initial: int = 0, spacing: int = 1):
        if lanes < 1 or depth < 1 or terms < 1 or spacing < 1:
            raise ValueError(
                f"Lanes, depth, terms and spacing must be at least 1, not {lanes}, {depth}, {terms} and {spacing}"
            )
        if initial < 0:
            raise ValueError(f"The initial value must not be negative, not {initial}")
        self.shape = Shape.cast(shape)
        self.lanes = lanes
        self.depth = depth
        self.terms = terms
        self.initial = initial
        self.spacing = spacing if depth > 1 else 1
        self.sum_shape = self._sum_shape(self.shape, terms, initial)
        self.latency = self.latency_of(shape, lanes, depth, terms, initial, spacing)
        self.block = self.latency == 3
        self.start = initial  # what the first value is joined with
        beat = data.StructLayout(
            {"values": value_layout(self.shape, lanes), "address": range(depth), "first": 1, "last": 1, "again": 1}
        )
        super().__init__(
            {"i": In(stream.Signature(beat)), "o": Out(stream.Signature(value_layout(self.sum_shape, lanes)))}
        )

    def join(self, first: Value, before: Value, value: Value) -> Value:
        """What the beat's value makes of the one before it."""
        return Mux(first, self.start, before) + value

    @staticmethod
    def _sum_shape(shape: Shape, terms: int, initial: int) -> Shape:
        low, high = shape_limits(shape)
        return range_shape(min(low * terms, low) + initial, max(high * terms, high) + initial)

    @classmethod
    def latency_of(
        cls, shape: ShapeLike, lanes: int, depth: int, terms: int, initial: int = 0, spacing: int = 1
    ) -> int:
        """Latency with these parameters."""
        width = cls._sum_shape(Shape.cast(shape), terms, initial).width * lanes
        return 3 if spacing >= 3 and StreamFifo.in_block(depth, width) else 2

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        enable = Signal()
        valid: Value = self.i.valid
        beat = self.i.payload
        layout = self.o.payload.shape()
        before = Signal(layout)  # what has been summed so far
        total = Signal(layout)
        m.d.comb += [enable.eq(~self.o.valid | self.o.ready), self.i.ready.eq(enable)]
        for stage in range(self.latency - 1):
            valid_before, beat_before = valid, beat
            valid = Signal(name=f"valid{stage}")
            beat = Signal(self.i.payload.shape(), name=f"beat{stage}", reset_less=True)
            with m.If(enable):
                m.d.sync += [valid.eq(valid_before), beat.eq(beat_before)]
        with m.If(enable):
            m.d.sync += [self.o.valid.eq(valid & beat.last), self.o.payload.eq(total)]

        for lane in range(self.lanes):
            first = Const(0) if self.block else beat.first  # `before` starts at the right value there
            m.d.comb += total[lane].eq(self.join(first, before[lane], beat.values[lane]))
        newest = Signal(layout, reset_less=True)
        if self.spacing == 1:
            with m.If(enable & valid):
                m.d.sync += newest.eq(total)
        if self.depth == 1:
            m.d.comb += before.eq(newest)
            return m
        # A word that is read in the cycle in which it is written is not used: `again`.
        attributes = {"no_rw_check": 1} | ({"ram_style": "block"} if self.block else {})
        m.submodules.sums = sums = Memory(shape=layout, depth=self.depth, init=[], attrs=attributes)
        read, write = sums.read_port(), sums.write_port()
        m.d.comb += [
            read.addr.eq(self.i.payload.address),
            read.en.eq(enable),
            write.addr.eq(beat.address),
            write.data.eq(total),
            write.en.eq(enable & valid),
        ]
        if self.block:
            with m.If(enable):
                m.d.sync += before.eq(read.data)
            with m.If(enable & beat_before.first):  # the registers' synchronous reset
                m.d.sync += [before[lane].eq(self.start) for lane in range(self.lanes)]
        else:
            m.d.comb += before.eq(Mux(beat.again, newest, read.data) if self.spacing == 1 else read.data)
        return m


class PartialMaxima(PartialSums):
    """The largest of the values at one address; everything else is as in PartialSums, with one term and nothing added.

    Parameters
    ----------
    shape, lanes, depth, spacing : as in PartialSums.
    """

    def __init__(self, shape: ShapeLike, lanes: int, depth: int, spacing: int = 1):
        super().__init__(shape, lanes, depth, terms=1, spacing=spacing)
        self.start = shape_limits(self.shape)[0]

    def join(self, first: Value, before: Value, value: Value) -> Value:
        return Mux(first | (value > before), value, before)
