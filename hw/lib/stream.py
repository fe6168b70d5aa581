"""Stream plumbing: the layout of a beat, fan-out, and change of lane count."""

from __future__ import annotations

from math import gcd
from typing import Any

from amaranth.hdl import Cat, Module, Shape, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Fork", "Repack", "connect", "value_layout"]


def value_layout(shape: ShapeLike, lanes: int) -> data.ArrayLayout:
    """Payload of a value stream: `lanes` consecutive channels of one pixel, each of `shape`, lowest channel first."""
    if lanes < 1:
        raise ValueError(f"A beat must have at least 1 lane, not {lanes}")
    if Shape.cast(shape).width < 1:
        raise ValueError("A lane must be at least 1 bit wide, not 0")
    return data.ArrayLayout(shape, lanes)


class Fork(wiring.Component):
    """Hands every beat to each of `n` sinks, to each as soon as it is ready (eager fork).

    Latency 0; a beat each cycle when all sinks are ready. `o<k>.valid` does not wait for any `ready`.

    Parameters
    ----------
    shape : payload shape.
    n : number of sinks, at least 1.

    Members
    -------
    i : In(stream.Signature(shape))
    o0, o1, .. : Out(stream.Signature(shape)), also as the tuple `outputs`.
    """

    def __init__(self, shape: Any, n: int) -> None:
        if n < 1:
            raise ValueError(f"A fork needs at least 1 sink, not {n}")
        self.shape = shape
        self.n = n
        self.latency = 0
        sinks = {f"o{sink}": Out(stream.Signature(shape)) for sink in range(n)}
        super().__init__({"i": In(stream.Signature(shape)), **sinks})

    @property
    def outputs(self) -> tuple[Any, ...]:
        """The sinks' streams, in order."""
        return tuple(getattr(self, f"o{sink}") for sink in range(self.n))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        served = Signal(self.n)  # sinks that have taken the present beat
        serving = Cat(sink.ready for sink in self.outputs)
        m.d.comb += self.i.ready.eq((served | serving).all())
        for index, sink in enumerate(self.outputs):
            m.d.comb += [sink.valid.eq(self.i.valid & ~served[index]), sink.payload.eq(self.i.payload)]
        with m.If(self.i.ready):
            m.d.sync += served.eq(0)
        with m.Elif(self.i.valid):
            m.d.sync += served.eq(served | serving)
        return m


class _Split(wiring.Component):
    """Cuts a beat of `parts * width` bits into `parts` beats of `width` bits, lowest first; one a cycle, latency 1."""

    def __init__(self, width: int, parts: int) -> None:
        self.width = width
        self.parts = parts
        super().__init__({"i": In(stream.Signature(width * parts)), "o": Out(stream.Signature(width))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        held = Signal(self.width * self.parts)
        left = Signal(range(self.parts + 1))  # beats in `held`
        m.d.comb += [
            self.o.payload.eq(held[: self.width]),
            self.o.valid.eq(left != 0),
            self.i.ready.eq((left == 0) | ((left == 1) & self.o.ready)),
        ]
        with m.If(self.i.ready):
            m.d.sync += left.eq(0)
            with m.If(self.i.valid):
                m.d.sync += [held.eq(self.i.payload), left.eq(self.parts)]
        with m.Elif(self.o.ready):
            m.d.sync += [held.eq(held >> self.width), left.eq(left - 1)]
        return m


class _Join(wiring.Component):
    """Gathers `parts` beats of `width` bits into one, lowest first; accepts one a cycle, latency 1 after the last."""

    def __init__(self, width: int, parts: int) -> None:
        self.width = width
        self.parts = parts
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(width * parts))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        held = Signal(self.width * self.parts)
        count = Signal(range(self.parts + 1))
        full = count == self.parts
        m.d.comb += [
            self.o.payload.eq(held),
            self.o.valid.eq(full),
            self.i.ready.eq(~full | self.o.ready),
        ]
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += held.eq(Cat(held[self.width :], self.i.payload))
            m.d.sync += count.eq(count + 1)
            with m.If(full):
                m.d.sync += count.eq(1)
        with m.Elif(full & self.o.ready):
            m.d.sync += count.eq(0)
        return m


class Repack(wiring.Component):
    """Changes the lanes of a value stream from `lanes_in` to `lanes_out`, both divisors of `channels`.

    Beats are cut to g = gcd(lanes_in, lanes_out) lanes and gathered again; where one count divides the other, only one
    of the two steps is built, and none for equal counts. g lanes pass a cycle: a pixel takes `cycles` = channels / g.

    Parameters
    ----------
    shape : shape of one lane.
    lanes_in, lanes_out : lanes of a beat at `i` and at `o`.
    channels : channels of a pixel.

    Attributes
    ----------
    latency : cycles from the transfer of the beat that completes an output beat until that beat is valid.
    cycles : cycles a pixel.

    Members
    -------
    i : In(stream.Signature(value_layout(shape, lanes_in)))
    o : Out(stream.Signature(value_layout(shape, lanes_out)))
    """

    def __init__(self, shape: ShapeLike, lanes_in: int, lanes_out: int, channels: int) -> None:
        for lanes in (lanes_in, lanes_out):
            if lanes < 1 or channels % lanes:
                raise ValueError(f"Lanes must divide the {channels} channels, {lanes} do not")
        self.shape = shape
        self.lanes_in = lanes_in
        self.lanes_out = lanes_out
        self.channels = channels
        self.common = gcd(lanes_in, lanes_out)
        self.cycles = channels // self.common
        self.latency = self.latency_of(lanes_in, lanes_out)
        super().__init__(
            {
                "i": In(stream.Signature(value_layout(shape, lanes_in))),
                "o": Out(stream.Signature(value_layout(shape, lanes_out))),
            }
        )

    @staticmethod
    def latency_of(lanes_in: int, lanes_out: int) -> int:
        """Latency between so many lanes."""
        common = gcd(lanes_in, lanes_out)
        splits, joins = lanes_in != common, lanes_out != common
        return splits * (1 if not joins else lanes_in // common) + joins

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        width = Shape.cast(self.shape).width * self.common
        source: Any = self.i
        if self.lanes_in != self.common:
            m.submodules.split = split = _Split(width, self.lanes_in // self.common)
            connect(m, source, split.i)
            source = split.o
        if self.lanes_out != self.common:
            m.submodules.join = join = _Join(width, self.lanes_out // self.common)
            connect(m, source, join.i)
            source = join.o
        connect(m, source, self.o)
        return m


def connect(m: Module, source: Any, sink: Any) -> None:
    """Wires two streams whose payloads have the same width and may differ in layout."""
    assert Shape.cast(source.payload.shape()).width == Shape.cast(sink.payload.shape()).width
    m.d.comb += [
        Value.cast(sink.payload).eq(Value.cast(source.payload)),
        sink.valid.eq(source.valid),
        source.ready.eq(sink.ready),
    ]
