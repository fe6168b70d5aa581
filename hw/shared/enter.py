"""A beat of a shared stage's input on its way into memory: its values, their codes, and the words of these."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import ENTER, StagePlan
from popstream.hw.lib.pipeline import delay
from popstream.hw.lib.table import Table
from popstream.hw.shared.constants import Constants, bits_of
from popstream.hw.shared.slot import entry_layout
from popstream.hw.shared.steps import compared, part_of_word

__all__ = ["Enter"]


class Enter(wiring.Component):
    """Beside the results' own way (finish.py, encode.py), so that they need not stop for it but at a memory's port.

    Cycles after a slot's:

        1          the beat is taken
        2          v: to the stream memory
        2+A        its codes of A bits, which become a part of a word
        3+A        the word, once it is whole, to the code memory

    Parameters
    ----------
    plan, constants : of the stage.

    Members
    -------
    valid : In, `slot` counts. slot : In. i : In, a beat from outside. take : Out, it is used in this cycle.
    store : Out, bits of stream banks that get `v`, a word, at `at`.
    codes : Out, of the beat; encodes : Out, they count. write : Out, bits of code banks that get `word`, at `address`.
    """

    def __init__(self, plan: StagePlan, constants: Constants) -> None:
        self.plan = plan
        self.constants = constants
        self.shape = shape = entry_layout(plan)
        bits = plan.entry * plan.chain.source.bits
        super().__init__(
            {
                "valid": In(1), "slot": In(shape), "i": In(bits), "take": Out(1),
                "store": Out(plan.share.pixels), "at": Out(shape["at"].width), "v": Out(bits),
                "codes": Out(plan.entry * plan.made_bits), "encodes": Out(1),
                "write": Out(plan.banks), "address": Out(shape["code"].width),
                "word": Out(plan.share.slice * plan.code_bits),
            }
        )  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        plan, made = self.plan, self.plan.made_bits
        slots, valids = [self.slot], [self.valid]
        for cycle in range(1, ENTER + made + 2):
            slots.append(delay(m, slots[-1], 1, f"slot{cycle}_"))
            valids.append(delay(m, valids[-1], 1, f"valid{cycle}_"))
        v = Signal(len(self.i))
        m.d.sync += v.eq(self.i)
        kept = slots[ENTER]
        m.d.comb += [
            self.take.eq(valids[ENTER - 1]), self.v.eq(v), self.at.eq(kept.at),
            self.store.eq(Mux(valids[ENTER], kept.store, 0)),
        ]  # fmt: skip
        bits = plan.chain.source.bits
        values = [v.word_select(c, bits) for c in range(plan.entry)]
        if self.constants.entry is not None:
            codes = compared(m, [value.as_signed() for value in values], self._thresholds(m), made, "entered")
        else:
            codes = [delay(m, value, made, f"code_{c}_") for c, value in enumerate(values)]
        m.d.comb += [self.codes.eq(Cat(codes)), self.encodes.eq(valids[ENTER + made])]
        part, last = slots[ENTER + made], slots[ENTER + made + 1]
        m.d.comb += [
            self.word.eq(part_of_word(m, "word", codes, part, valids[ENTER + made], plan.share.slice, plan.code_bits)),
            self.address.eq(last.code), self.write.eq(Mux(valids[-1] & last.whole, last.banks, 0)),
        ]  # fmt: skip
        return m

    def _thresholds(self, m: Module) -> list[list[Value]]:
        """The input's, by channel, in cycle ENTER."""
        assert self.constants.entry is not None
        words, beat, count = self.constants.entry.shape
        width = self.plan.value_bits + 1
        init = [
            sum(int(bit) << at for at, bit in enumerate(row))
            for row in bits_of(self.constants.entry.reshape(words, -1), width)
        ]
        m.submodules.thresholds = table = Table(init, self.plan.storage, unsigned(beat * count * width))
        m.d.comb += [table.address.eq(delay(m, self.slot.place, ENTER - table.latency, "place")), table.en.eq(1)]
        word = table.o
        return [[word.word_select(c * count + n, width).as_signed() for n in range(count)] for c in range(beat)]
