"""A FIFO of a stream's beats, in distributed or block RAM."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Shape, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.memory import in_block
from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.skid import LastStage, Skid
from popstream.hw.lib.stream import connect

__all__ = ["StreamFifo"]


class StreamFifo(wiring.Component):
    """First-in first-out buffer of `depth` beats, with registered output and registered `i.ready`.

    A shallow one lies in LUTs (distributed RAM) and gives its data from the memory's read register. Block RAM is slow
    to give its data (5.8 ns on an ECP5), so that they go from there into a register of their own. From a depth of 4 on,
    `o.ready` ends at a skid buffer. There is no combinational path between `i` and `o` in either direction.

    Latency 2 cycles (1 with depth 1, 3 from block RAM), with `apart` one more; a beat each cycle for depth > 2, every
    other cycle for depths 1 and 2.

    Parameters
    ----------
    shape : payload shape.
    depth : beats that fit, at least 1.
    apart : whether what writes may lie far from the memory: beats and the write's enable then come from registers of
        the FIFO, if it is at least LEAST_APART deep. Not on an iCE40, whose cells are few.

    Attributes
    ----------
    apart : whether it is so.
    block : whether it is in block RAM.
    skids : whether it ends at a skid buffer.
    latency : cycles from a transfer at `i` until the beat is valid at `o`, if nothing is before it.

    Members
    -------
    i : In(stream.Signature(shape))
    o : Out(stream.Signature(shape))
    """

    LEAST_APART = 6  # with fewer words, a beat on its way to the memory would cost beats a cycle

    def __init__(self, shape: Any, depth: int, apart: bool = False) -> None:
        if depth < 1:
            raise ValueError(f"A FIFO must be at least 1 beat deep, not {depth}")
        self.shape = shape
        self.depth = depth
        self.width = Shape.cast(shape).width
        self.block = self.in_block(depth, self.width)
        self.skids = self.has_skid(depth)
        self.apart = apart and depth >= self.LEAST_APART
        self.latency = self.latency_of(depth, self.width, apart)
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @staticmethod
    def in_block(depth: int, width: int) -> bool:
        """Whether a FIFO of that depth and width is in block RAM (hw.lib.memory)."""
        return in_block(depth, width)

    @staticmethod
    def has_skid(depth: int) -> bool:
        """Whether a FIFO of that depth ends at a skid buffer: where two words or more are left for the memory."""
        return depth >= 4

    @classmethod
    def latency_of(cls, depth: int, width: int = 1, apart: bool = False) -> int:
        """Latency of a FIFO of that depth and width."""
        return (1 if depth == 1 else 3 if cls.in_block(depth, width) else 2) + (apart and depth >= cls.LEAST_APART)

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
        # The other beats wait in the registers behind: the memory's own, in block RAM one more, and in the skid buffer.
        words = self.depth - 1 - self.block - (self.skids and Skid.built(platform))
        rounded = 1 << (words - 1).bit_length()  # addresses come round by themselves
        # No word is read in the cycle in which it is written: the memory is empty or full then.
        m.submodules.memory = memory = Memory(
            shape=unsigned(self.width),
            depth=rounded if self.block or Skid.built(platform) else words,  # an iCE40's may be flip-flops
            init=[],
            attrs={"no_rw_check": 1} | ({"ram_style": "block"} if self.block else {}),
        )
        read, write = memory.read_port(), memory.write_port()
        level = Signal(range(words + 1))  # words in the memory, and on their way to it
        full, empty = Signal(), Signal(init=1)
        valid = Signal()  # the memory's read register holds a beat
        free = Signal()  # `o` takes it, or there is none
        taken = self.i.valid & ~full
        m.d.comb += [self.i.ready.eq(~full), read.en.eq(~empty & free)]
        if self.apart and Skid.built(platform):
            written, beat = Signal(), Signal(self.width, reset_less=True)
            m.d.sync += [written.eq(taken), beat.eq(Value.cast(self.i.payload))]
            m.d.comb += [write.en.eq(written), write.data.eq(beat)]
        else:
            m.d.comb += [write.en.eq(taken), write.data.eq(self.i.payload)]
        for port in (read, write):
            with m.If(port.en):
                m.d.sync += port.addr.eq(next_of(port.addr, memory.depth))
        with m.If(taken & ~read.en):
            m.d.sync += [level.eq(level + 1), full.eq(level == words - 1)]
        with m.Elif(read.en & ~taken):
            m.d.sync += [level.eq(level - 1), full.eq(0)]
        with m.If(write.en & ~read.en):
            m.d.sync += empty.eq(0)
        with m.Elif(read.en & ~write.en):
            m.d.sync += empty.eq(level == 1)
        with m.If(free):
            m.d.sync += valid.eq(~empty)
        last: Any = self.o
        if self.skids:
            m.submodules.skid = skid = LastStage(self.width) if self.block else Skid(self.width)
            connect(m, skid.o, self.o)
            last = skid.i
        m.d.comb += [last.valid.eq(valid), Value.cast(last.payload).eq(read.data), free.eq(~valid | last.ready)]
        return m
