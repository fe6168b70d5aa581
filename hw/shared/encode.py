"""Codes of a shared stage's values: a threshold's bit a cycle, and the words in which they go to the code memory."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.pipeline import delay
from popstream.hw.lib.table import Table
from popstream.hw.shared.constants import Constants, bits_of
from popstream.hw.shared.slot import slot_layout

__all__ = ["Encode"]


class Encode(wiring.Component):
    """code = #{ j : v >= T[j] }, the highest bit first, each comparison with the threshold that the bits before it
    choose. Then `slice` channels' codes are a word, which is written a cycle after the last of them.

    Parameters
    ----------
    plan, constants : of the stage.

    Attributes
    ----------
    latency : cycles from a slot to the one in which its word is written.

    Members
    -------
    valid : In, `slot` counts. slot : In. v : In, for each pixel `beat` values. rows : In, thresholds of the beat's
        channels, one after another.
    place : In, the word of the input's thresholds, two cycles ahead.
    i : In, a beat from outside. take : Out, it is used in this cycle, as codes.
    write : Out, bits of code banks. address, words : Out, see CodeMemory.
    """

    def __init__(self, plan: StagePlan, constants: Constants) -> None:
        self.plan = plan
        self.constants = constants
        self.shape = slot_layout(plan, *constants.slot)
        self.latency = plan.made_bits + 1
        share = plan.share
        self.count = (1 << plan.made_bits) - 1
        super().__init__(
            {
                "valid": In(1), "slot": In(self.shape), "v": In(share.pixels * share.beat * plan.value_bits),
                "rows": In(share.beat * self.count * (plan.value_bits + 1)),
                "place": In(len(Signal(self.shape).constant)),
                "i": In(plan.entry * plan.chain.source.bits), "take": Out(1), "write": Out(plan.banks),
                "address": Out(len(Signal(self.shape).code)),
                "words": Out(share.pixels * share.slice * plan.code_bits),
            }
        )  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        codes = self._compared(m)
        slot = delay(m, self.slot, self.plan.made_bits, "slot")
        valid = delay(m, self.valid, self.plan.made_bits, "valid")
        self._words(m, codes, slot, valid)
        return m

    def _compared(self, m: Module) -> list[Value]:
        """A code of each value, A cycles later."""
        beat, bits, width = self.plan.share.beat, self.plan.made_bits, self.plan.value_bits
        later = [self.v.word_select(index, width).as_signed() for index in range(len(self.v) // width)]
        rows: list[dict[int, Value]] = [
            {n: self.rows.word_select(c * self.count + n, width + 1).as_signed() for n in range(self.count)}
            for c in range(beat)
        ]
        if self.constants.entry is not None:
            entry = self._entry(m)
            rows = [
                {n: Mux(self.slot.load, entry[c][n], one) for n, one in some.items()} for c, some in enumerate(rows)
            ]
        known: list[Value] = [Const(0, 0)] * len(later)
        for level in range(bits):
            step = 1 << (bits - level)
            places = [prefix * step + step // 2 - 1 for prefix in range(1 << level)]
            for index, value in enumerate(later):
                choices = [rows[index % beat][place] for place in places]
                bit = value >= (Array(choices)[known[index]] if level else choices[0])
                code = Signal(level + 1, name=f"code{level}_{index}")
                m.d.sync += code.eq(Cat(bit, known[index]))
                known[index] = code
            if level < bits - 1:
                later = [delay(m, value, 1, f"value{level}_{index}_") for index, value in enumerate(later)]
                rows = [
                    {n: delay(m, row, 1, f"row{level}_{c}_{n}_") for n, row in some.items() if n not in places}
                    for c, some in enumerate(rows)
                ]
        return known

    def _entry(self, m: Module) -> list[list[Value]]:
        """The input's thresholds, by channel."""
        assert self.constants.entry is not None
        words, beat, count = self.constants.entry.shape
        width = self.plan.value_bits + 1
        init = [
            sum(int(bit) << at for at, bit in enumerate(row))
            for row in bits_of(self.constants.entry.reshape(words, -1), width)
        ]
        m.submodules.entry = table = Table(init, self.plan.storage, unsigned(beat * count * width))
        m.d.comb += [table.address.eq(delay(m, self.place, 2 - table.latency, "entry_place")), table.en.eq(1)]
        word = table.o
        return [[word.word_select(c * count + n, width).as_signed() for n in range(count)] for c in range(beat)]

    def _words(self, m: Module, codes: list[Value], slot: Any, valid: Value) -> None:
        """Parts of words, one after another, of the stage's own values and of what comes in."""
        plan, share, bits = self.plan, self.plan.share, self.plan.code_bits
        own = [codes[pixel * share.beat : (pixel + 1) * share.beat] for pixel in range(share.pixels)]
        if plan.chain.source.kind == "stream":
            load = own[0]
        else:
            m.d.comb += self.take.eq(valid & slot.load)
            load = [self.i.word_select(c, plan.chain.source.bits) for c in range(plan.entry)]
        own_words = [
            self._word(m, f"own_word{pixel}", some, slot, valid & ~slot.load) for pixel, some in enumerate(own)
        ]
        load_word = self._word(m, "load_word0", load, slot, valid & slot.load)
        last, whole = delay(m, slot, 1, "last"), delay(m, valid, 1, "whole")
        m.d.comb += [
            self.write.eq(Mux(whole & last.whole, last.banks, 0)),
            self.address.eq(last.code),
            self.words.eq(Mux(last.load, load_word.replicate(share.pixels), Cat(own_words))),
        ]
        assert bits * share.slice == len(load_word)

    def _word(self, m: Module, name: str, codes: list[Value], slot: Any, valid: Value) -> Signal:
        """A word of which a beat of codes becomes the slot's part; the first one of a word clears what is behind it."""
        bits = self.plan.code_bits
        size = len(codes) * bits
        word = Signal(self.plan.share.slice * bits, name=name)
        beat = Cat(Cat(code, Const(0, bits - len(code))) for code in codes)
        with m.If(valid):
            for part in range(len(word) // size):
                target = word[part * size : (part + 1) * size]
                with m.If(slot.part == part):
                    m.d.sync += target.eq(beat)
                with m.Elif(slot.fresh):
                    m.d.sync += target.eq(0)
        return word
