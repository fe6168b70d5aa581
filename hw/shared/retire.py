# amaranth: UnusedElaboratable=no
"""Where a shared stage's results go: every beat of every group, with the addresses it reads and writes."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import StagePlan, Walk
from popstream.hw.shared.constants import Constants
from popstream.hw.shared.program import Program
from popstream.hw.shared.slot import slot_layout

__all__ = ["Retire"]


class Retire(wiring.Component):
    """Walks over the results in the order in which they come: rows, groups of pixels, groups of channels, beats.

    A beat takes a cycle, and two if means of 2 x 2 are added to it: the word of the upper row is read in the first.
    With a stride of 2 every second pixel of a group is kept, so that two groups fill a word.

    Parameters
    ----------
    plan, constants : of the stage.

    Members
    -------
    start : In, a group's results are there, in this cycle and the `length` - 1 after it.
    shift : Out, the beat at hand is done: the next one's results are wanted.
    valid : Out, there is a slot. slot : Out. layer : Out, its. stores, encodes : Out, it writes to the stream, the code
        memory. All are of the cycle, not of a register.
    landed : Out, for a cycle: all of a layer is in memory.
    """

    def __init__(self, plan: StagePlan, constants: Constants) -> None:
        self.plan = plan
        self.shape = slot_layout(plan, *constants.slot)
        self.parts = plan.share.slice // plan.share.beat
        self.places = plan.banks // plan.share.pixels
        rows = [self._row(index, walk, constants) for index, walk in enumerate(plan.walks)]
        fields = {"row_skip": "read", "lower": "read"} | {
            name: name for name in ("read", "at", "code", "shift", "slope")
        }
        sizes = {name: self.shape[field].width for name, field in fields.items()}
        self.program = Program(plan, "retire", rows, sizes)
        super().__init__(
            {
                "start": In(1),
                "shift": Out(1),
                "stores": Out(1),
                "encodes": Out(1),
                "layer": Out(range(self.program.depth)),
                "valid": Out(1),
                "slot": Out(self.shape),
                "landed": Out(1),
            }
        )

    def _row(self, index: int, walk: Walk, constants: Constants) -> dict[str, int]:
        plan, layer = self.plan, walk.layer
        skip, stored, codes = layer.skip, layer.value in plan.streams, layer.threshold
        line = plan.stream_row(skip.source) if skip else 0
        reduces = bool(skip and skip.stride == 2)
        twice = skip is not None and layer.stride == 2 and not reduces  # each word serves two groups of pixels
        return {
            "rows": walk.rows - 1, "columns": walk.columns - 1, "beats": walk.groups * walk.beats - 1,
            "group": walk.beats - 1, "real": walk.real, "front": walk.skip_beats[0], "behind": walk.skip_beats[1],
            "read": plan.streams[skip.source].at if skip else 0,
            "own": int(plan.own and skip is not None and skip.source == plan.source),
            "row_skip": line if reduces else 0, "again": walk.skip_beats[1] - walk.skip_beats[0] if twice else 0,
            "lower": line if walk.slow else 0, "add": int(skip is not None), "reduce": int(reduces),
            "average": int(walk.slow), "halves": layer.stride - 1, "direct": int(layer.direct),
            "relu": int(bool(layer.requant and layer.requant["relu"])), "shift": constants.shift_of[index],
            "bend": int(layer.prelu is not None), "slope": constants.slope_shift_of[index],
            "stores": int(stored), "at": plan.streams[layer.value].at if stored else 0,
            "codes": int(codes is not None), "code": plan.codes[codes.name].at if codes else 0,
            "slices": -(-layer.made[0] // plan.share.slice), "emit": int(index == len(plan.walks) - 1),
        }  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.program = self.program
        now, share, slot = self.program.o, self.plan.share, self.slot
        layer = Signal(range(self.program.depth))
        m.d.comb += self.program.layer.eq(layer)
        y, j, beat, in_group = (Signal(len(now[n]), name=n) for n in ("rows", "columns", "beats", "group"))
        going, second = Signal(), Signal()
        active = self.start | going
        skipping = now.add & (beat >= now.front) & (beat < now.behind)
        two = skipping & now.average & ~second
        advance = active & ~two
        m.d.comb += [
            self.shift.eq(advance), self.valid.eq(advance), self.stores.eq(advance & now.stores),
            self.encodes.eq(advance & slot.whole), self.layer.eq(layer),
        ]  # fmt: skip
        group_last, beat_last, column_last = in_group == now.group, beat == now.beats, j == now.columns
        row_last = y == now.rows
        odd = Signal()
        last_of_pixels = advance & beat_last
        word_done = last_of_pixels & (~now.halves | odd | column_last)
        m.d.sync += second.eq(active & two)
        with m.If(active):
            m.d.sync += going.eq(~(advance & group_last))
        with m.If(advance):
            m.d.sync += [in_group.eq(Mux(group_last, 0, in_group + 1)), beat.eq(Mux(beat_last, 0, beat + 1))]
        with m.If(last_of_pixels):
            m.d.sync += [j.eq(Mux(column_last, 0, j + 1)), odd.eq(now.halves & ~odd & ~column_last)]
            with m.If(column_last):
                m.d.sync += y.eq(Mux(row_last, 0, y + 1))
        layer_end = last_of_pixels & column_last & row_last
        left = Signal(range(self.plan.drain + 1))
        m.d.comb += self.landed.eq(left == 1)
        with m.If(layer_end):
            m.d.sync += [left.eq(self.plan.drain), layer.eq(Mux(now.emit, 0, layer + 1))]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        told = self.plan.told
        after = Signal(1 + told, init=1)  # cycles after a layer's last: in the last of them addresses are set
        m.d.sync += after.eq(Cat(layer_end, after))
        fresh_layer = after[told]
        row_end = last_of_pixels & column_last
        again = last_of_pixels & ~word_done  # the second half of the word is to come
        self._addresses(m, now, fresh_layer, skipping & advance, row_end, word_done, two, beat, again)
        real = beat < now.real
        emits = self.plan.walks[-1].first // share.pixels
        leaves = j >= emits if emits else Const(1)  # what is ahead of the image's first column does not
        keeps = Const(1, 1).replicate(share.pixels)
        half = (1 << share.pixels // 2) - 1
        kept = Mux(now.halves, Mux(odd, half << share.pixels // 2, half), keeps) if share.pixels > 1 else keeps
        m.d.comb += [
            slot.own.eq(now.own), slot.halves.eq(now.halves), slot.odd.eq(odd), slot.add.eq(skipping),
            slot.reduce.eq(now.reduce), slot.average.eq(now.average), slot.relu.eq(now.relu), slot.shift.eq(now.shift),
            slot.direct.eq(now.direct), slot.bend.eq(now.bend), slot.slope.eq(now.slope),
            slot.store.eq(Mux(real & now.stores, kept, 0)), slot.constant.eq(beat),
            slot.emit.eq(now.emit & real & leaves),
        ]  # fmt: skip
        self._codes(m, now, advance, beat_last, column_last, word_done, kept, fresh_layer)
        return m

    def _addresses(
        self,
        m: Module,
        now: Any,
        fresh: Value,
        read: Value,
        row_end: Value,
        word_done: Value,
        first: Value,
        beat: Value,
        again: Value,
    ) -> None:
        """Of the skip, word after word, without a stride's odd rows; of the sums, group of pixels by group."""
        upper = Signal(len(self.slot.read), name="upper")
        base = Signal(len(self.slot.at), name="at_base")
        with m.If(fresh):
            m.d.sync += [upper.eq(now.read), base.eq(now.at)]
        with m.Else():
            m.d.sync += upper.eq(upper + read + Mux(row_end, now.row_skip, 0) - Mux(again, now.again, 0))
            with m.If(word_done):
                m.d.sync += base.eq(base + now.real)
        m.d.comb += [
            self.slot.read.eq(Mux(now.average & ~first, upper + now.lower, upper)),
            self.slot.at.eq(base + beat),
        ]

    def _codes(
        self, m: Module, now: Any, advance: Value, beat_last: Value, column_last: Value, word_done: Value, kept: Value,
        fresh: Value,
    ) -> None:  # fmt: skip
        """The code words: a slice of channels each, in the banks of the group's columns."""
        slot = self.slot
        part = Signal(len(slot.part), name="part")
        part_last = (part == self.parts - 1) | beat_last
        over = Signal(len(now.beats) + 1, name="slice")
        base = Signal(len(slot.code), name="code_base")
        place = Signal(range(max(2, self.places)), name="place")
        with m.If(advance):
            m.d.sync += part.eq(Mux(part_last, 0, part + 1))
            with m.If(part_last):
                m.d.sync += over.eq(Mux(beat_last, 0, over + 1))
        with m.If(fresh):
            m.d.sync += base.eq(now.code)
        with m.If(word_done):
            m.d.sync += place.eq(Mux(column_last | (place == self.places - 1), 0, place + 1))
            with m.If(column_last | (place == self.places - 1)):
                m.d.sync += base.eq(base + now.slices)
        banks = Cat(Mux(place == at, kept, 0) for at in range(self.places))
        m.d.comb += [
            slot.fresh.eq(part == 0), slot.part.eq(part), slot.whole.eq(part_last & now.codes & (over < now.slices)),
            slot.code.eq(base + over), slot.banks.eq(banks),
        ]  # fmt: skip
