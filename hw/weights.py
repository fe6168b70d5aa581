"""Weight memory of a matrix-vector unit: constant words, read one a cycle, in logic or in block RAM."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Const, Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.pipeline import delay
from hw.table import LOGIC_DEPTH, checked_storage

__all__ = ["WeightMemory"]

_MERGED_DEPTH = 8  # a bit of so few words and its XNOR share one LUT4


class WeightMemory(wiring.Component):
    """o = words[address] as `address` was `latency` cycles ago.

    In logic, up to 8 words are a plain function of a registered address, to be merged with what follows; more have a
    register at `o`. A block RAM, slow to give its word, has one at `o` besides its own; with latency 1, its own follows
    `next_address` ahead of time.

    Parameters
    ----------
    bits : 0 or 1, [words, width].
    storage : "block", "logic" or "auto", which is "logic" up to 64 words.
    latency : at least 1.

    Attributes
    ----------
    style : how it is built: "constant" for a single word, "merged" (up to 8 words of logic), "logic" or "block".

    Members
    -------
    address : In, below the number of words
    next_address, advance : In, with advance high, `address` becomes `next_address` in the next cycle; else it stays
    o : Out(width)
    """

    def __init__(self, bits: np.ndarray, storage: str, latency: int) -> None:
        words, width = bits.shape
        packed = np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")
        self.init = [int.from_bytes(word.tobytes(), "little") for word in packed]
        self.latency = latency
        self.style = self.style_of(words, storage)
        address = range(words)
        super().__init__({"address": In(address), "next_address": In(address), "advance": In(1), "o": Out(width)})

    @staticmethod
    def style_of(words: int, storage: str) -> str:
        """The attribute `style` of so many words."""
        if words == 1:
            return "constant"
        if checked_storage(storage) == "block" or (storage == "auto" and words > LOGIC_DEPTH):
            return "block"
        return "merged" if words <= _MERGED_DEPTH else "logic"

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self.style == "constant":
            m.d.comb += self.o.eq(Const(self.init[0], len(self.o)))
            return m
        attrs = {"rom_style": "block" if self.style == "block" else "logic"}
        memory = Memory(shape=unsigned(len(self.o)), depth=len(self.init), init=self.init, attrs=attrs)
        m.submodules.rom = memory
        if self.style == "merged":
            port = memory.read_port(domain="comb")
            m.d.comb += [port.addr.eq(delay(m, self.address, self.latency, "address")), self.o.eq(port.data)]
        elif self.style == "logic":
            port = memory.read_port()
            m.d.comb += [port.addr.eq(delay(m, self.address, self.latency - 1, "address")), self.o.eq(port.data)]
        else:
            port = memory.read_port()
            if self.latency == 1:
                m.d.comb += [port.addr.eq(self.next_address), port.en.eq(self.advance)]
            else:
                m.d.comb += port.addr.eq(delay(m, self.address, self.latency - 2, "address"))
            m.d.sync += self.o.eq(port.data)
        return m
