# amaranth: UnusedElaboratable=no
"""An accelerator with the ports of somebody's design: its own streams or AXI-Stream, and Wishbone registers if wanted.

    bus      ports
    plain    clk, rst, i__payload/valid/ready, o__payload/valid/ready: the accelerator's own
    axi      aclk, aresetn, s_axis_tdata/tvalid/tready/tlast, m_axis_tdata/tvalid/tready/tlast

s_axis: a beat is a pixel, a byte for each channel, the lowest channel in the lowest byte: an image in memory as bytes
[row][column][channel], in that order. tlast marks the last pixel of an image. m_axis: 1 + O beats of 32 bits for an
image: the label, then each class's logit; tlast marks the last. A frame is one image whatever its length (frames.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.skid import LastStage
from popstream.hw.lib.stream import connect
from popstream.hw.wrappers.frames import WORD_BITS, Entry, Words
from popstream.hw.wrappers.registers import WISHBONE, Registers

__all__ = ["BUSES", "Port", "Wrapper"]

BUSES = ("plain", "axi")
BYTE = 8
FLOWS = {"input": In, "output": Out}


class Port(NamedTuple):
    """A port of a Verilog module: its direction is "input" or "output", its width in bits."""

    name: str
    direction: str
    width: int
    meaning: str


class Wrapper(wiring.Component):
    """An accelerator behind other ports.

    Parameters
    ----------
    accelerator : hw.accelerator.Accelerator, or a component with the same `network`, `i` and `o`.
    bus : "plain" or "axi".
    registers : whether to add the Wishbone registers of registers.py. With them no image begins until enabled.

    Attributes
    ----------
    added : list of Port, those that are not the accelerator's own.

    Members
    -------
    Those of `added`; with "plain" `i` and `o` as well.

    Raises
    ------
    ValueError : for another bus, and for "plain" without registers, which is the accelerator itself.
    """

    def __init__(self, accelerator: Any, bus: str = "axi", registers: bool = False) -> None:
        if bus not in BUSES:
            raise ValueError(f"Bus must be {' or '.join(BUSES)}, not {bus!r}")
        if bus == "plain" and not registers:
            raise ValueError("A wrapper without AXI-Stream and registers is the accelerator itself")
        self.accelerator = accelerator
        self.bus = bus
        self.registers = registers
        network = accelerator.network
        self.channels, self.height, self.width = network.input.shape
        self.classes = network.output.shape[0]
        self.entry = Entry(accelerator.i.payload.shape(), self.height * self.width, framed=bus == "axi")
        self.added = [*(self._axi() if bus == "axi" else ()), *(wishbone() if registers else ())]
        members = {name: FLOWS[way](width) for name, way, width, _ in self.added}
        if bus == "plain":
            members |= {name: accelerator.signature.members[name] for name in ("i", "o")}
        super().__init__(members)

    def _axi(self) -> list[Port]:
        """Clock, both streams, and the error."""
        bits = len(Value.cast(self.accelerator.i.payload)) // self.channels
        code = f"channel c is the lowest {bits} bits of byte c" if bits < BYTE else "channel c is byte c"
        pixel = f"one pixel: {code}, unsigned; by rows, {self.height} x {self.width} an image"
        word = f"label, then the logits of classes 0 to {self.classes - 1}, two's complement"
        return [
            Port("aclk", "input", 1, "clock, rising edge"),
            Port("aresetn", "input", 1, "synchronous reset, low; drops everything in flight"),
            Port("s_axis_tdata", "input", BYTE * self.channels, pixel),
            Port("s_axis_tvalid", "input", 1, "s_axis_tdata holds a pixel; stays until s_axis_tready"),
            Port("s_axis_tready", "output", 1, "the pixel is taken in this cycle"),
            Port("s_axis_tlast", "input", 1, "the last pixel of an image"),
            Port("m_axis_tdata", "output", WORD_BITS, word),
            Port("m_axis_tvalid", "output", 1, "m_axis_tdata holds a word; stays until m_axis_tready"),
            Port("m_axis_tready", "input", 1, "the word is taken in this cycle"),
            Port("m_axis_tlast", "output", 1, "the last word of a result"),
            Port("frame_error", "output", 1, "for a cycle: s_axis_tlast came early or did not come"),
        ]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.accelerator = accelerator = self.accelerator
        axi = self.bus == "axi"
        m.submodules.entry = entry = self.entry
        connect(m, entry.o, accelerator.i)
        m.d.comb += entry.enable.eq(1)
        if axi:
            self._clock(m)
            self._streams(m)
        else:
            connect(m, self.i, entry.i)
            connect(m, accelerator.o, self.o)
        if self.registers:
            m.submodules.registers = registers = Registers(int(accelerator.network.hash[:8], 16))
            for name, (flow, _, _) in WISHBONE.items():
                inner, outer = getattr(registers, f"wb_{name}"), getattr(self, f"wb_{name}")
                m.d.comb += inner.eq(outer) if flow is In else outer.eq(inner)
            left = [self.m_axis_tvalid, self.m_axis_tready, self.m_axis_tlast] if axi else [self.o.valid, self.o.ready]
            m.d.comb += [
                entry.enable.eq(registers.enable),
                registers.begun.eq(entry.begun),
                registers.inside.eq(entry.inside),
                registers.error.eq(entry.error),
                registers.done.eq(Cat(left).all()),
            ]
        return m

    def _clock(self, m: Module) -> None:
        """The domain of everything inside runs on aclk."""
        m.domains.sync = ClockDomain()
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]

    def _streams(self, m: Module) -> None:
        """Registers on both sides; a byte for each channel, of which a code takes the lowest bits."""
        bits = len(Value.cast(self.accelerator.i.payload)) // self.channels
        m.submodules.entrance = entrance = LastStage(self.entry.i.payload.shape())
        m.submodules.words = words = Words(self.accelerator.o.payload.shape())
        m.submodules.exit = leaving = LastStage(words.o.payload.shape())
        codes = Cat(self.s_axis_tdata.word_select(channel, BYTE)[:bits] for channel in range(self.channels))
        m.d.comb += [
            Value.cast(entrance.i.payload.pixel).eq(codes),
            entrance.i.payload.last.eq(self.s_axis_tlast),
            entrance.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(entrance.i.ready),
            self.m_axis_tdata.eq(leaving.o.payload.word),
            self.m_axis_tlast.eq(leaving.o.payload.last),
            self.m_axis_tvalid.eq(leaving.o.valid),
            leaving.o.ready.eq(self.m_axis_tready),
            self.frame_error.eq(self.entry.error),
        ]
        connect(m, entrance.o, self.entry.i)
        connect(m, self.accelerator.o, words.i)
        connect(m, words.o, leaving.i)


def wishbone() -> list[Port]:
    """The bus of registers.py as ports."""
    ways = {flow: way for way, flow in FLOWS.items()}
    return [Port(f"wb_{name}", ways[flow], bits, meaning) for name, (flow, bits, meaning) in WISHBONE.items()]
