"""Partial sums in a memory: adds up values that belong to one address, until the last of them releases the sum.

Partial maxima likewise."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.stream import value_layout
from hw.table import range_shape, shape_limits


class PartialSums(wiring.Component):
    """sum = initial + the values at one address, from the beat marked `first` to the beat marked `last`.

    Latency 2 cycles from the last beat, one beat a cycle. Two stages (memory read; addition and write back) share one
    clock enable, the cheapest back-pressure: the pipeline stands still while a sum waits to be taken.

    Parameters
    ----------
    shape : shape of the values.
    lanes : independent sums a beat.
    depth : number of addresses.
    terms : largest number of values in a sum.
    initial : constant that is added to every sum (a rounding constant, for instance).
    back_to_back : whether one beat may have the address of the beat before it (those are marked `again`); then the last
        sum is also kept in a register. Always so if the depth is 1, and then there is no memory.

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

    latency = 2

    def __init__(
        self, shape: ShapeLike, lanes: int, depth: int, terms: int, initial: int = 0, back_to_back: bool = False
    ):
        if lanes < 1 or depth < 1 or terms < 1:
            raise ValueError(f"Lanes, depth and terms must be at least 1, not {lanes}, {depth} and {terms}")
        if initial < 0:
            raise ValueError(f"The initial value must not be negative, not {initial}")
        self.shape = Shape.cast(shape)
        self.lanes = lanes
        self.depth = depth
        self.terms = terms
        self.initial = initial
        self.back_to_back = back_to_back or depth == 1
        low, high = shape_limits(self.shape)
        self.sum_shape = range_shape(min(low * terms, low) + initial, max(high * terms, high) + initial)
        beat = data.StructLayout(
            {"values": value_layout(self.shape, lanes), "address": range(depth), "first": 1, "last": 1, "again": 1}
        )
        super().__init__(
            {"i": In(stream.Signature(beat)), "o": Out(stream.Signature(value_layout(self.sum_shape, lanes)))}
        )

    def join(self, first: Value, before: Value, value: Value) -> Value:
        """What the beat's value makes of the one before it."""
        return Mux(first, self.initial, before) + value

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        enable = Signal()
        valid = Signal()
        beat = Signal(self.i.payload.shape(), reset_less=True)
        layout = self.o.payload.shape()
        before = Signal(layout)  # what has been summed so far
        total = Signal(layout)
        m.d.comb += [enable.eq(~self.o.valid | self.o.ready), self.i.ready.eq(enable)]
        with m.If(enable):
            m.d.sync += [valid.eq(self.i.valid), beat.eq(self.i.payload)]
            m.d.sync += [self.o.valid.eq(valid & beat.last), self.o.payload.eq(total)]

        for lane in range(self.lanes):
            m.d.comb += total[lane].eq(self.join(beat.first, before[lane], beat.values[lane]))
        newest = Signal(layout, reset_less=True)
        if self.back_to_back:
            with m.If(enable & valid):
                m.d.sync += newest.eq(total)
        if self.depth == 1:
            m.d.comb += before.eq(newest)
            return m
        m.submodules.sums = sums = Memory(shape=layout, depth=self.depth, init=[])
        read, write = sums.read_port(), sums.write_port()
        m.d.comb += [
            read.addr.eq(self.i.payload.address),
            read.en.eq(enable),
            write.addr.eq(beat.address),
            write.data.eq(total),
            write.en.eq(enable & valid),
            before.eq(Mux(beat.again, newest, read.data) if self.back_to_back else read.data),
        ]
        return m


class PartialMaxima(PartialSums):
    """The largest of the values at one address; everything else is as in PartialSums, with one term and nothing added.

    Parameters
    ----------
    shape, lanes, depth, back_to_back : as in PartialSums.
    """

    def __init__(self, shape: ShapeLike, lanes: int, depth: int, back_to_back: bool = False):
        super().__init__(shape, lanes, depth, terms=1, back_to_back=back_to_back)

    def join(self, first: Value, before: Value, value: Value) -> Value:
        return Mux(first | (value > before), value, before)
