"""The stream memory of a shared stage: a bank for each pixel of a group; the input's are the same, or its own."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.pipeline import delay

__all__ = ["StreamMemory"]


class StreamMemory(wiring.Component):
    """A word is `beat` channels of a pixel; of all banks one is read at once, and those that are chosen are written.

    Parameters
    ----------
    plan : of the stage, which has streams.
    read, at, enters : bits of addresses: of what is read, of results, of what comes in.

    Members
    -------
    read : In, the word. own : In, of the input's own banks. words : Out, two cycles later, bank by bank.
    store : In, bits of banks that get their part of `v`, at `at`: `beat` values signed(R) for each bank.
    enters : In, bits of banks, of the input's where these are apart, that get `entering`, at `enters_at`. Where they
        are not, nothing is stored in that cycle.
    """

    def __init__(self, plan: StagePlan, read: int, at: int, enters: int) -> None:
        self.plan = plan
        share = plan.share
        self.width = share.beat * plan.stream_bits
        super().__init__(
            {
                "read": In(read), "own": In(1), "words": Out(share.pixels * self.width),
                "store": In(share.pixels), "at": In(at), "v": In(share.pixels * self.width),
                "enters": In(share.pixels), "enters_at": In(enters), "entering": In(self.width),
            }
        )  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        plan, own = self.plan, delay(m, self.own, 1, "own")
        for bank in range(plan.share.pixels):
            enters, v = self.enters[bank], self.v.word_select(bank, self.width)
            read: list[Value] = []
            if plan.own:
                read.append(self._bank(m, f"own{bank}", plan.own_words, self.enters_at, self.entering, enters))
            if plan.stream_words and plan.own:
                read.append(self._bank(m, f"bank{bank}", plan.stream_words, self.at, v, self.store[bank]))
            elif plan.stream_words:
                at, data = Mux(enters, self.enters_at, self.at), Mux(enters, self.entering, v)
                read.append(self._bank(m, f"bank{bank}", plan.stream_words, at, data, enters | self.store[bank]))
            word = Signal(self.width, name=f"word{bank}")
            m.d.sync += word.eq(Mux(own, read[0], read[-1]))
            m.d.comb += self.words.word_select(bank, self.width).eq(word)
        return m

    def _bank(self, m: Module, name: str, words: int, at: Value, data: Value, en: Value) -> Value:
        """What is read of a bank that is written like that."""
        m.submodules[name] = memory = Memory(
            shape=unsigned(self.width), depth=words, init=[], attrs={"no_rw_check": 1, "ram_style": "block"}
        )
        write, port = memory.write_port(), memory.read_port()
        m.d.comb += [write.addr.eq(at), write.data.eq(data), write.en.eq(en), port.addr.eq(self.read)]
        return Cat(port.data)
