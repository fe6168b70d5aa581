"""A Wishbone slave of eight words: start and stop, status, counts and times of an accelerator.

Wishbone B4, classic cycles (no burst, no pipelining), 32 bits, addressed by words, as LiteX and amaranth-soc have it:

    byte  word  name      access
    0x00  0     id        read        0x504F5053, "POPS"
    0x04  1     hash      read        the first 32 bits of the network's hash
    0x08  2     control   read/write  bit 0, enable: images may begin; one that has begun goes in to its end
    0x0C  3     status    read        bit 0, busy: an image is on its way in or through; bits 31..16: images in flight
    0x10  4     images    read        results that have left, modulo 2^32
    0x14  5     errors    read        frames that were too short or too long (tlast), at most 2^32 - 1
    0x18  6     interval  read        cycles between the last two results, 0 before there are two
    0x1C  7     latency   read        cycles from an image's first pixel to the end of its result, of the last image
                                      measured (one at a time), 0 before there is one

Times stay at 2^32 - 1 rather than begin anew. A write to a word that is for reading changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ADDRESS_BITS", "DATA_BITS", "ID", "REGISTERS", "WISHBONE", "Registers", "counted"]

ID = 0x504F5053
REGISTERS = ("id", "hash", "control", "status", "images", "errors", "interval", "latency")
DATA_BITS, ADDRESS_BITS = 32, 3
FLIGHT_BITS = 16
MOST = 2**DATA_BITS - 1
WISHBONE = {  # as the slave sees it: name, flow, bits, meaning
    "adr": (In, ADDRESS_BITS, "address of a word (not of a byte)"),
    "dat_w": (In, DATA_BITS, "data to write"),
    "dat_r": (Out, DATA_BITS, "data read, with wb_ack"),
    "sel": (In, DATA_BITS // 8, "bytes to write"),
    "cyc": (In, 1, "a cycle of the bus is going on"),
    "stb": (In, 1, "this slave is asked"),
    "we": (In, 1, "write, not read"),
    "ack": (Out, 1, "done: for one clock"),
}


def counted(events: Iterable[tuple[bool, bool, bool]]) -> dict[str, int]:
    """What the counters hold after cycles of (begun, done, error): images, errors, interval, latency, in flight."""
    images = errors = interval = latency = flight = ahead = 0
    before: int | None = None  # cycle of the last result
    first: int | None = None  # cycle in which the image that is measured began
    for cycle, (begun, done, error) in enumerate(events):
        free = first is None
        errors += error
        if done:
            interval = 0 if before is None else cycle - before
            before = cycle
            images += 1
            if first is not None and ahead == 0:
                latency, first = cycle - first, None
            ahead -= 1
        if begun and free:
            first, ahead = cycle, flight - done
        flight += begun - done
    return dict(images=images, errors=errors, interval=interval, latency=latency, flight=flight)


class Registers(wiring.Component):
    """The registers above. Answers in the cycle after it is asked; one access in two cycles.

    Parameters
    ----------
    hash : the network's, 0 to 2^32 - 1.
    enabled : whether images may begin after reset, before anything is written.

    Members
    -------
    wb_<signal> : the bus, the signals of WISHBONE.
    enable : Out, 1 bit: images may begin.
    begun, inside, done, error : In, 1 bit: an image begins; is on its way in; a result has left; a frame was bad.
    """

    def __init__(self, hash: int, enabled: bool = False) -> None:
        if not 0 <= hash <= MOST:
            raise ValueError(f"Hash must be 32 bits, not {hash:#x}")
        self.hash = hash
        self.enabled = enabled
        bus = {f"wb_{name}": flow(bits) for name, (flow, bits, _) in WISHBONE.items()}
        inputs = dict.fromkeys(("begun", "inside", "done", "error"), In(1))
        super().__init__(bus | inputs | {"enable": Out(1, init=int(enabled))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        images, errors, interval, latency = (Signal(DATA_BITS, name=name) for name in REGISTERS[4:])
        flight = Signal(FLIGHT_BITS)
        busy = Signal()
        status = Signal(DATA_BITS)
        m.d.comb += [
            busy.eq(self.inside | (flight != 0)),
            status.eq(Cat(busy, Const(0, DATA_BITS - FLIGHT_BITS - 1), flight)),
        ]
        m.d.sync += [
            flight.eq(flight + self.begun - self.done),
            images.eq(images + self.done),
            errors.eq(errors + (self.error & (errors != MOST))),
        ]

        since, seen = Signal(DATA_BITS), Signal()  # cycles since the last result, and whether there is one
        m.d.sync += since.eq(after(since))
        with m.If(self.done):
            m.d.sync += [since.eq(1), seen.eq(1), interval.eq(Mux(seen, since, 0))]

        timer, ahead, timing = Signal(DATA_BITS), Signal(FLIGHT_BITS), Signal()  # of the image that is measured
        m.d.sync += [timer.eq(after(timer)), ahead.eq(ahead - self.done)]
        with m.If(timing), m.If(self.done & (ahead == 0)):
            m.d.sync += [latency.eq(timer), timing.eq(0)]
        with m.Elif(self.begun):
            m.d.sync += [timer.eq(1), timing.eq(1), ahead.eq(flight - self.done)]

        words = (Const(ID), Const(self.hash, DATA_BITS), self.enable, status, images, errors, interval, latency)
        asked = Signal()
        m.d.comb += asked.eq(self.wb_cyc & self.wb_stb & ~self.wb_ack)
        m.d.sync += self.wb_ack.eq(asked)
        with m.If(asked):
            with m.Switch(self.wb_adr):
                for number, word in enumerate(words):
                    with m.Case(number):
                        m.d.sync += self.wb_dat_r.eq(word)
            with m.If(self.wb_we & self.wb_sel[0] & (self.wb_adr == REGISTERS.index("control"))):
                m.d.sync += self.enable.eq(self.wb_dat_w[0])
        return m


def after(time: Value) -> Value:
    """One cycle more, and no more than fits."""
    return time + (time != MOST)
