"""The host link's memory: an image and the constant parts of replies, in banks of a block RAM each."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["BANK", "WIDTH", "Buffer"]

BANK, WIDTH = 2048, 9  # words of an ECP5's block RAM, and their bits


class Buffer(wiring.Component):
    """`data` is the word at `address` as both `address` and the memory were two cycles of `enable` ago.

    A block RAM is slow, and the banks lie apart: each has a register of its own ahead of the choice between them, else
    that path is an accelerator's slowest (14 ns on an LFE5U-85F).

    Parameters
    ----------
    words : what it holds at first, each below 2**WIDTH.

    Members
    -------
    address : In, below the number of words
    enable : In(1), of reading
    write, word : In(1), In(WIDTH): with `write`, `word` is stored at `address`
    data : Out(WIDTH)
    """

    def __init__(self, words: Sequence[int]) -> None:
        self.words = list(words)
        address = In(range(len(self.words)))
        super().__init__(
            {"address": address, "enable": In(1), "write": In(1), "word": In(WIDTH), "data": Out(WIDTH)}
        )  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        place_bits = (BANK - 1).bit_length()
        place, bank = self.address[:place_bits], self.address[place_bits:]
        read_bank, bank_here = Signal(len(bank)), Signal(len(bank))
        found = []
        for index, first in enumerate(range(0, len(self.words), BANK)):
            part = self.words[first : first + BANK]
            m.submodules[f"bank{index}"] = memory = Memory(shape=WIDTH, depth=len(part), init=part)
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [port.addr.eq(place) for port in (read, write)]
            m.d.comb += [read.en.eq(self.enable), write.data.eq(self.word), write.en.eq(self.write & (bank == index))]
            found.append(Signal(WIDTH, name=f"found{index}", reset_less=True))
            with m.If(self.enable):
                m.d.sync += found[-1].eq(read.data)
        with m.If(self.enable):
            m.d.sync += [read_bank.eq(bank), bank_here.eq(read_bank)]
        m.d.comb += self.data.eq(Array(found)[bank_here])
        return m
