"""Codes of a shared stage's values: a threshold's bit a cycle, and the words in which they go to the code memory."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.pipeline import delay
from popstream.hw.shared.constants import Constants
from popstream.hw.shared.slot import slot_layout
from popstream.hw.shared.steps import compared, part_of_word

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
    codes : Out, of each value, `made_bits` cycles later; encodes : Out, they count.
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
                "codes": Out(share.pixels * share.beat * plan.made_bits), "encodes": Out(1), "write": Out(plan.banks),
                "address": Out(len(Signal(self.shape).code)),
                "words": Out(share.pixels * share.slice * plan.code_bits),
            }
        )  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        plan, share, width = self.plan, self.plan.share, self.plan.value_bits
        values = [self.v.word_select(index, width).as_signed() for index in range(share.pixels * share.beat)]
        rows = [
            [self.rows.word_select(c * self.count + n, width + 1).as_signed() for n in range(self.count)]
            for c in range(share.beat)
        ]
        codes = compared(m, values, rows, plan.made_bits, "code")
        slot = delay(m, self.slot, plan.made_bits, "slot")
        valid = delay(m, self.valid, plan.made_bits, "valid")
        words = [
            part_of_word(
                m, f"word{pixel}", codes[pixel * share.beat : (pixel + 1) * share.beat], slot, valid, share.slice,
                plan.code_bits,
            )
            for pixel in range(share.pixels)
        ]  # fmt: skip
        m.d.comb += [self.codes.eq(Cat(codes)), self.encodes.eq(valid)]
        last, whole = delay(m, slot, 1, "last"), delay(m, valid, 1, "whole")
        m.d.comb += [
            self.write.eq(Mux(whole & last.whole, last.banks, 0)), self.address.eq(last.code), self.words.eq(Cat(words))
        ]  # fmt: skip
        return m
