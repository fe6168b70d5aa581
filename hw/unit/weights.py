"""Weight memory of a matrix-vector unit: constant words, read one a cycle, in logic or in block RAM."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.device import is_ecp5
from popstream.hw.lib.memory import EBR_BITS, EBR_WORDS
from popstream.hw.lib.pipeline import delay
from popstream.hw.lib.table import LOGIC_DEPTH, checked_storage, guarded

__all__ = ["ADDRESSES", "MERGED_DEPTH", "WeightMemory", "words_of"]

ADDRESSES = ("address", "next_address", "later_address", "latest_address")
MERGED_DEPTH = 8
"""Most words of which a bit and its XNOR share one LUT4."""

# An ECP5's block RAM: values INITVAL_xx, halves of words in each, bits from one to the next.
_EBR_ROWS, _EBR_ROW, _EBR_PITCH = 64, 16, 20


def words_of(q: np.ndarray, weight_bits: int, arithmetic: str, kind: str) -> np.ndarray:
    """The words, 0 or 1 [words, width], of codes q [groups, PEs, chunks, simd], PE by PE.

    Lanes: a word is a plane of a chunk, of odd weights inverted (XnorTerm), for each group, plane and chunk.
    Multipliers: it is a chunk's codes, of odd weights with their top bit inverted (MacTerm), for each group and chunk.
    """
    groups, _, chunks, _ = q.shape
    if kind == "odd":
        q = ~q if arithmetic == "lanes" else q ^ (1 << weight_bits - 1)
    planes = q[..., None] >> np.arange(weight_bits) & 1  # group, pe, chunk, lane, plane
    if arithmetic == "mac":
        return planes.transpose(0, 2, 1, 3, 4).reshape(groups * chunks, -1)
    return planes.transpose(0, 4, 2, 1, 3).reshape(groups * weight_bits * chunks, -1)


class WeightMemory(wiring.Component):
    """o = words[address] as `address` was `latency` cycles ago.

    In logic, up to 8 words are a plain function of a registered address, to be merged with what follows, unless they
    are to be "registered": then, and if they are more, they have a register at `o`. On an ECP5 that is faster, by a LUT
    and a wire, and smaller where several planes share the words, as the gate is part of a carry chain then. A block
    RAM, slow to give its word and far from what it feeds, has one at `o` besides its own; on an ECP5, up to 512 words,
    a third between them, inside. With little latency, it is read ahead of time.

    Parameters
    ----------
    bits : 0 or 1, [words, width].
    storage : "block", "logic", "registered", "auto", which is "logic" up to 64 words, or "reload": a "block" whose
        content may be exchanged later (hw.lib.table.STORAGES), whatever it is.
    latency : at least 0.
    merge : whether what follows the words is a LUT each; otherwise words of logic always have a register at `o`.

    Attributes
    ----------
    style : how it is built: "constant" for a single word, "merged" (up to 8 words of logic), "logic" or "block".

    Members
    -------
    address : In, below the number of words
    next_address, later_address, latest_address, advance : In, with advance high, `address` becomes `next_address` in
        the next cycle, that `later_address`, and that `latest_address`; else they stay
    o : Out(width)
    """

    def __init__(self, bits: np.ndarray, storage: str, latency: int, merge: bool = True) -> None:
        words, width = bits.shape
        packed = np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")
        self.init = [int.from_bytes(word.tobytes(), "little") for word in packed]
        if storage == "reload":
            self.init = guarded(self.init, width)
        self.latency = latency
        self.style = self.style_of(words, storage, merge)
        address = range(words)
        super().__init__({**{name: In(address) for name in ADDRESSES}, "advance": In(1), "o": Out(width)})

    @staticmethod
    def style_of(words: int, storage: str, merge: bool = True) -> str:
        """The attribute `style` of so many words."""
        if words == 1 and storage != "reload":
            return "constant"
        if checked_storage(storage) in ("block", "reload") or (storage == "auto" and words > LOGIC_DEPTH):
            return "block"
        return "merged" if merge and words <= MERGED_DEPTH and storage != "registered" else "logic"

    @staticmethod
    def block_stages(words: int) -> int:
        """Registers behind a block RAM of an ECP5: its own, one more inside where one RAM is deep enough, and `o`."""
        return 3 if words <= EBR_WORDS else 2

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self.style == "constant":
            m.d.comb += self.o.eq(Const(self.init[0], len(self.o)))
            return m
        if self.style == "block" and is_ecp5(platform) and len(self.init) <= EBR_WORDS:
            self._ebr(m)
            return m
        attrs = {"rom_style": "block" if self.style == "block" else "logic"}
        memory = Memory(shape=unsigned(len(self.o)), depth=len(self.init), init=self.init, attrs=attrs)
        m.submodules.rom = memory
        if self.style == "merged":
            port = memory.read_port(domain="comb")
            m.d.comb += [port.addr.eq(delay(m, self.address, self.latency, "address")), self.o.eq(port.data)]
        elif self.style == "logic":
            port = memory.read_port()
            address, (enable,) = self._ahead(m, 1)
            m.d.comb += [port.addr.eq(address), port.en.eq(enable), self.o.eq(port.data)]
        else:
            port = memory.read_port()
            address, (enable, enable_o) = self._ahead(m, 2)
            m.d.comb += [port.addr.eq(address), port.en.eq(enable)]
            with m.If(enable_o):
                m.d.sync += self.o.eq(port.data)
        return m

    def _ahead(self, m: Module, stages: int) -> tuple[Value, list[Value]]:
        """The address to read so that the word has passed `stages` registers, the RAM's own first, when it is due, and
        the enables of them: those that are passed ahead of time wait with the addresses.
        """
        early = max(0, stages - self.latency)
        address = getattr(self, ADDRESSES[early])
        enables = [self.advance] * early + [Const(1, 1)] * (stages - early)
        return delay(m, address, max(0, self.latency - stages), "address"), enables

    def _ebr(self, m: Module) -> None:
        """Block RAMs with a register inside, whose bits come 1.0 ns after the clock, the RAM's own 5.8 ns.

        Pseudo dual port, 36 bits: the read port is B, its word of two halves of 18 bits, 16 halves in each INITVAL.
        """
        address, (enable, enable_register, enable_o) = self._ahead(m, self.block_stages(len(self.init)))
        word = Signal(len(self.o))
        with m.If(enable_o):
            m.d.sync += self.o.eq(word)
        for index in range(-(-len(word) // EBR_BITS)):
            part = word[index * EBR_BITS : (index + 1) * EBR_BITS]
            mask = (1 << EBR_BITS // 2) - 1
            halves = [word >> index * EBR_BITS + shift & mask for word in self.init for shift in (0, EBR_BITS // 2)]
            ports: dict[str, Any] = {}
            for row in range(_EBR_ROWS):
                some = halves[row * _EBR_ROW : (row + 1) * _EBR_ROW]
                value = sum(half << _EBR_PITCH * place for place, half in enumerate(some))
                ports[f"p_INITVAL_{row:02X}"] = Const(value, _EBR_ROW * _EBR_PITCH)
            for bit in range(14):
                ports[f"i_ADB{bit}"] = address[bit - 5] if 5 <= bit < 5 + len(address) else Const(0, 1)
            for bit in range(len(part)):
                ports[f"o_DO{'AB'[bit // (EBR_BITS // 2)]}{bit % (EBR_BITS // 2)}"] = part[bit]
            for port in "AB":
                ports |= {
                    f"p_DATA_WIDTH_{port}": EBR_BITS,
                    f"p_REGMODE_{port}": "OUTREG",
                    f"p_CSDECODE_{port}": "0b000",
                }
                ports |= {f"i_CS{port}{select}": Const(0, 1) for select in range(3)}
                ports |= {f"i_RST{port}": Const(0, 1), f"i_CLK{port}": ClockSignal()}
            m.submodules[f"rom{index}"] = Instance(
                "DP16KD",
                p_GSR="DISABLED",
                i_CEA=Const(0, 1),
                i_OCEA=Const(1, 1),
                i_WEA=Const(0, 1),
                i_CEB=enable,
                i_OCEB=enable_register,
                i_WEB=Const(0, 1),
                **ports,
            )
