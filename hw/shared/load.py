"""Which beat of the next image's input comes in when, and where it goes: into what the present image has left free."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.pipeline import next_of
from popstream.hw.shared.slot import entry_layout

__all__ = ["Load"]


class Load(wiring.Component):
    """Walks over the input's beats: rows, pixels, groups of `entry` channels (hw.folding.stage_plan).

    A row is written once it is open: the plan says after which layer of the image in work.

    Parameters
    ----------
    plan : of the stage.

    Members
    -------
    some : In, a beat is there that has no slot yet. free, clear : In, no result will be in its way to the stream
        memory; to the code memory.
    started : In, the first layer begins: the input is in use. landed : In, a layer is done. open_rows : In, rows of
        the next image that are open then.
    loaded : Out, the whole input is in memory.
    valid : Out, `slot` is taken. slot : Out. Both are of the cycle, not of a register.
    """

    def __init__(self, plan: StagePlan) -> None:
        self.plan = plan
        self.shape = entry_layout(plan)
        super().__init__(
            {
                "some": In(1), "free": In(1), "clear": In(1), "started": In(1), "landed": In(1), "loaded": Out(1),
                "valid": Out(1),
                "slot": Out(self.shape), "open_rows": In(range(plan.source_shape[1] + 1)),
            }
        )  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        plan, share, slot = self.plan, self.plan.share, self.slot
        channels, height, width = plan.source_shape
        groups, parts = channels // plan.entry, share.slice // plan.entry
        places, slices = plan.banks // share.pixels, -(-channels // share.slice)
        open_rows = Signal(range(height + 1), init=height)
        with m.If(self.started):
            m.d.sync += open_rows.eq(0)
        with m.Elif(self.landed):
            m.d.sync += open_rows.eq(self.open_rows)
        y, x, group = Signal(range(height + 1)), Signal(range(width)), Signal(range(groups))
        lane, place, part = (Signal(range(max(2, count))) for count in (share.pixels, places, parts))
        over = Signal(range(max(2, slices)))
        pixel_last, row_last = group == groups - 1, x == width - 1
        part_last = (part == parts - 1) | pixel_last
        coded, stored = plan.source_codes in plan.codes, plan.source in plan.streams
        clear = self.clear | ~part_last if coded else Const(1)
        m.d.comb += self.valid.eq(self.some & self.free & clear & (y < open_rows))
        word_last = (lane == share.pixels - 1) | row_last
        block_last = word_last & ((place == places - 1) | row_last)
        stream, code = Signal(len(slot.at)), Signal(len(slot.code))  # the input's areas are the first of memory
        left = Signal(range(plan.enter + 1))
        with m.If(self.valid):
            m.d.sync += [group.eq(next_of(group, groups)), part.eq(Mux(part_last, 0, part + 1))]
            with m.If(part_last):
                m.d.sync += over.eq(Mux(pixel_last, 0, over + 1))
            with m.If(pixel_last):
                m.d.sync += [x.eq(Mux(row_last, 0, x + 1)), lane.eq(Mux(word_last, 0, lane + 1))]
                with m.If(word_last):
                    m.d.sync += [stream.eq(stream + groups), place.eq(Mux(block_last, 0, place + 1))]
                with m.If(block_last):
                    m.d.sync += code.eq(code + slices)
                with m.If(row_last):
                    m.d.sync += y.eq(y + 1)
                    with m.If(y == height - 1):
                        m.d.sync += [left.eq(plan.enter), stream.eq(0), code.eq(0)]
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If(left == 1):
            m.d.sync += self.loaded.eq(1)
        with m.If(self.started):
            m.d.sync += [self.loaded.eq(0), y.eq(0)]
        here = Cat(lane == index for index in range(share.pixels))
        m.d.comb += [
            slot.store.eq(here if stored else 0), slot.at.eq(stream + group), slot.place.eq(group),
            slot.fresh.eq(part == 0), slot.part.eq(part), slot.whole.eq(part_last & int(coded)),
            slot.code.eq(code + over), slot.banks.eq(Cat(Mux(place == at, here, 0) for at in range(places))),
        ]  # fmt: skip
        return m
