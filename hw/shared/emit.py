"""A shared stage's output: groups of pixels come in, all channels of each; they leave pixel by pixel."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.skid import LastStage
from popstream.hw.lib.stream import connect, value_layout

__all__ = ["Emit"]


class Emit(wiring.Component):
    """Room for `plan.blocks` groups of pixels, each taken only after `takes` has asked for it.

    Parameters
    ----------
    plan : of the stage. bits : of a value that leaves.

    Members
    -------
    room : Out, one more group of pixels has room. takes : In, one is on its way.
    valid : In, `v` holds the next beat of each of its pixels, `odd`: in the second half. v : In.
    o : Out, stream of `beat` values signed(bits) of one pixel.
    """

    def __init__(self, plan: StagePlan, bits: int) -> None:
        self.plan = plan
        share = plan.share
        self.channels, _, self.width = plan.layers[-1].made
        self.bits = bits
        self.blocks = plan.blocks
        walk = plan.walks[-1]
        self.pixels = share.pixels // walk.layer.stride  # of a group
        self.lane = walk.after % self.pixels  # of a row's first pixel
        super().__init__(
            {
                "room": Out(1), "takes": In(1), "valid": In(1), "v": In(share.pixels * share.beat * plan.value_bits),
                "odd": In(1),
                "o": Out(stream.Signature(value_layout(signed(bits), share.beat))),
            }
        )  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        share = self.plan.share
        beats, blocks = self.channels // share.beat, self.blocks
        words = blocks * beats
        free = Signal(range(blocks + 1), init=blocks)
        ready = Signal(range(blocks + 1))  # groups of pixels that are whole
        written, begin, read = (Signal(range(words), name=name) for name in ("written", "begin", "read_at"))
        beat, coming = Signal(range(max(2, beats))), Signal(range(max(2, beats)))
        lane, x = Signal(range(max(2, share.pixels)), init=self.lane), Signal(range(max(2, self.width)))
        group = self.pixels * share.beat
        values = [
            self.v.word_select(index, self.plan.value_bits)[: self.bits] for index in range(share.pixels * share.beat)
        ]
        data = Cat(values[:group])
        if self.pixels < share.pixels:
            data = Mux(self.odd, Cat(values[group:]), data)
        m.submodules.memory = memory = Memory(shape=unsigned(len(data)), depth=words, init=[])
        write, port = memory.write_port(), memory.read_port(domain="comb")
        m.submodules.last = last = LastStage(self.o.payload.shape())
        connect(m, last.o, self.o)
        whole, done, step = Signal(), Signal(), Signal()
        beat_last, row_last = beat == beats - 1, x == self.width - 1
        pixel_last = (lane == self.pixels - 1) | row_last
        m.d.comb += [
            write.addr.eq(written), write.data.eq(data), write.en.eq(self.valid),
            port.addr.eq(read), self.room.eq(free != 0),
            whole.eq(self.valid & (coming == beats - 1)),
            step.eq((ready != 0) & last.i.ready), done.eq(step & beat_last & pixel_last),
            last.i.valid.eq(ready != 0),
            Value.cast(last.i.payload).eq(port.data.word_select(lane, share.beat * self.bits)),
        ]  # fmt: skip
        m.d.sync += [free.eq(free - self.takes + done), ready.eq(ready + whole - done)]
        with m.If(self.valid):
            m.d.sync += [written.eq(next_of(written, words)), coming.eq(Mux(whole, 0, coming + 1))]
        with m.If(step):
            m.d.sync += [beat.eq(Mux(beat_last, 0, beat + 1)), read.eq(Mux(beat_last, begin, next_of(read, words)))]
            with m.If(beat_last):
                m.d.sync += [
                    x.eq(Mux(row_last, 0, x + 1)),
                    lane.eq(Mux(row_last, self.lane, Mux(pixel_last, 0, lane + 1))),
                ]
                with m.If(pixel_last):
                    m.d.sync += [begin.eq(next_of(read, words)), read.eq(next_of(read, words))]
        return m
