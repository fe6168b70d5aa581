"""Matrix-vector unit: one window in, one value for each output channel out, on one-bit lanes or on multipliers."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.bitplane import MacTerm, XnorTerm, plane_pairs
from hw.pipeline import delay, select, select_latency
from hw.popcount import AdderTree
from hw.stream import StreamFifo, value_layout
from hw.table import LOGIC_DEPTH, checked_storage

__all__ = ["MatVec"]

_LANES_PER_COPY = 1024  # loads on one copy of the weight address
_ASYNC_DEPTH = 8  # a weight bit of so few words and its XNOR share one LUT4


class MatVec(wiring.Component):
    """raw[c] = sum over n of (2*q[c, n] - (2**W - 1)) * a[n] + correction[c] for a window a of N unsigned A-bit codes.

    arithmetic "lanes": simd * pe lanes of one bit by one bit. With q_k and a_m the bit planes of weights and codes,

        raw[c] = sum over k, m of 2**(k+m) * popcount(q_k[c] XNOR a_m)
        correction[c] = (2**A - 1) * sum over n of (2**W - 1 - q[c, n])

    For each group of `pe` channels the plane pairs are taken in falling order of k + m, and for each pair the chunks of
    `simd` codes, one a cycle: the accumulator doubles whenever k + m falls by one, so that no term needs a shifter.
    arithmetic "mac": simd * pe multipliers of A by W+1 bits, one chunk a cycle; correction is 0 and raw is signed.

    The next window starts in the cycle after the last one's last chunk: without stalls a window takes exactly `cycles`.
    `i` is taken in the last of them, so the window is not stored here. The datapath runs freely; a group starts only if
    the output FIFO has room for it and for all that are on their way (credits), and is then carried through.

    Parameters
    ----------
    weights : integers [Co, N] in 0 .. 2**W - 1, W = weight_bits.
    weight_bits, act_bits : W and A, 1 .. 8.
    simd, pe : codes and channels worked on at once: divisors of N and of Co.
    arithmetic : "lanes" or "mac".
    storage : weight memory: "block", "logic", or "auto", which is "logic" up to 64 words.
    pes_per_copy : output channels that share one copy of the codes and of the weight address; each further copy is one
        register later. By default as many as keep 1024 lanes a copy.

    Attributes
    ----------
    cycles : cycles a window: Co/pe * N/simd * (W*A for lanes).
    latency : cycles from the issue of a group's last chunk until its beat is valid at `o`.
    acc_shape : shape of one lane of `o`; unsigned for lanes, signed for mac, wide enough for every input.
    correction : int64 [Co]: raw minus the dot product.
    depth : beats in the output FIFO.
    busy : Signal, high in a cycle in which a chunk goes to the lanes.
    blocked : Signal, high in a cycle in which they wait, with a window at hand, for room behind. In every other cycle
        they are starved.

    Members
    -------
    i : In(stream.Signature(ArrayLayout(unsigned(A), N)))
    o : Out(stream.Signature(value_layout(acc_shape, pe))), Co/pe beats a window
    """

    def __init__(
        self,
        weights: np.ndarray,
        weight_bits: int,
        act_bits: int,
        simd: int,
        pe: int,
        arithmetic: str = "lanes",
        storage: str = "auto",
        pes_per_copy: int | None = None,
    ) -> None:
        for name, bits in (("Weight", weight_bits), ("Activation", act_bits)):
            if not 1 <= bits <= 8:
                raise ValueError(f"{name} width must be 1 .. 8 bits, not {bits}")
        weights = np.asarray(weights)
        if weights.ndim != 2 or 0 in weights.shape or not np.issubdtype(weights.dtype, np.integer):
            raise ValueError(f"Weights must be integers [Co, N], not {weights.dtype} {list(weights.shape)}")
        if weights.min() < 0 or weights.max() >= 1 << weight_bits:
            raise ValueError(
                f"Weight codes of {weight_bits} bits must be 0 .. {(1 << weight_bits) - 1}, "
                f"not {weights.min()} .. {weights.max()}"
            )
        channels, length = weights.shape
        if simd < 1 or length % simd:
            raise ValueError(f"SIMD must divide the {length} codes of a window, {simd} does not")
        if pe < 1 or channels % pe:
            raise ValueError(f"PE must divide the {channels} output channels, {pe} does not")
        if arithmetic not in ("lanes", "mac"):
            raise ValueError(f"Arithmetic must be 'lanes' or 'mac', not {arithmetic!r}")
        if pes_per_copy is None:
            pes_per_copy = min(pe, max(1, _LANES_PER_COPY // simd))
        if not 1 <= pes_per_copy <= pe:
            raise ValueError(f"PEs per copy must be 1 .. {pe}, not {pes_per_copy}")
        self.weights = weights.astype(np.int64)
        self.weight_bits = weight_bits
        self.act_bits = act_bits
        self.simd = simd
        self.pe = pe
        self.arithmetic = arithmetic
        self.storage = checked_storage(storage)
        self.pes_per_copy = pes_per_copy
        self.groups = channels // pe
        self.chunks = length // simd

        top_weight, top_code = (1 << weight_bits) - 1, (1 << act_bits) - 1
        odd = 2 * self.weights - top_weight
        if arithmetic == "lanes":
            self._steps = plane_pairs(weight_bits, act_bits)
            self.correction = top_code * (top_weight - self.weights).sum(axis=1)
            high = top_code * int(np.maximum(self.weights, top_weight - self.weights).sum(axis=1).max())
            self.acc_shape: Shape = unsigned(high.bit_length())
        else:
            self._steps = [(0, 0)]
            self.correction = np.zeros(channels, dtype=np.int64)
            high = top_code * int(odd.clip(min=0).sum(axis=1).max())
            low = top_code * int(odd.clip(max=0).sum(axis=1).min())
            self.acc_shape = AdderTree.shape_of(min(low, -1), high)

        self._words = self.groups * self.chunks * (weight_bits if arithmetic == "lanes" else 1)
        self._style = storage if storage != "auto" else "logic" if self._words <= LOGIC_DEPTH else "block"
        self._rom_async = self._style == "logic" and self._words <= _ASYNC_DEPTH
        group_cycles = self.chunks * len(self._steps)
        self._group_cycles = group_cycles
        self._copies = -(-pe // pes_per_copy)
        # Cycle, after the issue, in which codes and weights meet; the address of the weights takes one.
        self._select = select_latency(self.chunks << self._plane_bits)
        self._meet = max(self._select, 1 if self._rom_async else 2)
        self._term_latency = XnorTerm.latency_of(simd) if arithmetic == "lanes" else MacTerm.latency_of(simd)
        self.cycles = self.groups * group_cycles
        self._done = self._meet + self._term_latency + (group_cycles > 1)
        self.latency = self._done + self._copies - 1 + StreamFifo.latency_of(2)
        self.depth = 1 + -(-self.latency // group_cycles)
        self.busy = Signal()
        self.blocked = Signal()
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(unsigned(act_bits), length))),
                "o": Out(stream.Signature(value_layout(self.acc_shape, pe))),
            }
        )

    def _term(self) -> XnorTerm | MacTerm:
        if self.arithmetic == "lanes":
            return XnorTerm(self.simd)
        return MacTerm(self.simd, self.weight_bits, self.act_bits)

    def _choices(self) -> list[Value]:
        """What the lanes may see of `i`: plane m of chunk j at index j * 2**ceil(log2(A)) + m, or chunk j for mac."""
        codes, bits, simd = Value.cast(self.i.payload), self.act_bits, self.simd
        if self.arithmetic == "mac":
            return [codes.word_select(chunk, simd * bits) for chunk in range(self.chunks)]
        choices = []
        for chunk in range(self.chunks):
            planes = [Cat(codes[(chunk * simd + lane) * bits + m] for lane in range(simd)) for m in range(bits)]
            choices += planes + planes[-1:] * ((1 << self._plane_bits) - bits)
        return choices

    @property
    def _plane_bits(self) -> int:
        return (self.act_bits - 1).bit_length() if self.arithmetic == "lanes" else 0

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        plane, chunk, address, first, double, last = self._sequence(m)
        codes = select(m, self._choices(), Cat(plane, chunk))
        codes = delay(m, codes, self._meet - self._select, "codes")
        address = delay(m, address, self._meet - (1 if self._rom_async else 2), "address")
        before_acc = self._meet + self._term_latency
        first = delay(m, first, before_acc, "first")
        double = delay(m, double, before_acc, "double")
        done = delay(m, last, self._done, "done")

        totals: list[Value] = []
        for copy in range(self._copies):
            if copy:
                codes, address = delay(m, codes, 1, f"codes{copy}_"), delay(m, address, 1, f"address{copy}_")
                first, double = delay(m, first, 1, f"first{copy}_"), delay(m, double, 1, f"double{copy}_")
                done = delay(m, done, 1, f"done{copy}_")
            pes = range(copy * self.pes_per_copy, min((copy + 1) * self.pes_per_copy, self.pe))
            weights = self._weight_memory(m, copy, pes, address)
            for index, pe in enumerate(pes):
                m.submodules[f"pe{pe}"] = term = self._term()
                m.d.comb += [term.codes.eq(codes), term.weights.eq(weights.word_select(index, len(term.weights)))]
                total: Value = term.o
                if self._group_cycles > 1:
                    total = Signal(self.acc_shape, name=f"acc{pe}")
                    m.d.sync += total.eq(Mux(first, 0, Mux(double, total << 1, total)) + term.o)
                totals.append(self._align(m, total, done, self._copies - 1 - copy, f"total{pe}_"))

        m.submodules.fifo = fifo = StreamFifo(value_layout(self.acc_shape, self.pe), self.depth)
        m.d.comb += [fifo.i.payload[lane].eq(total) for lane, total in enumerate(totals)]
        m.d.comb += fifo.i.valid.eq(done)
        wiring.connect(m, fifo.o, wiring.flipped(self.o))
        return m

    def _sequence(self, m: Module) -> tuple[Value, ...]:
        """Issues the chunks: plane and chunk to select, the weights' address a cycle later, the accumulator's marks."""
        plane = Signal(self._plane_bits, init=self._steps[0][1])
        chunk = Signal(range(self.chunks))
        step = Signal(range(len(self._steps)))
        group = Signal(range(self.groups))
        base = Signal(range(self._words))  # the group's first word
        offset = Signal(
            range(self._words), init=self._steps[0][0] * self.chunks
        )  # the weight plane's first word in the group
        lighter = Signal()  # this plane pair weighs half as much as the one before
        credits = Signal(range(self.depth + 1), init=self.depth)  # groups that may start before `o` is taken again

        begin = (chunk == 0) & (step == 0)
        chunk_end = chunk == self.chunks - 1
        step_end = chunk_end & (step == len(self._steps) - 1)
        window_end = step_end & (group == self.groups - 1)
        open_ = ~begin | (credits != 0)
        issue = self.i.valid & open_
        m.d.comb += [
            self.i.ready.eq(open_ & window_end),
            self.busy.eq(issue),
            self.blocked.eq(self.i.valid & ~open_),
        ]

        with m.If(issue):
            m.d.sync += chunk.eq(Mux(chunk_end, 0, chunk + 1))
            with m.If(step_end):
                m.d.sync += [
                    step.eq(0),
                    group.eq(Mux(window_end, 0, group + 1)),
                    base.eq(Mux(window_end, 0, base + self._words // self.groups)),
                ]
            with m.Elif(chunk_end):
                m.d.sync += step.eq(step + 1)
            with m.If(chunk_end), m.Switch(step):
                for index, before in enumerate(self._steps):
                    after = self._steps[(index + 1) % len(self._steps)]
                    with m.Case(index):
                        m.d.sync += [
                            plane.eq(after[1]),
                            offset.eq(after[0] * self.chunks),
                            lighter.eq(sum(after) == sum(before) - 1),
                        ]
        m.d.sync += credits.eq(credits - (issue & begin) + (self.o.valid & self.o.ready))

        address = Signal(range(self._words))
        m.d.sync += address.eq(base + offset + chunk)
        return plane, chunk, address, begin, (chunk == 0) & lighter, issue & step_end

    def _weight_memory(self, m: Module, copy: int, pes: range, address: Value) -> Value:
        """Weights of `pes` at `address` (group*W + k)*chunks + chunk: plane k, PE by PE (mac: codes, k = 0, W = 1)."""
        bits = self.weight_bits
        q = self.weights.reshape(self.groups, self.pe, self.chunks, self.simd)[:, pes.start : pes.stop]
        if self.arithmetic == "mac":
            q = (q ^ (1 << bits - 1))[..., None] >> np.arange(bits) & 1  # group, pe, chunk, lane, bit
            words = q.transpose(0, 2, 1, 3, 4)
        else:
            words = (q[..., None] >> np.arange(bits) & 1).transpose(0, 4, 2, 1, 3)  # group, plane, chunk, pe, lane
        packed = np.packbits(words.reshape(self._words, -1).astype(np.uint8), axis=1, bitorder="little")
        init = [int.from_bytes(word.tobytes(), "little") for word in packed]
        width = words.size // self._words
        if self._words == 1:
            return Const(init[0], width)
        memory = Memory(shape=unsigned(width), depth=self._words, init=init, attrs={"rom_style": self._style})
        m.submodules[f"weights{copy}"] = memory
        port = memory.read_port(domain="comb" if self._rom_async else "sync")
        m.d.comb += port.addr.eq(address)
        return port.data

    def _align(self, m: Module, total: Value, done: Value, wait: int, name: str) -> Value:
        """`total`, complete with `done`, as it is needed `wait` cycles later, when the last copy is done."""
        if 0 < wait <= self._group_cycles:
            kept = Signal(self.acc_shape, name=f"{name}kept")
            with m.If(done):
                m.d.sync += kept.eq(total)
            return kept
        return delay(m, total, wait, name)
