# amaranth: UnusedElaboratable=no
"""A shared stage: consecutive layers on one unit of lanes, layer after layer of an image.

                 .-> code memory -> kernel row x slice -> lanes x pixels x channels -> sums -.
    stream in ->-|                                          ^ weights                        |
                 '-> stream memory -- skip -> requantize, add, saturate <--------------------'
                        ^-----------------------'  |
    stream out <-- last layer ---------------------+-> thresholds -> code memory

Within a layer nothing stops, as all that it reads was written before: the only waits are for the input ahead of the
first layer, and in the last one for room behind. The next image's input comes in once its place is free.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import ENTER, WAITING, StagePlan
from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.pipeline import delay
from popstream.hw.lib.stream import connect, value_layout
from popstream.hw.shared.codes import CodeMemory
from popstream.hw.shared.constants import Constants
from popstream.hw.shared.emit import Emit
from popstream.hw.shared.encode import Encode
from popstream.hw.shared.enter import Enter
from popstream.hw.shared.finish import Finish
from popstream.hw.shared.issue import Issue
from popstream.hw.shared.load import Load
from popstream.hw.shared.order import check_order
from popstream.hw.shared.retire import Retire
from popstream.hw.shared.slot import slot_layout
from popstream.hw.shared.squares import Squares
from popstream.hw.shared.watch import Watch
from popstream.hw.unit.bitplane import AndTerm, XnorTerm
from popstream.hw.unit.weights import WeightMemory

__all__ = ["SharedStage"]


class SharedStage(wiring.Component):
    """The stream that the last of `layers` makes of the first one's.

    Parameters
    ----------
    plan : of its layers; where it says so, to be reloaded.
    taps : whether to bring out what it computes (hw.shared.watch).

    Attributes
    ----------
    plan.
    watch : with taps, the component whose ports they are.

    Members
    -------
    i : In, stream of `share.beat` values signed(R): pixel by pixel, in each the channels; or of `plan.entry` codes.
    o : Out, stream of `share.beat` values of the last layer: signed(R), or exact sums.
    busy, blocked : Out, 1 bit: the lanes work; they wait for room behind.

    Raises
    ------
    FoldingError : where the share does not fit the layers.
    """

    def __init__(self, plan: StagePlan, taps: bool = False) -> None:
        self.plan = plan
        share = plan.share
        self.constants = Constants(plan)
        source = plan.chain.source
        given = signed(source.bits) if source.kind == "stream" else unsigned(source.bits)
        self.bits = plan.end_bits
        self.finish, self.emit = Finish(plan, self.constants), Emit(plan, self.bits)
        self.issue, self.retire = Issue(plan, self.constants), Retire(plan, self.constants)
        self.squares = Squares(plan) if plan.pools else None
        check_order(
            plan, self.issue.program.rows, self.retire.program.rows, self.squares.program.rows if self.squares else []
        )
        self.watch = Watch(plan) if taps else None
        self.term = XnorTerm.latency_of(plan.kernel * share.slice, share.planes, share.levels)
        super().__init__(
            {
                "i": In(stream.Signature(value_layout(given, plan.entry))),
                "o": Out(stream.Signature(value_layout(signed(self.bits), share.beat))),
                "busy": Out(1),
                "blocked": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        plan = self.plan
        m.submodules.issue = issue = self.issue
        m.submodules.codes = codes = CodeMemory(plan)
        m.submodules.retire = retire = self.retire
        m.submodules.load = load = Load(plan)
        m.submodules.enter = enter = Enter(plan, self.constants)
        m.submodules.finish = finish = self.finish
        m.submodules.encode = encode = Encode(plan, self.constants)
        m.submodules.emit = emit = self.emit
        m.submodules.waiting = fifo = StreamFifo(self.i.payload.shape(), WAITING)
        pooling, landed = self._pools(m, codes, retire)
        connect(m, self.i, fifo.i)
        connect(m, emit.o, self.o)
        names = ("row", "column", "place", "inside", "x", "low", "edge", "aside", "choice", "slices")
        m.d.comb += [getattr(codes, name).eq(getattr(issue, name)) for name in names]
        m.d.comb += [
            issue.loaded.eq(load.loaded), issue.landed.eq(landed), issue.room.eq(emit.room),
            emit.takes.eq(issue.takes), load.started.eq(issue.started), load.landed.eq(landed),
            load.open_rows.eq(issue.open_rows),
            self.busy.eq(issue.valid), self.blocked.eq(issue.blocked),
        ]  # fmt: skip
        sums = self._sums(m, issue, codes, platform)
        done = delay(m, issue.valid & issue.last, CodeMemory.latency + self.term + 1, "done")
        beats = self._hold(m, sums, done, retire)
        m.d.sync += retire.start.eq(done)

        unclaimed = Signal(range(WAITING + 1))  # beats in the FIFO that have no slot yet
        m.d.sync += unclaimed.eq(unclaimed + (self.i.valid & self.i.ready) - load.valid)
        stores = retire.stores if plan.source in plan.streams and not plan.own else Const(0)
        ahead = plan.value - ENTER  # a beat that comes in is that much sooner at the memories
        assert fifo.latency <= ENTER + 1  # and one that is counted is there to be taken
        m.d.comb += [
            load.some.eq(unclaimed != 0), load.free.eq(~delay(m, stores, ahead, "stores") & ~pooling),
            load.clear.eq(~delay(m, retire.encodes, ahead, "encodes")),
            enter.i.eq(fifo.o.payload), fifo.o.ready.eq(enter.take), finish.enters.eq(enter.store),
            finish.enters_at.eq(enter.at), finish.entering.eq(enter.v),
        ]  # fmt: skip
        m.d.sync += [enter.slot.eq(load.slot), enter.valid.eq(load.valid)]
        slot = Signal(slot_layout(plan, *self.constants.slot))
        valid = Signal()
        m.d.sync += [slot.eq(retire.slot), valid.eq(retire.valid)]
        m.d.comb += [
            finish.slot.eq(slot), finish.valid.eq(valid), finish.sums.eq(beats),
            encode.slot.eq(finish.done), encode.valid.eq(finish.counts), encode.v.eq(finish.v),
            encode.rows.eq(finish.rows),
            emit.valid.eq(finish.emits), emit.v.eq(finish.v), emit.odd.eq(finish.odd),
        ]  # fmt: skip
        comes, pixels = enter.write.any(), self.plan.share.pixels
        writes: list[tuple[Value, Value, Value]] = [
            (encode.write, encode.address, encode.words), (enter.write, enter.address, enter.word.replicate(pixels))
        ]  # fmt: skip
        written = [Mux(comes, entered, made) for made, entered in zip(*writes, strict=True)]
        if self.squares is not None:
            squares = self.squares
            pooled = squares.write, squares.write_address, squares.word.replicate(pixels)
            written = [Mux(squares.busy, own, other) for own, other in zip(pooled, written, strict=True)]
        m.d.comb += Cat(codes.write, codes.write_address, codes.words).eq(Cat(*written))
        if self.watch is not None:
            m.submodules.watch = watch = self.watch
            m.d.comb += [
                watch.layer.eq(retire.layer), watch.sums.eq(beats), watch.sums_valid.eq(valid),
                watch.values.eq(finish.v), watch.values_valid.eq(finish.counts), watch.codes.eq(encode.codes),
                watch.codes_valid.eq(encode.encodes), watch.entry.eq(enter.codes), watch.entry_valid.eq(enter.encodes),
            ]  # fmt: skip
            if self.squares is not None:
                m.d.comb += [
                    watch.pool.eq(self.squares.index), watch.pooled.eq(self.squares.word),
                    watch.pooled_valid.eq(self.squares.write.any()),
                ]  # fmt: skip
        return m

    def _pools(self, m: Module, codes: CodeMemory, retire: Retire) -> tuple[Value, Value]:
        """After a layer, its max-poolings: whether one is at work; all that the layer makes is in memory."""
        if self.squares is None:
            return Const(0), retire.landed
        m.submodules.squares = squares = self.squares
        m.d.comb += [
            squares.start.eq(retire.landed), squares.pools.eq(self.issue.pools), squares.words.eq(codes.all),
            codes.other.eq(squares.busy), codes.other_address.eq(squares.address),
        ]  # fmt: skip
        return squares.taken, squares.landed

    def _sums(self, m: Module, issue: Issue, codes: CodeMemory, platform: Any) -> list[list[Value]]:
        """Raw sums of each pixel's output channels, a cycle after `term`."""
        plan, share = self.plan, self.plan.share
        m.submodules.weights = memory = WeightMemory(
            self.constants.memory, "reload" if plan.reload else "block", CodeMemory.latency
        )
        m.d.comb += [memory.address.eq(issue.weight), self.finish.data.eq(memory.o)]
        for name in ("fill", "fill_word", "fill_part"):
            m.d.comb += getattr(self.finish, name).eq(delay(m, getattr(issue, name), CodeMemory.latency, name))
        behind = CodeMemory.latency + self.term
        first, fall = delay(m, issue.first, behind, "first"), delay(m, issue.fall, behind, "fall")
        valid = delay(m, issue.valid, behind, "issued")
        negative = delay(m, issue.negative, behind, "negative") if plan.signed else Const(0)
        size = plan.kernel * share.slice
        result: list[list[Value]] = []
        for pixel in range(share.pixels):
            row: list[Value] = []
            for pe in range(share.pe):
                kind = AndTerm if plan.signed else XnorTerm
                m.submodules[f"term{pixel}_{pe}"] = term = kind(size, share.planes, levels=share.levels)
                m.d.comb += [
                    term.codes.eq(codes.o.word_select(pixel, share.planes * size)),
                    getattr(term, kind.operand).eq(memory.o.word_select(pe, size)),
                ]
                total = Signal(plan.sum_shape, name=f"total{pixel}_{pe}")
                before: Value = total
                for index, by in enumerate(issue.falls):
                    before = Mux(fall[index], total << by, before)[: len(total)]
                before = Mux(first, 0, before)
                if plan.signed:
                    before = before[: len(total)].as_signed()
                with m.If(valid):
                    m.d.sync += total.eq(
                        Mux(negative, before - term.o, before + term.o) if plan.signed else before + term.o
                    )
                row.append(total)
            result.append(row)
        return result

    def _hold(self, m: Module, sums: list[list[Value]], done: Value, retire: Retire) -> Value:
        """The beat of each pixel that goes with the slot: of stride 2 every second pixel's, in both halves."""
        share, width = self.plan.share, self.plan.sum_shape.width
        held: list[list[Signal]] = []
        for pixel, row in enumerate(sums):
            registers = [Signal(width, name=f"held{pixel}_{pe}") for pe in range(share.pe)]
            for pe, register in enumerate(registers):
                behind = registers[pe + share.beat] if pe + share.beat < share.pe else register
                with m.If(done):
                    m.d.sync += register.eq(row[pe])
                with m.Elif(retire.shift):
                    m.d.sync += register.eq(behind)
            held.append(registers)
        beats = Signal(share.pixels * share.beat * width)
        chosen: list[Value] = []
        half = max(1, share.pixels // 2)
        for pixel in range(share.pixels):
            own, other = (
                Cat(held[pixel][: share.beat]),
                Cat(held[min(2 * (pixel % half), share.pixels - 1)][: share.beat]),
            )
            chosen.append(Mux(retire.slot.halves, other, own))
        m.d.sync += beats.eq(Cat(chosen))
        return beats
