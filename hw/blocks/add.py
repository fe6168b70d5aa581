"""Addition of two streams, saturated, with an optional ReLU: where a post-activation residual block's paths meet."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.rounding import saturated
from popstream.hw.lib.skid import LastStage
from popstream.hw.lib.stream import connect, value_layout

__all__ = ["Add"]


class Add(wiring.Component):
    """r = saturate_R(a + b), with relu max(r, 0) (rule R26).

    Both beats are joined, one waits for the other; the sum and the saturation are a stage each. Latency 2 cycles from
    the later of the two, one beat a cycle.

    Parameters
    ----------
    bits : of a and of b, 2 to 16 each.
    stream_bits : R, 2 to 16.
    relu : whether negative results become 0.
    lanes : channels a beat.

    Members
    -------
    i : In, stream of `lanes` values signed(bits[0]).
    i_skip : In, stream of `lanes` values signed(bits[1]).
    o : Out, stream of `lanes` values signed(R).

    Raises
    ------
    ValueError : for a parameter outside of these ranges.
    """

    latency = 2

    def __init__(self, bits: tuple[int, int], stream_bits: int, relu: bool, lanes: int):
        for width in (*bits, stream_bits):
            if not 2 <= width <= 16:
                raise ValueError(f"Stream bits must be 2 to 16, not {width}")
        if lanes < 1:
            raise ValueError(f"Lanes must be at least 1, not {lanes}")
        self.bits = bits
        self.stream_bits = stream_bits
        self.relu = bool(relu)
        self.lanes = lanes
        self.total_bits = max(max(bits) + 1, stream_bits)
        first, second, result = (value_layout(signed(width), lanes) for width in (*bits, stream_bits))
        super().__init__(
            {
                "i": In(stream.Signature(first)),
                "i_skip": In(stream.Signature(second)),
                "o": Out(stream.Signature(result)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.last = last = LastStage(self.o.payload.shape())
        connect(m, last.o, self.o)
        valid = Signal()
        m.d.comb += [
            self.i.ready.eq(self.i_skip.valid & last.i.ready),
            self.i_skip.ready.eq(self.i.valid & last.i.ready),
            last.i.valid.eq(valid),
        ]
        with m.If(last.i.ready):
            m.d.sync += valid.eq(self.i.valid & self.i_skip.valid)
        for lane in range(self.lanes):
            total = Signal(signed(self.total_bits), name=f"total_{lane}", reset_less=True)
            with m.If(last.i.ready):
                m.d.sync += total.eq(self.i.payload[lane] + self.i_skip.payload[lane])
            m.d.comb += last.i.payload[lane].eq(saturated(total, self.stream_bits, self.relu))
        return m
