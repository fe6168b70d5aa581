"""CRC-32 a bit at a time, for receiving and for sending: 32 flip-flops and a byte. `protocol.crc32` is its model."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SerialCrc"]

POLYNOMIAL = 0xEDB88320  # 0x04C11DB7, low bits first
ONES = 0xFFFFFFFF


class SerialCrc(wiring.Component):
    """A byte in 8 cycles, low bit first: crc = (crc >> 1) ^ (POLYNOMIAL if crc[0] ^ bit else 0), from all ones.

    absorb: the byte goes into the CRC; `byte` is the same again afterwards.
    drain: a byte of the finished CRC, the lowest first, comes out: it is in `byte` afterwards, and `wrong` rises and
        stays if the byte that was given is another one. Four of them make the whole CRC.

    Members
    -------
    clear : In(1), start a new CRC: takes effect in the next cycle.
    start : In(1), take `data` and begin; only while not `busy`.
    drain : In(1), with `start`.
    data : In(8).
    busy : Out(1), high for the 8 cycles after `start`.
    byte : Out(8), valid from then on until the next `start`.
    wrong : Out(1), a drained byte differed since `clear`.
    """

    def __init__(self) -> None:
        inputs = {"clear": In(1), "start": In(1), "drain": In(1), "data": In(8)}
        super().__init__({**inputs, "busy": Out(1), "byte": Out(8), "wrong": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        crc = Signal(32, init=ONES)
        draining = Signal()
        count = Signal(4)  # 8 to 15 while busy
        feedback = Signal()
        m.d.comb += [self.busy.eq(count[3]), feedback.eq(~draining & (crc[0] ^ self.byte[0]))]
        with m.If(self.start):
            m.d.sync += [self.byte.eq(self.data), draining.eq(self.drain), count.eq(8)]
        with m.Elif(self.busy):
            m.d.sync += [
                count.eq(count + 1),
                self.byte.eq(Cat(self.byte[1:], Mux(draining, ~crc[0], self.byte[0]))),
                crc.eq((crc >> 1) ^ Mux(feedback, POLYNOMIAL, 0)),
                self.wrong.eq(self.wrong | (draining & (crc[0] == self.byte[0]))),
            ]
        with m.If(self.clear):
            m.d.sync += [crc.eq(ONES), self.wrong.eq(0)]
        return m
