# amaranth: UnusedElaboratable=no
"""UART receiver and transmitter: 8 data bits, no parity, 1 stop bit, least significant bit first.

The bit clock is a phase accumulator, phase += step (mod 2^width), whose carry is a tick: clock / baud need not be an
integer. A tick is early or late by less than one clock, so each bit must have 4 clocks or more.
"""

from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from popstream.boards.link.protocol import MAX_BAUD

__all__ = ["UartRx", "UartTx", "bit_clock"]

ACCURACY = 500  # baud is met to 1 part in so many: 2 % of a bit at the end of a byte
MAJORITY_CLOCKS = 6  # bits of so many clocks are sampled three times
LEAST_CLOCKS = 4
MAX_WIDTH = 24


def bit_clock(clock_hz: float, baud: float) -> tuple[int, int]:
    """(step, width) of the narrowest phase accumulator with |step * clock / 2^width - baud| <= baud / 500.

    Raises ValueError for a baud below 1, above MAX_BAUD or of which a bit has less than 4 clocks.
    """
    if not 1 <= baud <= MAX_BAUD:
        raise ValueError(f"Baud must be 1 to {MAX_BAUD:,}, not {baud:,}")
    if clock_hz < LEAST_CLOCKS * baud:
        raise ValueError(f"A bit must have at least {LEAST_CLOCKS} clocks, not {clock_hz / baud:.3g}; lower the baud")
    for width in range(1, MAX_WIDTH + 1):
        step = round((1 << width) * baud / clock_hz)
        if step and abs(step * clock_hz / (1 << width) / baud - 1) <= 1 / ACCURACY:
            return step, width
    raise ValueError(f"Baud {baud:,} is too slow for a clock of {clock_hz:,} Hz")


class UartRx(wiring.Component):
    """Bytes from a line. A byte without its stop bit is dropped; a low line counts as idle until it has been high.

    A bit is sampled in its middle: once, or from 6 clocks a bit on three times in consecutive clocks, of which the
    majority counts. The sender's bits may be 2 % too long or short. A start bit that is high in its middle is noise
    and ignored.

    Parameters
    ----------
    clock_hz, baud : of the clock and the line; see `bit_clock` for their limits.

    Members
    -------
    rx : In(1), init 1, asynchronous.
    o : Out, stream of 8 bits, always ready: `valid` is high for one cycle; the payload stays for a bit's time.
    """

    def __init__(self, clock_hz: float, baud: float):
        self.step, self.width = bit_clock(clock_hz, baud)
        self.majority = clock_hz >= MAJORITY_CLOCKS * baud
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        line = Signal(init=1)
        before = Signal(2, init=3)  # the line one and two clocks ago
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)
        m.d.sync += before.eq(Cat(line, before[0]))
        value = (line & before[0]) | (line & before[1]) | (before[0] & before[1]) if self.majority else line

        phase = Signal(self.width)
        tick = Signal()
        m.d.sync += phase.eq((phase + self.step)[: self.width])
        m.d.comb += tick.eq((phase + self.step)[self.width])
        shift = Signal(8, reset_less=True)
        index = Signal(range(10))  # bit of the frame that is due: 0 is the start bit, 9 the stop bit
        active = Signal()
        m.d.comb += self.o.payload.eq(shift)
        m.d.sync += self.o.valid.eq(0)
        with m.If(~active):
            m.d.sync += [phase.eq(1 << (self.width - 1)), index.eq(0), active.eq(before[0] & ~line)]
        with m.Elif(tick):
            m.d.sync += index.eq(index + 1)
            with m.If(index == 9):
                m.d.sync += [active.eq(0), self.o.valid.eq(value)]
            with m.Elif(index == 0):
                m.d.sync += active.eq(~value)
            with m.Else():
                m.d.sync += shift.eq(Cat(shift[1:], value))
        return m


class UartTx(wiring.Component):
    """Bytes onto a line, 10 bits each; the line comes from a register. A clock passes between two bytes at most.

    Parameters
    ----------
    clock_hz, baud : of the clock and the line; see `bit_clock` for their limits.

    Members
    -------
    i : In, stream of 8 bits.
    tx : Out(1), init 1.
    """

    def __init__(self, clock_hz: float, baud: float):
        self.step, self.width = bit_clock(clock_hz, baud)
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        shift = Signal(9, init=0x1FF)  # the lowest bit is on the line
        left = Signal(range(11))  # bits, the one on the line included
        phase = Signal(self.width)
        tick = Signal()
        m.d.comb += [
            self.tx.eq(shift[0]),
            self.i.ready.eq(left == 0),
            tick.eq((phase + self.step)[self.width]),
        ]
        m.d.sync += phase.eq(Mux(self.i.ready, 0, (phase + self.step)[: self.width]))
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += [shift.eq(Cat(C(0, 1), self.i.payload)), left.eq(10)]
        with m.Elif(tick):  # never while it is ready
            m.d.sync += [shift.eq(Cat(shift[1:], C(1, 1))), left.eq(left - 1)]
        return m
