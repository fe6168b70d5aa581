"""Matrix-vector unit: one window in, one value for each output channel out, on one-bit lanes or on multipliers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.carry import And, Bit, Number, Xor, add_in_chains, plain
from popstream.hw.lib.models import is_simulation, model_planes
from popstream.hw.lib.pipeline import delay, select
from popstream.hw.lib.planes import bit_planes
from popstream.hw.lib.stream import value_layout
from popstream.hw.lib.table import checked_storage
from popstream.hw.unit.bitplane import AndTerm, MacTerm, XnorTerm, extremes
from popstream.hw.unit.leave import leave
from popstream.hw.unit.plan import MatVecPlan, accumulator
from popstream.hw.unit.sequence import Sequencer
from popstream.hw.unit.weights import ADDRESSES, WeightMemory, words_of
from popstream.model.manifest.node import WEIGHTS

__all__ = ["MatVec"]


class MatVec(wiring.Component):
    """raw[c] = sum over n of w[c, n] * a[n] + correction[c] for a window a of N unsigned A-bit codes.

    Odd weights are w = 2*q - (2**W - 1), signed ones are of W bits, q their two's complement (rules R2 and R24).
    arithmetic "lanes": simd * pe * planes lanes of one bit by one bit. With q_k and a_m the bit planes of weights and
    codes, for odd weights

        raw[c] = sum over k, m of 2**(k+m) * popcount(q_k[c] XNOR a_m)
        correction[c] = (2**A - 1) * sum over n of (2**W - 1 - q[c, n])

    and for signed ones, without a correction,

        raw[c] = sum over k, m of s_k * 2**(k+m) * popcount(q_k[c] AND a_m)        s_(W-1) = -1, the others 1

    A step works on a weight plane k and the code planes m .. m + planes - 1. For each group of `pe` channels the steps
    are taken in falling order of k + m, and in each step the chunks of `simd` codes, one a cycle: the accumulator is
    shifted whenever k + m falls, so that no term needs a shifter; those of the highest plane of signed weights are
    subtracted from it.
    arithmetic "mac": simd * pe multipliers of A by W+1 bits (signed weights: W), one chunk a cycle; correction is 0 and
    raw is signed.

    The next window starts in the cycle after the last one's last chunk: without stalls a window takes exactly `cycles`.
    `i` is taken in the last of them, so the window is not stored here. The datapath runs freely; a group starts only if
    the output FIFO has room for it and for all that are on their way (credits), and is then carried through.

    Parameters
    ----------
    weights : integers [Co, N] in 0 .. 2**W - 1, W = weight_bits.
    weight_bits, act_bits : W and A, 1 .. 8.
    simd, pe : codes and channels worked on at once: divisors of N and of Co.
    arithmetic : "lanes" or "mac".
    storage : weight memory: "block", "logic", "registered", "auto" or "reload", see WeightMemory; with "reload"
        acc_shape has room for any weights.
    pes_per_copy : output channels that share one copy of the codes and of the weight address; each further copy is one
        register later. By default as many as keep 1536 lanes or 18 multipliers a copy.
    planes : code planes worked on at once, which share the weights: a divisor of A, 1 for mac.
    lanes : channels of a beat of `o`: a divisor of pe, by default pe. A group leaves in pe/lanes beats, at most the
        cycles of a group, N/simd * W*A/planes.
    turns : whether the window turns by `simd` codes with each chunk (Window's `turn`), so that nothing has to choose it
        here; `i` is then taken a cycle after its last chunk, when it has come round. Only with more than one chunk.
    kind : of the weights, "odd" or "signed".
    levels : levels of adders from one register of a population count to the next.
    near : the codes in an order in which neighbours lie near one another on a device, for lanes to follow.

    Attributes
    ----------
    cycles : cycles a window: Co/pe * N/simd * W*A/planes (mac: Co/pe * N/simd).
    latency : cycles from the issue of a group's last chunk until its last beat is valid at `o`.
    acc_shape : shape of one lane of `o`, wide enough for every input; unsigned for lanes of odd weights, else signed.
    correction : int64 [Co]: raw minus the dot product.
    depth : beats in the output FIFO.
    busy : Signal, high in a cycle in which a chunk goes to the lanes.
    blocked : Signal, high in a cycle in which they wait, with a window at hand, for room behind. In every other cycle
        they are starved.

    Members
    -------
    i : In(stream.Signature(ArrayLayout(unsigned(A), N)))
    o : Out(stream.Signature(value_layout(acc_shape, lanes))), Co/lanes beats a window
    turning : Out(1), only with `turns`: the window turns.
    soon : Out(1), without `turns`: `i.ready` in the next cycle.
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
        planes: int = 1,
        lanes: int | None = None,
        turns: bool = False,
        kind: str = "odd",
        levels: int = 1,
        near: Sequence[int] = (),
    ) -> None:
        if kind not in WEIGHTS:
            raise ValueError(f"Weights must be of a kind of {', '.join(WEIGHTS)}, not {kind!r}")
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
        if planes < 1 or act_bits % planes:
            raise ValueError(f"Planes must divide the {act_bits} planes of the codes, {planes} does not")
        if arithmetic == "mac" and planes > 1:
            raise ValueError(f"Multipliers take whole codes: planes must be 1, not {planes}")
        if pes_per_copy is None:
            pes_per_copy = MatVecPlan.pes(simd, pe, arithmetic, planes)
        if not 1 <= pes_per_copy <= pe:
            raise ValueError(f"PEs per copy must be 1 .. {pe}, not {pes_per_copy}")
        if lanes is None:
            lanes = pe
        if lanes < 1 or pe % lanes:
            raise ValueError(f"Lanes must divide the {pe} channels of a group, {lanes} does not")
        self.weights = weights.astype(np.int64)
        self.weight_bits = weight_bits
        self.act_bits = act_bits
        self.simd = simd
        self.pe = pe
        self.arithmetic = arithmetic
        self.storage = checked_storage(storage)
        self.pes_per_copy = pes_per_copy
        self.planes = planes
        self.lanes = lanes
        self.turns = turns
        self.kind = kind
        self.near = near
        self.plan = plan = MatVecPlan(
            length, channels, weight_bits, act_bits, simd, pe, arithmetic, planes, lanes, pes_per_copy, turns, kind,
            levels,
        )  # fmt: skip
        self.groups = plan.groups
        self.chunks = plan.chunks
        self.beats = plan.beats
        if turns and self.chunks == 1:
            raise ValueError(f"A window of one chunk, here of {simd} codes, does not turn")
        bounds = None  # weights that acc_shape holds
        if storage == "reload":
            bounds = extremes(weight_bits, kind)[:, None].repeat(length, axis=1)
        self.acc_shape, self.correction = accumulator(self.weights, weight_bits, act_bits, arithmetic, kind, bounds)
        self.cycles = plan.cycles
        if self.beats > plan.group_cycles:
            raise ValueError(
                f"A group of {pe} channels takes {plan.group_cycles} cycles: lanes must be at least "
                f"{-(-pe // plan.group_cycles)} for its beats to leave in time, not {lanes}"
            )
        self.latency = plan.latency
        self.depth = plan.depth
        self.busy = Signal()
        self.blocked = Signal()
        streams = {
            "i": In(stream.Signature(data.ArrayLayout(unsigned(act_bits), length))),
            "o": Out(stream.Signature(value_layout(self.acc_shape, lanes))),
        }
        super().__init__({**streams, "turning" if turns else "soon": Out(1)})

    def _memory(self, copy: int, order: Sequence[int]) -> WeightMemory:
        """Weights of the copy's PEs."""
        pes = slice(copy * self.pes_per_copy, (copy + 1) * self.pes_per_copy)
        q = self.weights[:, order].reshape(self.groups, self.pe, self.chunks, self.simd)[:, pes]
        merge = self.arithmetic == "lanes"  # a multiplier takes half of a clock cycle
        words = words_of(q, self.weight_bits, self.arithmetic, self.kind)
        return WeightMemory(words, self.storage, self.plan.select + copy, merge)

    def _term(self) -> XnorTerm | AndTerm | MacTerm:
        if self.arithmetic == "lanes":
            merged = WeightMemory.style_of(self.plan.words, self.storage) in ("constant", "merged")
            return (AndTerm if self.kind == "signed" else XnorTerm)(self.simd, self.planes, merged, self.plan.levels)
        return MacTerm(self.simd, self.weight_bits, self.act_bits, self.kind)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        plan = self.plan
        flagged = plan.subtracts and self.weight_bits > 1  # of a single plane all is subtracted
        m.submodules.sequencer = work = Sequencer(
            plan.groups, plan.chunks, plan.steps, plan.planes, plan.credits, flagged
        )
        following: Value = work.next_planes_index[: self.plan.plane_bits]
        if self.turns:
            home = Signal()  # all chunks are issued, and the first is in its place again
            m.d.sync += home.eq(work.valid & work.ready)
            m.d.comb += [work.valid.eq(self.i.valid & ~home), self.i.ready.eq(home), self.turning.eq(work.issue)]
        else:
            m.d.comb += [work.valid.eq(self.i.valid), self.i.ready.eq(work.ready), self.soon.eq(work.soon)]
            following = Cat(following, work.next_chunk)
        m.d.comb += [self.busy.eq(work.issue), self.blocked.eq(work.valid & ~work.issue)]
        split = partial(model_planes, m) if is_simulation(platform) else bit_planes
        order, window = list(range(plan.products)), Value.cast(self.i.payload)
        if self.near and not self.turns and not is_simulation(platform):
            order, given = plan.chunked(self.near), window
            window = Signal(len(given))  # of one piece: each of its bits would go through all pieces
            m.d.comb += window.eq(Cat(given.word_select(code, self.act_bits) for code in order))
        codes = select(m, plan.views(window, split), following, work.advance)
        before_acc = self.plan.total - self.plan.accumulates
        first = delay(m, work.first, before_acc, "first")
        fall = delay(m, work.fall, before_acc, "fall")
        done = delay(m, work.issue & work.last, self.plan.total, "done")
        negative: Value | None = Const(1, 1) if plan.subtracts else None
        if flagged:
            negative = delay(m, work.negative, before_acc, "negative")

        totals: list[Value] = []
        for copy in range(self.plan.copies):
            if copy:
                codes, fall = delay(m, codes, 1, f"codes{copy}_"), delay(m, fall, 1, f"fall{copy}_")
                first, done = delay(m, first, 1, f"first{copy}_"), delay(m, done, 1, f"done{copy}_")
                if flagged:
                    negative = delay(m, negative, 1, f"negative{copy}_")
            m.submodules[f"weights{copy}"] = memory = self._memory(copy, order)
            for name in (*ADDRESSES, "advance"):
                m.d.comb += getattr(memory, name).eq(getattr(work, name))
            terms: list[Value] = []
            for index, pe in enumerate(range(self.pe)[copy * self.pes_per_copy :][: self.pes_per_copy]):
                m.submodules[f"pe{pe}"] = term = self._term()
                m.d.comb += term.codes.eq(codes)
                weights = term.inverted if isinstance(term, XnorTerm) else term.weights
                m.d.comb += weights.eq(memory.o.word_select(index, len(weights)))
                terms.append(term.o)
            if self.plan.accumulates:
                marks = list(zip(fall, work.falls, strict=True))
                terms = self._accumulate(m, terms, first, marks, negative, f"acc{copy}_", platform)
            wait = self.plan.copies - 1 - copy
            totals += [self._align(m, term, done, wait, f"total{copy}_{index}_") for index, term in enumerate(terms)]
        leave(m, totals, done, work.credit, self.o, self.acc_shape, self.lanes, self.depth)
        return m

    def _accumulate(
        self,
        m: Module,
        terms: list[Value],
        first: Value,
        falls: list[tuple[Value, int]],
        negative: Value | None,
        name: str,
        platform: Any,
    ) -> list[Value]:
        """Sums of `terms` since `first`, shifted up by the number of each of `falls` that is high, less the term where
        `negative` is: all modulo the width of a sum, which holds the last one.
        """
        totals = [Signal(self.acc_shape, name=f"{name}{index}") for index in range(len(terms))]
        if self.arithmetic == "mac":
            for total, term in zip(totals, terms, strict=True):
                m.d.sync += total.eq(Mux(first, 0, total) + term)
            return list(totals)
        adders: list[tuple[Number, Number, Bit | None]] = []
        high = (1 << self.acc_shape.width) - 1
        for total, term in zip(totals, terms, strict=True):
            bits: list[Bit] = list(term[: len(total)])
            if negative is not None:  # -x is the complement of x, with ones above it, and 1
                bits = [Xor(bit, negative) for bit in bits] + [negative] * (len(total) - len(bits))
            before: Value = total
            for flag, by in falls:
                before = Mux(flag, total << by, before)[: len(total)]
            kept: Number = ([And(bit, ~first) for bit in before], high)
            adders.append(((bits, 0), kept, negative))  # a total of `high` at most is all that comes
        for total, (sums, _) in zip(totals, add_in_chains(m, adders, name, platform), strict=True):
            m.d.comb += total.eq(Cat(plain(bit) for bit in sums))
        return list(totals)

    def _align(self, m: Module, total: Value, done: Value, wait: int, name: str) -> Value:
        """`total`, complete with `done`, as it is needed `wait` cycles later, when the last copy is done."""
        if 0 < wait <= self.plan.group_cycles:
            kept = Signal(self.acc_shape, name=f"{name}kept")
            with m.If(done):
                m.d.sync += kept.eq(total)
            return kept
        return delay(m, total, wait, name)
