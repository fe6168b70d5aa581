"""Skid buffers: cut the combinational path of `ready` from a stream's sink back to its source."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.device import is_ice40
from popstream.hw.lib.stream import connect

__all__ = ["LastStage", "Skid"]


class Skid(wiring.Component):
    """Passes beats on in the same cycle, and keeps the one that comes while `o` does not take it.

    `i.ready` is a register: high while nothing is kept. Where a residual block's stream forks, both sinks' `ready`
    would otherwise go on, through the requantization, to the accumulators' FIFO.

    Latency 0, a beat each cycle. A flip-flop and a LUT a bit. An iCE40, whose clocks are slow and whose cells are
    few, does without: there the streams are connected as they are.

    Parameters
    ----------
    shape : payload shape.

    Members
    -------
    i : In(stream.Signature(shape))
    o : Out(stream.Signature(shape))
    """

    def __init__(self, shape: Any) -> None:
        self.width = Shape.cast(shape).width
        self.latency = 0
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @staticmethod
    def built(platform: Any) -> bool:
        """Whether there is a buffer at all on the platform."""
        return not is_ice40(platform)

    @staticmethod
    def keeps(valid: Value, full: Value, ready: Value) -> Value:
        """Whether a beat is kept in the next cycle: one is there, come now or before, and the sink does not take it."""
        return (valid | full) & ~ready

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if not self.built(platform):
            connect(m, self.i, self.o)
            return m
        kept = Signal(self.width, reset_less=True)
        full = Signal()
        m.d.comb += [
            self.i.ready.eq(~full),
            self.o.valid.eq(self.i.valid | full),
            Value.cast(self.o.payload).eq(Mux(full, kept, Value.cast(self.i.payload))),
        ]
        with m.If(~full):
            m.d.sync += kept.eq(self.i.payload)
        m.d.sync += full.eq(self.keeps(self.i.valid, full, self.o.ready))
        return m


class LastStage(wiring.Component):
    """The output register of a pipeline whose stages share one clock enable, which is `i.ready`; and a skid buffer.

    `i.ready` is a register of its own: low while both the output register and the skid buffer hold a beat. It drives
    the enables of hundreds of flip-flops, all over the place: a gate between it and them would cost a way there.

    Latency 1, a beat each cycle. Two flip-flops and a LUT a bit. On an iCE40 there is the output register alone, and
    `i.ready` is the gate.

    Parameters
    ----------
    shape : payload shape.

    Members
    -------
    i : In(stream.Signature(shape))
    o : Out(stream.Signature(shape))
    """

    def __init__(self, shape: Any) -> None:
        self.shape = shape
        self.latency = 1
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.skid = skid = Skid(self.shape)
        connect(m, skid.o, self.o)
        valid, payload = skid.i.valid, Value.cast(skid.i.payload)
        valid_next = Signal()
        m.d.comb += valid_next.eq(Mux(self.i.ready, self.i.valid, valid))
        m.d.sync += valid.eq(valid_next)
        with m.If(self.i.ready):
            m.d.sync += payload.eq(Value.cast(self.i.payload))
        if Skid.built(platform):
            ready = Signal(init=1)
            m.d.sync += ready.eq(~(valid_next & Skid.keeps(valid, ~skid.i.ready, self.o.ready)))
            m.d.comb += self.i.ready.eq(ready)
        else:
            m.d.comb += self.i.ready.eq(~valid | skid.i.ready)
        return m
