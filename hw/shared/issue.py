# amaranth: UnusedElaboratable=no
"""The order in which a shared stage takes chunks of codes and words of weights: layer by layer, a chunk a cycle."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.planes import falls
from popstream.hw.shared.constants import Constants
from popstream.hw.shared.program import Program

__all__ = ["Issue"]


class Issue(wiring.Component):
    """In each layer rows, in a row groups of pixels, for each groups of channels, in a group steps (k, m), in a step
    kernel rows, in each slices of channels.

    Nothing stops within a layer, but the last, whose groups of pixels begin with room for their results alone.

    Parameters
    ----------
    plan : of the stage.

    Attributes
    ----------
    falls : the differences, above zero, from the weight k + m of a step to that of the step after.

    A layer takes the steps of its kind from `plan.steps`; a copy takes one chunk for each group, whose sum is not used.

    Members
    -------
    loaded : In, the next image's input is there. started : Out, its first layer begins.
    landed : In, for a cycle: all that the layer makes is in memory.
    room : In, results of one more group of pixels have room. takes : Out, they are on their way, for a cycle.
        blocked : Out, they have not.
    valid : Out, the rest describes a chunk: that of the cycle before the one in which it is decided.
    first, last : Out, it is the first, the last of its group. fall : Out(len(falls)), one-hot; negative : Out: as in
        hw.unit.sequence.
    row, column : Out, the sum is the address of the code word of the middle column's bank (codes.py). place : Out, the
        group of pixels' place in a row of all banks. inside : Out, the row is one of the image. x : Out, the
        group of pixels' first column. low, edge : Out, the image's first column and the one behind its last, counted
        from half a kernel ahead of memory's. aside : Out, of the kernel's columns so many on each side are not the
        layer's. choice : Out, of code planes. slices : Out, of the layer.
    open_rows : Out, of the next image may come in once the layer is done; pools : Out, max-poolings follow it.
    weight : Out, the address of the weight word; ahead of a layer, of its constants (`fill`): there is the part
        `fill_part` of the constants' word `fill_word`, or that word is this part of what is there.
    """

    def __init__(self, plan: StagePlan, constants: Constants) -> None:
        self.plan = plan
        self.constants = constants
        self.choices = [m // plan.share.planes for _, m in plan.steps]
        each = [falls(steps) for steps in plan.steps_of.values()]
        self.falls_to = [by for some, _ in each for by in some]
        self.falls = tuple(sorted({fall for _, some in each for fall in some}))
        self.negatives = [k == kind[0] - 1 for kind, steps in plan.steps_of.items() for k, _ in steps]
        words, bits = plan.code_words, max(1, (plan.code_words - 1).bit_length())
        self.emits = plan.walks[-1].first // plan.share.pixels  # the first group of pixels with one that leaves
        rows, weight = [], 0
        for index in range(len(plan.walks)):
            rows.append(self._row(index, weight, 1 << bits))
            weight += plan.walks[index].words
        step, address = (max(1, (n - 1).bit_length()) for n in (len(plan.steps), len(constants.memory)))
        sizes = dict.fromkeys(("begin", "pitch", "step"), bits) | {"from": step, "to": step}
        sizes |= dict.fromkeys(("weight", "constants", "start"), address)
        self.program = Program(plan, "issue", rows, sizes)
        self.height_bits = max(self.program.shape[name].width for name in ("height", "pad")) + 3
        code = Out(bits)
        assert words <= 1 << bits
        super().__init__(
            {
                "loaded": In(1), "started": Out(1), "landed": In(1), "room": In(1), "takes": Out(1), "blocked": Out(1),
                "valid": Out(1), "first": Out(1), "last": Out(1), "fall": Out(len(self.falls)),
                "negative": Out(1), "low": Out(self.program.shape["low"].shape),
                "aside": Out(self.program.shape["aside"].shape),
                "row": code, "column": code, "place": Out(range(max(2, plan.banks // plan.share.pixels))),
                "inside": Out(1), "x": Out(range(max(2, plan.columns))),
                "choice": Out(range(max(2, max(self.choices) + 1))),
                "slices": Out(self.program.shape["slices"].shape), "edge": Out(self.program.shape["edge"].shape),
                "weight": Out(range(max(2, len(constants.memory)))), "fill": Out(1),
                "fill_word": Out(range(max(2, plan.constant_words))),
                "fill_part": Out(range(max(2, constants.parts, constants.shares))),
                "open_rows": Out(self.program.shape["open"].shape), "pools": Out(1),
            }
        )  # fmt: skip

    def _row(self, index: int, weight: int, words: int) -> dict[str, int]:
        """Numbers of a layer, whose weights begin at `weight`; addresses are modulo `words`."""
        plan, walk, constants = self.plan, self.plan.walks[index], self.constants
        layer, middle = walk.layer, plan.kernel // 2
        result = {
            "rows": walk.rows - 1, "columns": walk.columns - 1, "groups": walk.groups - 1, "slices": walk.slices,
            "length": walk.length - 1, "kernel": walk.kernel - 1, "constants": constants.begins[index],
            "words": constants.counts[index] - 1, "height": layer.given[1], "open": plan.open_rows[index],
            "final": int(index == len(plan.walks) - 1), "pools": int(bool(layer.pools)),
        }  # fmt: skip
        if layer.conv is None or layer.codes is None:
            none = ("chunks", "group", "begin", "pitch", "step", "stride", "pad", "low", "edge", "aside", "weight",
                    "start", "from", "to")  # fmt: skip
            return result | dict.fromkeys(none, 0)
        pad, row = layer.conv["padding"], plan.code_row(layer.codes.name)
        first, steps = plan.steps_from(walk.bits)
        return result | {
            "chunks": walk.chunks, "group": walk.chunks * walk.bits[0],
            "begin": (plan.codes[layer.codes.name].at - pad * row) % words, "pitch": row, "step": layer.stride * row,
            "stride": layer.stride - 1, "pad": pad, "low": middle + walk.margin,
            "edge": middle + walk.margin + layer.given[2], "aside": middle - walk.kernel // 2, "weight": weight,
            "start": walk.chunks * plan.steps[first][0], "from": first, "to": first + steps - 1,
        }  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.program = self.program
        now = self.program.o
        kernel, steps = self.plan.kernel, len(self.plan.steps)
        layer = Signal(range(self.program.depth))
        known, running, waiting = Signal(), Signal(), Signal()  # the program's row is there; chunks go out; they have
        asked = Signal(range(self.plan.told + 1), init=self.plan.told - 1)  # cycles until it is
        filled, filling = Signal(), Signal()  # the constants are on their way
        y, j, group = (Signal(len(now[name]), name=name) for name in ("rows", "columns", "groups"))
        cycle = Signal(len(now.length))
        rest = Signal()  # the group's chunks are out, its results are still to leave
        step, ky = Signal(range(max(2, steps))), Signal(range(max(2, kernel)))
        part = Signal(len(now.slices))
        m.d.comb += self.program.layer.eq(layer)
        begin, tick, group_end = Signal(), Signal(), Signal()
        last_layer = now.final
        fresh = (cycle == 0) & (group == 0)
        if self.emits:
            fresh &= j >= self.emits
        m.d.comb += [
            filling.eq(known & ~filled),
            begin.eq(filled & ~running & ~waiting & ((layer != 0) | self.loaded)),
            self.started.eq(begin & (layer == 0)),
            tick.eq(running & ~(last_layer & fresh & ~self.room)),
            self.takes.eq(tick & last_layer & fresh),
            self.blocked.eq(running & ~tick),
            group_end.eq(tick & (cycle == now.length)),
        ]
        m.d.sync += [known.eq(asked == 0), asked.eq(Mux(asked == 0, 0, asked - 1))]
        with m.If(begin):
            m.d.sync += [running.eq(1), step.eq(now["from"])]
        with m.If(self.landed):
            m.d.sync += [waiting.eq(0), known.eq(0), filled.eq(0), layer.eq(Mux(last_layer, 0, layer + 1))]
            m.d.sync += asked.eq(self.plan.told - 1)
        read = self._constants(m, now, filling, filled)

        part_end, ky_end, step_end = part == now.slices - 1, ky == now.kernel, step == now["to"]
        work_end = part_end & ky_end & step_end
        chunk = tick & ~rest
        with m.If(chunk):
            m.d.sync += part.eq(Mux(part_end, 0, part + 1))
            with m.If(part_end):
                m.d.sync += ky.eq(Mux(ky_end, 0, ky + 1))
                with m.If(ky_end):
                    m.d.sync += step.eq(Mux(step_end, now["from"], step + 1))
        with m.If(tick):
            m.d.sync += [cycle.eq(Mux(group_end, 0, cycle + 1)), rest.eq(~group_end & (rest | work_end))]
        group_last, column_last, row_last = group == now.groups, j == now.columns, y == now.rows
        with m.If(group_end):
            m.d.sync += group.eq(Mux(group_last, 0, group + 1))
            with m.If(group_last):
                m.d.sync += j.eq(Mux(column_last, 0, j + 1))
                with m.If(column_last):
                    m.d.sync += y.eq(Mux(row_last, 0, y + 1))
                    with m.If(row_last):
                        m.d.sync += [running.eq(0), waiting.eq(1)]
        ends = group_end & group_last
        self._codes(m, now, begin, chunk, part_end, ky_end, ky, ends, column_last)
        self._weights(m, now, begin, chunk, part_end & ky_end, step, group_end, group_last, filling, read)
        starts = (part == 0) & (ky == 0)
        falling = [
            starts & Cat(step == index for index, by in enumerate(self.falls_to) if by == fall).any()
            for fall in self.falls
        ]
        m.d.sync += [
            self.valid.eq(chunk),
            self.first.eq(starts & (step == now["from"])),
            self.last.eq(work_end),
            self.fall.eq(Cat(falling)),
            self.negative.eq(Array(Const(int(some)) for some in self.negatives)[step]),
            self.x.eq(j * self.plan.share.pixels),
            self.choice.eq(Array(Const(choice) for choice in self.choices)[step]),
        ]
        m.d.comb += [
            self.slices.eq(now.slices), self.low.eq(now.low), self.edge.eq(now.edge), self.aside.eq(now.aside),
            self.open_rows.eq(now.open), self.pools.eq(now.pools),
        ]  # fmt: skip
        m.d.sync += self.column.eq(self._column(m, chunk, part_end, ky_end, now) + part)
        return m

    def _column(self, m: Module, chunk: Value, part_end: Value, ky_end: Value, now: Any) -> Value:
        """Words from the kernel's first row to the present one."""
        down = Signal(len(self.column), name="down")
        with m.If(chunk & part_end):
            m.d.sync += down.eq(Mux(ky_end, 0, down + now.pitch))
        return down

    def _codes(
        self, m: Module, now: Any, begin: Value, chunk: Value, part_end: Value, ky_end: Value, ky: Value, ends: Value,
        column_last: Value,
    ) -> None:  # fmt: skip
        """Where the group of pixels' first kernel row lies; whether the present one is in the image."""
        places = self.plan.banks // self.plan.share.pixels
        top = Signal(len(self.row), name="top")  # the kernel's first row of code words, in the row's first block
        over = Signal(len(self.row), name="over")  # from there to the block at hand
        place = Signal(range(max(2, places)), name="place_now")
        y_top = Signal(signed(self.height_bits), name="y_top")
        with m.If(begin):
            m.d.sync += [top.eq(now.begin), over.eq(0), place.eq(0), y_top.eq(-now.pad)]
        with m.If(ends):
            m.d.sync += place.eq(next_of(place, places) if places > 1 else 0)
            with m.If(place == places - 1):
                m.d.sync += over.eq(over + now.slices)
            with m.If(column_last):
                m.d.sync += [place.eq(0), over.eq(0), top.eq(top + now.step), y_top.eq(y_top + now.stride + 1)]
        y = Signal(signed(self.height_bits + 1), name="y_now")
        m.d.comb += y.eq(y_top + ky)
        m.d.sync += [
            self.row.eq(top + over),
            self.place.eq(place),
            self.inside.eq((y >= 0) & (y < now.height)),
        ]

    def _constants(self, m: Module, now: Any, filling: Value, filled: Signal) -> Signal:
        """The layer's constants, one word of the memory after another: which one it is."""
        parts, shares = self.constants.parts, self.constants.shares
        read = Signal(range(max(2, self.plan.constant_words * parts)), name="read_constant")
        word, part = Signal(len(self.fill_word), name="word_now"), Signal(len(self.fill_part), name="part_now")
        m.d.sync += [self.fill.eq(filling), self.fill_word.eq(word), self.fill_part.eq(part)]
        with m.If(filling):
            part_end = part == max(parts, shares) - 1
            word_end = part_end if parts > 1 else Const(1)
            line_end = part_end if shares > 1 else Const(1)
            m.d.sync += [
                read.eq(read + line_end), part.eq(Mux(part_end, 0, part + 1)), word.eq(word + word_end)
            ]  # fmt: skip
            with m.If(word_end & (word == now.words)):
                m.d.sync += [filled.eq(1), read.eq(0), word.eq(0), part.eq(0)]
        return read

    def _weights(
        self, m: Module, now: Any, begin: Value, chunk: Value, step_over: Value, step: Value, group_end: Value,
        group_last: Value, filling: Value, read: Value,
    ) -> None:  # fmt: skip
        """Words of a group lie plane by plane, in a plane in the order of use; steps of one plane use them again."""
        after = [k for steps in self.plan.steps_of.values() for k, _ in (*steps[1:], steps[0])]
        base = Signal(len(self.weight), name="base")  # of the group
        at = Signal(len(self.weight), name="at")  # from there
        following = Array(now.chunks * k for k in after)[step]
        with m.If(begin):
            m.d.sync += [base.eq(now.weight), at.eq(now.start)]
        with m.If(chunk):
            m.d.sync += at.eq(Mux(step_over, following, at + 1))
        with m.If(group_end):
            m.d.sync += base.eq(Mux(group_last, now.weight, base + now.group))
        m.d.sync += self.weight.eq(Mux(filling, now.constants + read, base + at))
