"""The code memory of a shared stage: banks by column, which give a row of the kernel for several pixels at once."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import READ, StagePlan
from popstream.hw.lib.pipeline import delay

__all__ = ["CodeMemory"]


class CodeMemory(wiring.Component):
    """Codes of column x lie in bank x mod B; a word is a slice of a pixel's channels, code by code.

    The columns of a group of pixels begin `pad` before the first of them: in the block of B columns at hand, in the one
    before or in the one behind. Each bank gives one word; as groups begin at multiples of the pixels, a column comes
    from one of B / pixels banks. Columns outside of the image, and rows, are codes of 0.

    Parameters
    ----------
    plan : of the stage.

    Attributes
    ----------
    latency : cycles from the members of `hw.shared.issue.Issue` to `o`.

    Members
    -------
    row, column, place, inside, x, low, edge, aside, choice, slices : In, see Issue.
    o : Out, for each pixel its planes, in each kernel column by kernel column the slice's codes' bits.
    write : In, a bit for each bank. write_address : In. words : In, for each pixel of a group, that is for the banks
        that are equal to it modulo the pixels, a word.
    other, other_address : In, all banks are read there instead; `all`, their words, come `straight` cycles later.
    """

    latency = READ
    straight = 3

    def __init__(self, plan: StagePlan) -> None:
        self.plan = plan
        share = plan.share
        self.columns = share.pixels + plan.kernel - 1
        self.word = share.slice * plan.code_bits
        self.places = plan.banks // share.pixels
        address = In(max(1, (plan.code_words - 1).bit_length()))
        super().__init__(
            {
                "row": address, "column": address, "place": In(range(max(2, self.places))),
                "inside": In(1), "x": In(range(max(2, plan.columns))),
                "low": In(range(plan.low + 1)), "edge": In(range(plan.low + plan.width + 1)),
                "aside": In(range(max(2, 1 + plan.kernel // 2))),
                "choice": In(range(max(2, -(-plan.code_bits // share.planes)))),
                "slices": In(range(1 + plan.slices)),
                "o": Out(share.pixels * share.planes * plan.kernel * share.slice),
                "write": In(plan.banks), "write_address": address, "words": In(share.pixels * self.word),
                "other": In(1), "other_address": address, "all": Out(plan.banks * self.word),
            }
        )  # fmt: skip

    def block_of(self, bank: int, place: int) -> int:
        """Whether a bank's column is in the block before (-1), in that at hand, or behind (1)."""
        begin = place * self.plan.share.pixels - self.plan.kernel // 2
        return (begin + (bank - begin) % self.plan.banks) // self.plan.banks

    def bank_of(self, column: int, place: int) -> int:
        """The bank of one of the group's columns."""
        return (place * self.plan.share.pixels - self.plan.kernel // 2 + column) % self.plan.banks

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        plan, bits = self.plan, len(self.row)
        address = Signal(bits)
        before, at, behind = (Signal(bits, name=f"block{index}") for index in range(3))
        blocks = {-1: before, 0: at, 1: behind}
        m.d.sync += address.eq(self.row + self.column)
        slices = delay(m, self.slices, 1, "slices")
        m.d.sync += [before.eq(address - slices), at.eq(address), behind.eq(address + slices)]
        place = delay(m, self.place, 2, "place")
        read: list[Value] = []
        for bank in range(plan.banks):
            m.submodules[f"bank{bank}"] = memory = Memory(
                shape=unsigned(self.word),
                depth=plan.code_words,
                init=[],
                attrs={"no_rw_check": 1, "ram_style": "block"},
            )
            port, write = memory.read_port(), memory.write_port()
            own, word = Signal(bits, name=f"address{bank}"), Signal(self.word, name=f"word{bank}")
            choices = [blocks[self.block_of(bank, at)] for at in range(self.places)]
            chosen = Array(choices)[place]
            if plan.pools:
                chosen = Mux(self.other, self.other_address, chosen)
            m.d.sync += [own.eq(chosen), word.eq(port.data)]
            m.d.comb += [
                port.addr.eq(own),
                write.addr.eq(self.write_address),
                write.en.eq(self.write[bank]),
                write.data.eq(self.words.word_select(bank % plan.share.pixels, self.word)),
            ]
            read.append(word)
        m.d.comb += self.all.eq(Cat(read))
        self._choose(m, read, delay(m, place, 3, "place_then"))
        return m

    def low_of_all(self) -> Value:
        """The column of the kernel's first at which the image begins: a constant where it is in all layers."""
        margin = self.plan.margin
        return self.low if margin is None else Const(self.plan.kernel // 2 + margin)

    def _plane(self, word: Value, plane: int) -> Value:
        """A plane of a word's codes; none above the highest."""
        bits, slices = self.plan.code_bits, self.plan.share.slice
        return Cat(word[c * bits + plane] for c in range(slices)) if plane < bits else Const(0, slices)

    def _choose(self, m: Module, read: list[Value], place: Value) -> None:
        """The group's columns out of the banks' words, without what is outside, and of them the planes."""
        plan, share = self.plan, self.plan.share
        edge = Signal(self.columns)
        low: Value = self.low_of_all()
        seen = [(self.x + column >= low) & (self.x + column < self.edge) for column in range(self.columns)]
        m.d.sync += edge.eq(Cat(self.inside & there for there in seen))
        shown = delay(m, edge, 4, "edge")
        choice = delay(m, self.choice, 5, "choice")
        columns = []
        for column in range(self.columns):
            word = Array(read[self.bank_of(column, at)] for at in range(self.places))[place]
            planes = []
            for low_plane in range(0, plan.code_bits, share.planes):
                some = range(low_plane, low_plane + share.planes)
                planes.append([self._plane(word, plane) for plane in some])
            chosen = [Array(some[k] for some in planes)[choice] for k in range(share.planes)]
            columns.append([bits & shown[column].replicate(share.slice) for bits in chosen])
        middle = plan.kernel // 2  # the column that all kernels have
        taken = [
            (Const(1) if kx == middle else self.aside <= min(kx, plan.kernel - 1 - kx)).replicate(share.slice)
            for kx in range(plan.kernel)
        ]
        m.d.sync += self.o.eq(
            Cat(
                columns[pixel + kx][k] & taken[kx] if plan.narrow else columns[pixel + kx][k]
                for pixel in range(share.pixels)
                for k in range(share.planes)
                for kx in range(plan.kernel)
            )
        )
