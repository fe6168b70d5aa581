"""Stream plumbing: the layout of a beat, fan-out, change of lane count, and buffering."""

from __future__ import annotations

from math import gcd
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, ShapeLike, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.memory import in_block

__all__ = ["Fork", "Repack", "StreamFifo", "connect", "value_layout"]


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


class StreamFifo(wiring.Component):
    """First-in first-out buffer of `depth` beats, with registered output and registered `i.ready`.

    A shallow one lies in LUTs (distributed RAM) and gives its data from the memory's read register. Block RAM is slow
    to give its data (5.6 ns on an ECP5), so that they go from there into a register of their own. There is no
    combinational path between `i` and `o` in either direction.

    Latency 2 cycles (1 with depth 1, 3 from block RAM); a beat each cycle for depth > 2, every other cycle for depths 1
    and 2.

    Parameters
    ----------
    shape : payload shape.
    depth : beats that fit, at least 1.

    Attributes
    ----------
    block : whether it is in block RAM.
    latency : cycles from a transfer at `i` until the beat is valid at `o`, if nothing is before it.

    Members
    -------
    i : In(stream.Signature(shape))
    o : Out(stream.Signature(shape))
    """

    def __init__(self, shape: Any, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"A FIFO must be at least 1 beat deep, not {depth}")
        self.shape = shape
        self.depth = depth
        self.width = Shape.cast(shape).width
        self.block = self.in_block(depth, self.width)
        self.latency = self.latency_of(depth, self.width)
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @staticmethod
    def in_block(depth: int, width: int) -> bool:
        """Whether a FIFO of that depth and width is in block RAM (hw.memory)."""
        return in_block(depth, width)

    @classmethod
    def latency_of(cls, depth: int, width: int = 1) -> int:
        """Latency of a FIFO of that depth and width."""
        return 1 if depth == 1 else 3 if cls.in_block(depth, width) else 2

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        payload = Value.cast(self.o.payload)
        if self.depth == 1:
            m.d.comb += self.i.ready.eq(~self.o.valid)
            with m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
            with m.If(self.i.ready):
                m.d.sync += [self.o.valid.eq(self.i.valid), payload.eq(self.i.payload)]
            return m
        words = self.depth - (2 if self.block else 1)  # the others wait in the registers behind
        # No word is read in the cycle in which it is written: the memory is empty or full then.
        m.submodules.memory = memory = Memory(
            shape=unsigned(self.width),
            depth=1 << (words - 1).bit_length() if self.block else words,  # a power of two: addresses wrap
            init=[],
            attrs={"no_rw_check": 1} | ({"ram_style": "block"} if self.block else {}),
        )
        read, write = memory.read_port(), memory.write_port()
        level = Signal(range(words + 1))  # words in the memory
        full, empty = Signal(), Signal(init=1)
        valid = Signal()  # the memory's read register holds a beat
        free = Signal()  # `o` takes it, or there is none
        m.d.comb += [
            self.i.ready.eq(~full),
            write.en.eq(self.i.valid & ~full),
            write.data.eq(self.i.payload),
            read.en.eq(~empty & free),
        ]
        for port in (read, write):
            with m.If(port.en):
                m.d.sync += port.addr.eq(Mux(port.addr == memory.depth - 1, 0, port.addr + 1))
        with m.If(write.en & ~read.en):
            m.d.sync += [level.eq(level + 1), full.eq(level == words - 1), empty.eq(0)]
        with m.Elif(read.en & ~write.en):
            m.d.sync += [level.eq(level - 1), empty.eq(level == 1), full.eq(0)]
        with m.If(free):
            m.d.sync += valid.eq(~empty)
        if not self.block:
            m.d.comb += [self.o.valid.eq(valid), payload.eq(read.data), free.eq(~valid | self.o.ready)]
            return m
        m.d.comb += free.eq(~valid | ~self.o.valid | self.o.ready)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(valid), payload.eq(read.data)]
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
