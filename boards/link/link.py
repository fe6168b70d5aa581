# amaranth: UnusedElaboratable=no
"""The accelerator behind a UART: requests in, replies out, as boards/link/protocol.py says. One request at a time.

    rx ─► UartRx ─► frame check ─► memory (image; constant parts of the replies) ─► accelerator
                        │ CRC                 │                                         │ label, logits
    tx ◄─ UartTx ◄──────┴─────────────────────┴──────────────◄── cycle counter ◄────────┘

An image is fed only after its length, its CRC and the range of its codes have been found right, so that a damaged
frame cannot change a result, nor what is in flight. While a request is computed or answered, the receiver is deaf.
"""

from collections.abc import Mapping
from math import ceil, log2
from typing import Any

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.boards.link.buffer import Buffer
from popstream.boards.link.crc import SerialCrc
from popstream.boards.link.multiplex import multiplex
from popstream.boards.link.onehot import OneHot
from popstream.boards.link.pixels import gather
from popstream.boards.link.protocol import GAP_SECONDS, MAX_COUNT, SYNC, Fault, Kind
from popstream.boards.link.replies import IDENTITY_CODE, RESULT_CODE, identity, layout
from popstream.boards.link.uart import UartRx, UartTx
from popstream.hw.accelerator import Accelerator
from popstream.hw.folding.folding import Fold
from popstream.hw.folding.room import Reload
from popstream.hw.lib.skid import Skid
from popstream.hw.lib.stream import connect
from popstream.model.manifest import Network

__all__ = ["HostLink"]

CYCLE_BITS = 32
SLACK = 64  # a count of cycles has room for a pipeline that holds so many images
STATES = (
    *("SYNC", "SYNC_END", "SEQUENCE", "KIND", "LENGTH", "LENGTH_END", "PAYLOAD", "CRC", "CHECK", "RUN"),
    *("FETCH", "READ", "FETCHED", "LOAD", "SEND", "TAIL", "TAIL_SEND"),
)
LEAST_GAP_BITS = 20  # bit times: a pause of a byte is no gap


class HostLink(wiring.Component):
    """`network`'s accelerator with a UART.

    Parameters
    ----------
    network, folding, reload : as for the Accelerator.
    clock_hz : of the sync domain.
    baud : of the UART, at most 3,000,000 and a quarter of the clock.
    gap : clocks of silence that end a broken frame, rounded up to a power of two; by default GAP_SECONDS.

    Attributes
    ----------
    accelerator : the Accelerator inside.
    identity : the Identity it answers with.
    memory : content and addresses of the buffer (replies.Memory).

    Members
    -------
    rx : In(1), init 1, asynchronous.
    tx : Out(1).
    busy : Out(1), high from a good request until its reply has left.
    """

    def __init__(
        self,
        network: Network,
        folding: Mapping[str, Fold],
        clock_hz: float,
        baud: float,
        gap: int | None = None,
        reload: Reload | None = None,
    ):
        self.network = network
        self.uart_rx, self.uart_tx = UartRx(clock_hz, baud), UartTx(clock_hz, baud)
        wanted = clock_hz * GAP_SECONDS if gap is None else gap
        if not LEAST_GAP_BITS * clock_hz / baud <= wanted < 1 << (CYCLE_BITS - 1):
            raise ValueError(
                f"A gap must be {ceil(LEAST_GAP_BITS * clock_hz / baud)} ({LEAST_GAP_BITS} bits) to "
                f"{(1 << (CYCLE_BITS - 1)) - 1} clocks, not {wanted:.0f}"
            )
        self.gap_bit = ceil(log2(wanted))
        self.accelerator = Accelerator(network, folding, reload=reload)
        self.folding = self.accelerator.folding
        self.identity = identity(network, self.folding, clock_hz, baud)
        self.memory = layout(self.identity)
        most = (MAX_COUNT + SLACK) * self.identity.interval
        self.cycle_bits = CYCLE_BITS if reload else min(CYCLE_BITS, max(most.bit_length(), self.gap_bit + 1))
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.uart_rx, m.submodules.uart_tx = rx, tx = self.uart_rx, self.uart_tx
        m.submodules.accelerator = self.accelerator
        m.submodules.crc = crc = SerialCrc()
        m.submodules.buffer = buffer = Buffer(self.memory.words)
        place, result = self.memory, self.accelerator.o

        # The byte stays for long: what it may be is known, in registers, when `got` comes a cycle after it.
        byte, got = rx.o.payload, Signal()
        m.d.sync += got.eq(rx.o.valid)
        kind = Signal(3)  # the bits of Kind
        requests = {Kind.IDENTIFY: 0, Kind.CLASSIFY: place.size, Kind.SELFTEST: 1}
        low_right, high_right, length_right = Signal(), Signal(), Signal()
        sync, sync_end, in_range, legal = Signal(), Signal(), Signal(), Signal()
        sizes = ((kind & Cat(byte == (size >> shift & 0xFF) for size in requests.values())).any() for shift in (0, 8))
        m.d.sync += [right.eq(size) for right, size in zip((low_right, high_right), sizes, strict=True)]
        m.d.sync += [sync.eq(byte == SYNC[0]), sync_end.eq(byte == SYNC[1])]
        m.d.sync += in_range.eq(~byte[self.network.entry_bits :].any())
        held = Signal()  # a good image is in the buffer
        taken = Signal()  # the result leaves; `ready` comes from a register, as its sink is far away
        tail = Signal(2)  # byte of the CRC
        body = Signal()  # the reply's sync and sequence number have left
        reply = Signal(3)  # a Fault, RESULT_CODE or IDENTITY_CODE
        feed_left, finish_left = Signal(8), Signal(8)  # images
        listening, running, advance = Signal(), Signal(), Signal()
        answering, code = Signal(), Signal(3)

        address = Signal(range(len(place.words)))
        to_sequence, to_image, to_body, step = Signal(), Signal(), Signal(), Signal()
        at_end = address == place.size - 1  # of the image; the replies lie behind it
        with m.If(to_sequence | to_image | to_body | answering | (step & at_end)):
            body_address = Mux(reply == RESULT_CODE, place.result, place.error | Cat(C(0, 2), reply))
            m.d.sync += address.eq(
                Mux(to_sequence, place.sequence, 0) | Mux(to_body, body_address, 0) | Mux(answering, place.error, 0)
            )
        with m.Elif(step):
            m.d.sync += address.eq(address + 1)
        cycles = Signal(self.cycle_bits)
        with m.If((listening & got) | ~(listening | running | self.busy)):
            m.d.sync += cycles.eq(0)
        with m.Elif(listening | running):
            m.d.sync += cycles.eq(cycles + 1)

        m.d.comb += [self.tx.eq(tx.tx), rx.rx.eq(self.rx), tx.i.payload.eq(crc.byte)]
        m.d.comb += buffer.enable.eq(~running | advance)
        m.d.comb += result.ready.eq(taken)
        m.d.sync += taken.eq(0)
        m.d.comb += [buffer.address.eq(address), buffer.word.eq(Cat(byte, C(1, 1)))]
        dynamic = self._result_byte(m, address, cycles)
        fixed, measured, marked = Signal(8), Signal(8), Signal()
        m.d.sync += [Cat(fixed, marked).eq(buffer.data), measured.eq(Mux(body & (reply == RESULT_CODE), dynamic, 0))]
        m.d.comb += crc.data.eq(Mux(self.busy, fixed | measured, byte))
        m.submodules.pixels = pixels = Skid(self.accelerator.i.payload.shape())  # the first layer may lie far away
        connect(m, pixels.o, self.accelerator.i)
        channels, bits = self.network.input.shape[0], self.network.entry_bits
        fetched, free = gather(m, pixels.i, channels, buffer.data[:bits], advance)

        states = OneHot(m, STATES)

        def answer(which: int) -> None:
            m.d.comb += [answering.eq(1), code.eq(which)]
            states.go("FETCH")

        with m.If(answering):
            m.d.sync += [reply.eq(code), body.eq(0)]

        def listen(drain: int = 0) -> None:
            """Within a frame: every byte goes through the CRC, and silence ends it."""
            m.d.comb += [listening.eq(1), crc.start.eq(got), crc.drain.eq(drain)]
            with m.If(cycles[self.gap_bit] & ~got):
                answer(Fault.TIMEOUT)

        identify, classify, selftest = kind
        with states.when("SYNC"):
            m.d.comb += [crc.clear.eq(1), to_sequence.eq(1)]
            m.d.sync += [legal.eq(1), tail.eq(0)]
            with m.If(got & sync):
                states.go("SYNC_END")
        with states.when("SYNC_END"):
            m.d.comb += crc.clear.eq(1)
            with m.If(got & sync_end):
                states.go("SEQUENCE")
            with m.Elif(got & ~sync):
                states.go("SYNC")
        with states.when("SEQUENCE"):
            listen()
            m.d.comb += buffer.write.eq(got)
            with m.If(got):
                states.go("KIND")
        with states.when("KIND"):
            listen()
            m.d.sync += [feed_left.eq(1), finish_left.eq(1)]
            with m.If(got):
                m.d.sync += kind.eq(Cat(byte == known for known in requests))
                states.go("LENGTH")
        with states.when("LENGTH"):
            listen()
            with m.If(got):
                m.d.sync += length_right.eq(low_right)
                states.go("LENGTH_END")
        with states.when("LENGTH_END"):
            listen()
            with m.If(got):
                m.d.comb += to_image.eq(1)
                with m.If(classify):
                    m.d.sync += held.eq(0)
                with m.If(~kind.any()):
                    answer(Fault.KIND)
                with m.Elif(~(high_right & length_right)):
                    answer(Fault.LENGTH)
                with m.Elif(identify):
                    states.go("CRC")
                with m.Else():
                    states.go("PAYLOAD")
        with states.when("PAYLOAD"):
            listen()
            with m.If(got & selftest):
                m.d.sync += [feed_left.eq(byte), finish_left.eq(byte), legal.eq(byte != 0)]
                states.go("CRC")
            with m.Elif(got):
                m.d.comb += [buffer.write.eq(1), step.eq(1)]
                m.d.sync += legal.eq(legal & in_range)
                with m.If(at_end):
                    states.go("CRC")
        with states.when("CRC"):
            listen(drain=1)
            with m.If(got):
                m.d.sync += tail.eq(tail + 1)
                with m.If(tail == 3):
                    states.go("CHECK")
        with states.when("CHECK"), m.If(~crc.busy):
            with m.If(crc.wrong):
                answer(Fault.CRC)
            with m.Elif(~legal):
                answer(Fault.VALUE)
            with m.Elif(identify):
                answer(IDENTITY_CODE)
            with m.Elif(selftest & ~held):
                answer(Fault.NO_IMAGE)
            with m.Else():
                m.d.sync += held.eq(1)
                states.go("RUN")
        with states.when("RUN"):
            m.d.comb += [self.busy.eq(1), running.eq(1), advance.eq(free)]
            with m.If(advance):
                m.d.sync += fetched.eq(feed_left != 0)
                with m.If(feed_left != 0):
                    m.d.comb += step.eq(1)
                    m.d.sync += feed_left.eq(feed_left - at_end)
            with m.If(result.valid & ~taken):
                with m.If(finish_left == 1):
                    answer(RESULT_CODE)
                with m.Else():
                    m.d.sync += [taken.eq(1), finish_left.eq(finish_left - 1)]
        with states.when("FETCH"):  # the memory is read
            m.d.comb += [self.busy.eq(1), crc.clear.eq(~body)]
            states.go("READ")
        for state, after in (("READ", "FETCHED"), ("FETCHED", "LOAD")):
            with states.when(state):
                m.d.comb += self.busy.eq(1)
                states.go(after)
        with states.when("LOAD"):
            m.d.comb += [self.busy.eq(1), crc.start.eq(1)]
            states.go("SEND")
        with states.when("SEND"):
            m.d.comb += [self.busy.eq(1), tx.i.valid.eq(~crc.busy)]
            with m.If(tx.i.ready & ~crc.busy):
                m.d.comb += [step.eq(1), to_body.eq(marked)]
                with m.If(marked):
                    m.d.sync += [body.eq(1), tail.eq(0)]
                with m.If(marked & body):
                    states.go("TAIL")
                with m.Else():
                    states.go("FETCH")
        with states.when("TAIL"):
            m.d.comb += [self.busy.eq(1), crc.start.eq(1), crc.drain.eq(1)]
            states.go("TAIL_SEND")
        with states.when("TAIL_SEND"):
            m.d.comb += [self.busy.eq(1), tx.i.valid.eq(~crc.busy)]
            with m.If(tx.i.ready & ~crc.busy):
                m.d.sync += tail.eq(tail + 1)
                with m.If(tail == 3):
                    m.d.sync += taken.eq(reply == RESULT_CODE)
                    states.go("SYNC")
                with m.Else():
                    states.go("TAIL")
        return m

    def _result_byte(self, m: Module, address: Signal, cycles: Signal) -> Value:
        """The byte at `address` of the reply with a result, as far as it is not constant: label, cycles and logits; a
        cycle later, when the memory's word is there too."""
        result = self.accelerator.o.payload
        label = Cat(C(0, 24), result.label)
        word_address = address[2 : (self.memory.region - 1).bit_length()]
        word = Signal(32, reset_less=True)
        m.d.sync += word.eq(multiplex(word_address, [label, cycles, *(Value.cast(logit) for logit in result.logits)]))
        return multiplex(address[:2], [word[8 * place : 8 * place + 8] for place in range(4)])
