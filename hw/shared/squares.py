# amaranth: UnusedElaboratable=no
"""Max-pooling in a shared stage: codes that lie in memory, a word of a pixel a cycle, to another place in it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.pipeline import delay
from popstream.hw.shared.program import Program

__all__ = ["Squares"]

FIELDS = ("rows", "columns", "slices", "size", "margin", "from", "pitch", "to", "to_pitch", "more", "final")
STRAIGHT = 3  # cycles from an address to the banks' words (hw.shared.codes)


class Squares(wiring.Component):
    """word = the largest codes, channel by channel, of a square of pixels: rule R13, after the layers that have one.

    Rows of squares, in each the squares, in each the slices of channels, in each rows and columns of pixels: every word
    is read once. The pass begins when what comes in has been written, as that has to wait meanwhile.

    Parameters
    ----------
    plan : of the stage.

    Members
    -------
    start : In, for a cycle: a layer's codes are in memory. pools : In, it has max-poolings.
    landed : Out, for a cycle: and those of its max-poolings are.
    taken : Out, nothing may begin to come in. busy : Out, the code memory is used.
    address : Out, for all banks. words : In, what they give, bank by bank.
    write : Out, bits of banks. write_address, word : Out, what is written there. index : Out, of the max-pooling at
        work.
    """

    def __init__(self, plan: StagePlan) -> None:
        self.plan = plan
        self.bits = max(1, (plan.code_words - 1).bit_length())
        self.size = plan.share.slice * plan.code_bits
        rows = [self._row(at, pool) for at, pool in plan.phases if pool is not None] or [dict.fromkeys(FIELDS, 0)]
        rows[-1]["final"] = 1
        self.program = Program(plan, "squares", rows, dict.fromkeys(("from", "pitch", "to", "to_pitch"), self.bits))
        super().__init__(
            {
                "start": In(1), "pools": In(1), "landed": Out(1), "taken": Out(1), "busy": Out(1),
                "address": Out(self.bits), "words": In(plan.banks * self.size),
                "write": Out(plan.banks), "write_address": Out(self.bits),
                "index": Out(range(self.program.depth)),
                "word": Out(self.size),
            }
        )  # fmt: skip

    def _row(self, at: int, pool: int) -> dict[str, int]:
        plan, node = self.plan, self.plan.layers[at].pools[pool]
        source = node.inputs[0]
        return {
            "rows": node.shape[1] - 1, "columns": node.shape[2] - 1, "slices": -(-node.shape[0] // plan.share.slice),
            "size": node["size"] - 1, "margin": plan.margins[source], "from": plan.codes[source].at,
            "pitch": plan.code_row(source), "to": plan.codes[node.name].at, "to_pitch": plan.code_row(node.name),
            "more": int(pool + 1 < len(plan.layers[at].pools)), "final": 0,
        }  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.program = self.program
        now, plan = self.program.o, self.plan
        index = Signal(range(self.program.depth))
        wait = Signal(range(plan.enter + 3))  # until what was coming in is written
        going, ends = Signal(), Signal()
        last = self._walk(m, now, going, index)
        m.d.comb += [
            self.program.layer.eq(index), self.index.eq(index), ends.eq(delay(m, last, STRAIGHT + 4, "ends")),
            self.landed.eq(Mux(self.pools, ends & ~now.more, self.start)), self.busy.eq(self.taken & (wait == 0)),
        ]  # fmt: skip
        with m.If(self.start & self.pools):
            m.d.sync += [self.taken.eq(1), wait.eq(plan.enter + 2)]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.If(wait == 1):
            m.d.sync += going.eq(1)
        with m.If(last):
            m.d.sync += going.eq(0)
        with m.If(ends):
            m.d.sync += [
                index.eq(Mux(now.final, 0, index + 1)),
                wait.eq(Mux(now.more, 1 + plan.told, 0)),
                self.taken.eq(now.more),
            ]
        return m

    def _walk(self, m: Module, now: Any, going: Value, index: Value) -> Value:
        """Reads, compares, writes; the cycle of a pass's last word."""
        plan = self.plan
        high = (plan.banks - 1).bit_length()  # bits of a column that tell its bank
        shape = self.program.shape
        width = 2 + max(shape["margin"].width, shape["columns"].width + shape["size"].width + 1)
        y, x, part = (Signal(len(now[name]), name=name) for name in ("rows", "columns", "slices"))
        dy, dx = Signal(len(now.size), name="dy"), Signal(len(now.size), name="dx")
        top, down, to = (Signal(self.bits, name=name) for name in ("top", "down", "to"))
        left = Signal(width, name="left")  # the square's first column
        dx_end, dy_end, part_end, x_end, y_end = (
            dx == now.size, dy == now.size, part == now.slices - 1, x == now.columns, y == now.rows
        )  # fmt: skip
        square = dx_end & dy_end
        with m.If(~going):
            m.d.sync += [top.eq(now["from"]), to.eq(now.to), left.eq(now.margin)]
        with m.Else():
            m.d.sync += dx.eq(Mux(dx_end, 0, dx + 1))
            with m.If(dx_end):
                m.d.sync += [dy.eq(Mux(dy_end, 0, dy + 1)), down.eq(Mux(dy_end, 0, down + now.pitch))]
            with m.If(square):
                m.d.sync += part.eq(Mux(part_end, 0, part + 1))
                with m.If(part_end):
                    m.d.sync += [x.eq(Mux(x_end, 0, x + 1)), left.eq(Mux(x_end, now.margin, left + now.size + 1))]
                    with m.If(x_end):
                        m.d.sync += [
                            y.eq(Mux(y_end, 0, y + 1)), to.eq(to + now.to_pitch), top.eq(top + down + now.pitch)
                        ]  # fmt: skip
        column = Signal(width, name="column")
        m.d.comb += column.eq(left + dx)
        m.d.sync += self.address.eq(top + down + (column >> high) * now.slices + part)
        ready = STRAIGHT + 1  # the words of what was decided so many cycles ago
        bank = delay(m, column[:high], ready, "bank")
        word, best = Signal(self.size, name="bank_word"), Signal(self.size, name="best")
        m.d.sync += word.eq(Array(self.words.word_select(b, self.size) for b in range(plan.banks))[bank])
        first = delay(m, (dx == 0) & (dy == 0), ready + 1, "first")
        bits = plan.code_bits
        codes = [(word.word_select(c, bits), best.word_select(c, bits)) for c in range(plan.share.slice)]
        m.d.sync += best.eq(Cat(Mux(first | (one > other), one, other) for one, other in codes))
        done = delay(m, going & square, ready + 2, "done")
        place = delay(m, x[:high] if len(x) > high else x, ready + 2, "place")
        address = Signal(self.bits, name="to_address")
        m.d.sync += address.eq(to + (x >> high) * now.slices + part)
        m.d.comb += [
            self.word.eq(best), self.write_address.eq(delay(m, address, ready + 1, "to_address")),
            self.write.eq(Cat(done & (place == b) for b in range(plan.banks))),
        ]  # fmt: skip
        return going & square & part_end & x_end & y_end
