# amaranth: UnusedElaboratable=no
"""Proofs of the link: bytes over its line, and that no frame is accepted whose CRC is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.boards.link.crc import ONES, POLYNOMIAL, SerialCrc
from popstream.boards.link.link import STATES, HostLink
from popstream.boards.link.replies import IDENTITY_CODE
from popstream.boards.link.uart import UartRx, UartTx
from popstream.boards.proof.contract import Bench
from popstream.boards.proof.inside import register
from popstream.boards.proof.order import Order
from popstream.boards.proof.proofs import Proof
from popstream.hw.folding.folding import serial
from popstream.model.manifest import Network, Node

__all__ = ["PROOFS"]

CLOCKS = 4  # of a bit: the fewest
FRAME_BITS = 10


def transmitter(bench: Bench) -> None:
    """A byte is on the line as start bit, eight data bits and stop bit, CLOCKS each; then the next may come."""
    i, m, block = bench.inputs["i"], bench.m, bench.block
    clocks = FRAME_BITS * CLOCKS
    age = Signal(range(clocks + 1), name="age")  # 1 in the first clock of the start bit
    bits = Signal(FRAME_BITS, init=(1 << FRAME_BITS) - 1, name="bits")  # those on the line and to come
    last = (age[:2] == 0) & (age != 0)  # clock of a bit
    with m.If(bench.moves(i)):
        m.d.sync += [age.eq(1), bits.eq(Cat(Const(0, 1), i.payload, Const(1, 1)))]
    with m.Elif(age != 0):
        m.d.sync += age.eq(Mux(age == clocks, 0, age + 1))
        with m.If(last):
            m.d.sync += bits.eq(Cat(bits[1:], Const(1, 1)))
    bench.check(block.tx == bits[0], "the line has each bit of the byte for its time, and is high between bytes")
    bench.check(i.ready == (age == 0), "the next byte is taken when the stop bit has had its time")
    bench.reach(age == clocks, "a byte has left", clocks + 4)
    left, phase, shift = (register(bench.fragment, name) for name in ("left", "phase", "shift"))  # for induction
    gone = Mux(age == 0, FRAME_BITS, (age - 1)[2 : len(age)])
    bench.check(left == FRAME_BITS - gone, "it counts the bits")
    bench.check(phase == Mux(age == 0, 0, (age - 1)[:2]), "it counts the clocks of a bit")
    bench.check(shift == bits[: len(shift)], "it holds the bits to come")
    bench.check(age <= clocks, "a byte has its time")
    for number in range(FRAME_BITS):
        bench.check((gone < number) | bits[FRAME_BITS - 1 - number], "ones follow the byte")
    bench.check((age != 0) | bits.all(), "the line is high between bytes")


class Line(wiring.Component):
    """A transmitter, a line and a receiver."""

    of = ("UartRx",)

    def __init__(self) -> None:
        self.tx, self.rx = UartTx(CLOCKS, 1), UartRx(CLOCKS, 1)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.tx, m.submodules.rx = self.tx, self.rx
        m.d.comb += [
            self.rx.rx.eq(self.tx.tx),
            self.tx.i.valid.eq(self.i.valid), self.tx.i.payload.eq(self.i.payload), self.i.ready.eq(self.tx.i.ready),
            self.o.valid.eq(self.rx.o.valid), self.o.payload.eq(self.rx.o.payload),
        ]  # fmt: skip
        return m


def line(bench: Bench) -> None:
    """Each byte that was sent is received once, in order."""
    Order(bench, 2)
    late = Signal(range(FRAME_BITS * CLOCKS + 8), name="late")  # clocks since a byte went in
    waits = Signal(name="waits")
    i, o, m = bench.inputs["i"], bench.outputs["o"], bench.m
    m.d.sync += [waits.eq(bench.moves(i) | (waits & ~o.valid)), late.eq(Mux(waits & ~bench.moves(i), late + 1, 0))]
    bench.check(late < FRAME_BITS * CLOCKS + 4, "a byte is received when its stop bit has come")


class Bytes(wiring.Component):
    """In the place of a receiver: bytes from the bench."""

    def __init__(self) -> None:
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(8, always_ready=True))})

    def elaborate(self, platform: Any) -> Module:
        return Module()


class Results(wiring.Component):
    """In the place of an accelerator: it takes pixels and gives results as the bench wants."""

    def __init__(self, accelerator: Any) -> None:
        super().__init__({name: accelerator.signature.members[name] for name in ("i", "o")})

    def elaborate(self, platform: Any) -> Module:
        return Module()


def crc_of(m: Module, crc: Value, byte: Value) -> Value:
    """protocol.crc32's register after one more byte."""
    for number, bit in enumerate(byte):
        after = Signal(32, name=f"crc_after{number}")
        m.d.comb += after.eq((crc >> 1) ^ Mux(crc[0] ^ bit, POLYNOMIAL, 0))
        crc = after
    return crc


def apart(bench: Bench, arrives: Value, payload: Signal, least: int) -> Signal:
    """Assumes that bytes come `least` cycles apart, and stay for a bit's time; returns the cycles since the last."""
    since = Signal(range(least + 1), init=least, name="since")
    bench.m.d.sync += since.eq(Mux(arrives, 1, Mux(since == least, since, since + 1)))
    bench.assume(~arrives | (since == least), "bytes come apart")
    bench.assume((since > CLOCKS) | (payload == bench.before(payload, "byte")), "a byte stays")
    return since


SPACING = 12  # cycles between two bytes: fewer than the line has, and enough for the CRC


def checksum(bench: Bench) -> None:
    """The serial CRC is that of protocol.crc32; of a drained byte it tells whether it is the right one."""
    block, m = bench.block, bench.m
    start, data, drain, clear = (bench.free[name] for name in ("start", "data", "drain", "clear"))
    since = apart(bench, start, data, SPACING)
    crc = Signal(32, init=ONES, name="crc")
    wrong = Signal(name="right_wrong")
    bench.assume(~clear | (since == SPACING) & ~start, "a new CRC begins between bytes")
    with m.If(start):
        m.d.sync += crc.eq(Mux(drain, crc >> 8, crc_of(m, crc, data)))
        m.d.sync += wrong.eq(wrong | (drain & (data != ~crc[:8])))
    with m.If(clear):
        m.d.sync += [crc.eq(ONES), wrong.eq(0)]
    idle = ~block.busy
    bench.check(~idle | (register(bench.fragment, "crc") == crc), "the CRC is that of all bytes so far")
    bench.check(~idle | (block.wrong == wrong), "`wrong` tells that a drained byte was another")
    bench.check(~block.busy | (since <= 8), "a byte takes 8 cycles")
    bench.reach(wrong & idle, "a wrong byte is told", 30)


def parser(bench: Bench) -> None:
    """No frame is accepted, by a run or by an answer, unless its four last bytes are the CRC of all before them."""
    block, m, inner = bench.block, bench.m, bench.fragment
    o = block.uart_rx.o
    arrives, byte = bench.input(1, "arrives"), bench.input(8, "byte")
    m.d.comb += [o.valid.eq(arrives), o.payload.eq(byte)]
    since = apart(bench, arrives, byte, SPACING)
    for side, name in ((block.accelerator.i.ready, "pixel_ready"), (block.accelerator.o.valid, "result_valid")):
        m.d.comb += side.eq(bench.input(1, name))
    m.d.comb += Value.cast(block.accelerator.o.payload).eq(
        bench.input(len(Value.cast(block.accelerator.o.payload)), "result")
    )
    inside = {name: register(inner, f"in_{name.lower()}") for name in STATES}
    got = bench.before(arrives, "arrives")
    searching = inside["SYNC"] | inside["SYNC_END"]
    body = Cat(inside[name] for name in ("SEQUENCE", "KIND", "LENGTH", "LENGTH_END", "PAYLOAD")).any()
    crc = Signal(32, init=ONES, name="crc")  # of all bytes since the sync, but for the CRC's own
    tail = Signal(3, name="tail")  # bytes of the CRC
    wrong = Signal(name="wrong")
    with m.If(searching):
        m.d.sync += [crc.eq(ONES), tail.eq(0), wrong.eq(0)]
    with m.Elif(got & body):
        m.d.sync += crc.eq(crc_of(m, crc, byte))
    with m.Elif(got & (inside["CRC"] | inside["CHECK"])):
        m.d.sync += [tail.eq(tail + (tail != 7)), wrong.eq(wrong | (byte != ~crc.word_select(tail[:2], 8)))]
    right = (tail == 4) & ~wrong
    runs, answers = register(inner, "to_run"), register(inner, "to_fetch")
    identifies = bench.before(answers & ~block.busy, "answers") & (register(inner, "reply") == IDENTITY_CODE)
    bench.check(~runs | (inside["CHECK"] & right), "only a frame with the right CRC is computed")
    proper = bench.before(inside["CHECK"] & right, "proper")
    bench.check(~identifies | proper, "only a frame with the right CRC is answered by the identity")
    bench.reach(inside["CRC"], "a frame's CRC is awaited", FRAME)
    # For induction.
    states = Cat(inside.values())
    bench.check((states != 0) & ((states & (states - 1)) == 0), "it is in one state")
    serial_crc, busy = register(inner, "crc", "crc"), register(inner, "crc", "busy")
    checking = inside["CRC"] | inside["CHECK"]
    expected = Mux(checking, crc >> (tail << 3), crc)
    bench.check(~(body | checking) | busy | (serial_crc == expected), "its CRC is that of the bytes so far")
    bench.check(~checking | busy | (register(inner, "crc", "wrong") == wrong), "it knows whether one differed")
    bench.check(~inside["SYNC_END"] | ((serial_crc == ONES) & ~busy), "a frame begins with a new CRC")
    bench.check(~body | ~register(inner, "crc", "wrong"), "nothing differs before the CRC")
    bench.check(~(body | checking) | ~busy | (since <= 9), "a byte takes 8 cycles of the CRC")
    bench.check(~inside["CRC"] | ((tail < 4) & (register(inner, "tail") == tail)), "it counts the CRC's bytes")
    begins = body | inside["SYNC_END"]
    bench.check(~begins | ((tail == 0) & (register(inner, "tail") == 0) & ~wrong), "it counts from none")
    bench.check(~inside["CHECK"] | (tail == 4), "it checks after four of them")


FRAME = 7 * SPACING  # cycles that the bytes before the CRC of the shortest frame take, and one more byte


def tiny_link() -> HostLink:
    """A link to a network of one pixel and two classes, of which bytes and results are the bench's."""
    weight = np.array([[0], [1]], dtype=np.uint8)
    network = Network.build("tiny", "none", ["a", "b"], [
        Node("image", "input", (), dict(channels=1, height=1, width=1, bits=2), {}),
        Node("linear", "linear", ("image",), dict(out_features=2, weight_bits=1, act_bits=2),
             dict(weight=weight, bias=np.zeros(2, np.int32))),
    ])  # fmt: skip
    link = HostLink(network, serial(network), 4e6, 1e6, gap=255)
    link.uart_rx, link.accelerator = Bytes(), Results(link.accelerator)
    return link


PROOFS = [
    Proof("UartTx", f"{CLOCKS} clocks a bit", lambda: UartTx(CLOCKS, 1), transmitter, "stable, bits on the line, ready",
          2, "one cycle: each bit's place is named", induction=True),
    Proof("UartRx", "behind a UartTx", Line, line, "order, count, offered in time", 2 * FRAME_BITS * CLOCKS + 10,
          "two bytes one after the other, and the receiver's delay"),
    Proof("SerialCrc", "", SerialCrc, checksum, "the CRC is protocol.crc32's, wrong bytes are told", SPACING + 2,
          "a byte and two cycles: from one rest to the next", induction=True),
    Proof("HostLink", "a network of one pixel", tiny_link, parser, "accepts no frame whose CRC is wrong", SPACING + 2,
          "a byte and two cycles: from one rest of the CRC to the next", induction=True),
]  # fmt: skip
