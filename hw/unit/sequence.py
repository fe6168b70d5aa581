"""The order of work of a matrix-vector unit: which chunk and planes are next, at which weights, and when to start."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.planes import falls

__all__ = ["Sequencer"]


def ahead(signal: Signal, *names: str) -> list[Signal]:
    """The signal, and its like for each of the chunks that follow."""
    return [signal, *(Signal.like(signal, name=f"{name}_{signal.name}") for name in names)]


class Sequencer(wiring.Component):
    """Issues, for each window, its groups, in each group the steps (k, m), in each step the chunks, one a cycle.

    A first chunk of a group is issued only with a credit in hand; `credit` gives one back. What describes the present
    chunk comes from registers, and so does what describes the next two: the state behind runs three chunks ahead. The
    first chunk is issued at the earliest in the fourth cycle after reset.

    Parameters
    ----------
    groups, chunks : groups a window and chunks a step.
    steps : (k, m) of each step of a group: the weight plane, and the lowest code plane.
    planes : code planes worked on at once: m / planes is the index of a choice of planes.
    credits : groups that may be under way.
    subtracts : whether there is a `negative`.

    Attributes
    ----------
    words : weight words, in the order group, k, chunk.
    falls : the differences, above zero, from the weight k + m of a step to that of the step after.

    Members
    -------
    valid, ready : stream side: a window is there; its last chunk is issued.
    soon : Out(1), `ready` in the next cycle.
    credit : In, a group has left.
    issue : Out, the present chunk is taken, and replaced in the next cycle.
    next_planes_index, next_chunk : Out, the chunk that is the present one after `advance`.
    first, last : Out, it is the first, the last of its group.
    fall : Out(len(falls)), one-hot: it is the first after the weight has fallen by so much.
    negative : Out(1), it is one of the highest weight plane, which counts below zero.
    address : Out, its weight word.
    next_address, later_address, latest_address, advance : Out, the words of the next three chunks; each moves up by
        one in the cycle after `advance`.
    """

    def __init__(
        self,
        groups: int,
        chunks: int,
        steps: Sequence[tuple[int, int]],
        planes: int,
        credits: int,
        subtracts: bool = False,
    ) -> None:
        self.groups = groups
        self.chunks = chunks
        self.steps = tuple(steps)
        self.credits = credits
        self.subtracts = subtracts
        self.weight_planes = 1 + max(k for k, _ in steps)
        self.words = groups * self.weight_planes * chunks
        self.choices = [m // planes for _, m in steps]
        self._falls_to, self.falls = falls(steps)
        address = range(self.words)
        super().__init__(
            {
                "valid": In(1),
                "ready": Out(1),
                "soon": Out(1),
                "credit": In(1),
                "issue": Out(1),
                "next_planes_index": Out(range(max(self.choices) + 1), init=self.choices[0]),
                "next_chunk": Out(range(chunks)),
                "first": Out(1),
                "last": Out(1),
                "fall": Out(len(self.falls)),
                "address": Out(address),
                "next_address": Out(address),
                "later_address": Out(address),
                "latest_address": Out(address),
                "advance": Out(1),
                **({"negative": Out(1)} if subtracts else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        primed = Signal(3)  # the chunk after the next is known, the next, and the present one
        with m.If(self.advance):  # always so at first; a constant would make all units share a register, far from most
            m.d.sync += primed.eq(Cat(Const(1, 1), primed[:-1]))
        final, final_next = Signal(), Signal()  # the present chunk is the window's last; the one of the next cycle
        granted, granted_next = self._credits(m)
        # Within a group nothing can stop: a window stays valid, and the group's credit is in hand.
        single = self.chunks * len(self.steps) == 1
        m.d.comb += [
            self.ready.eq(final & (granted if single else 1)),
            self.soon.eq(final_next & (granted_next if single else 1)),
            self.issue.eq(self.valid & primed[-1] & (~self.first | granted)),
            self.advance.eq(self.issue | ~primed[-1]),
        ]

        chunk = Signal(range(self.chunks))
        step = Signal(range(len(self.steps)))
        group = Signal(range(self.groups))
        address = Signal(range(self.words), init=self.steps[0][0] * self.chunks)
        chunk_end = chunk == self.chunks - 1
        step_end = chunk_end & (step == len(self.steps) - 1)
        window_end = step_end & (group == self.groups - 1)
        fresh = chunk == 0
        falling_by = []
        for fall in self.falls:
            falling = [step == number for number, by in enumerate(self._falls_to) if by == fall]
            falling_by.append(fresh & Cat(falling).any())
        next_final = Signal()
        described: list[tuple[list[Signal], Value]] = [  # of the present chunk, the next and the later; of the latest
            (ahead(self.first, "next", "later"), fresh & (step == 0)),
            (ahead(self.last, "next", "later"), step_end),
            (ahead(self.fall, "next", "later"), Cat(falling_by)),
            ([self.address, self.next_address, self.later_address], address),
            ([final, *ahead(next_final, "later")], window_end),
            (ahead(self.next_chunk, "later"), chunk),
            (ahead(self.next_planes_index, "later"), Array(Const(choice) for choice in self.choices)[step]),
        ]
        if self.subtracts:
            highest = Cat(step == number for number, (k, _) in enumerate(self.steps) if k == self.weight_planes - 1)
            described.append((ahead(self.negative, "next", "later"), highest.any()))
        m.d.comb += [self.latest_address.eq(address), final_next.eq(Mux(self.advance, next_final, final))]
        with m.If(self.advance):
            for registers, latest in described:
                for this, following in pairwise([*registers, latest]):
                    m.d.sync += this.eq(following)
            m.d.sync += [
                chunk.eq(next_of(chunk, self.chunks)),
                address.eq(Mux(window_end, address.init, address + self._stride(chunk_end, step))),
            ]
            with m.If(chunk_end):
                m.d.sync += step.eq(next_of(step, len(self.steps)))
            with m.If(step_end):
                m.d.sync += group.eq(next_of(group, self.groups))
        return m

    def _stride(self, chunk_end: Any, step: Any) -> Any:
        """From one word to the next: 1, but from a step's last chunk to the first of the next step's weight plane."""
        strides, bits = [], len(self.address)
        for index, (plane, _) in enumerate(self.steps):
            after = self.steps[index + 1][0] if index + 1 < len(self.steps) else self.weight_planes + self.steps[0][0]
            strides.append(1 + (after - plane - 1) * self.chunks)
        if set(strides) == {1}:
            return 1
        return Mux(chunk_end, Array(Const(stride % (1 << bits), bits) for stride in strides)[step], 1)

    def _credits(self, m: Module) -> tuple[Signal, Signal]:
        """High while a group may start, and so in the next cycle; credits come back a cycle late, so that `credit` ends
        at a register."""
        left = Signal(range(self.credits + 1), init=self.credits)
        granted, granted_next = Signal(), Signal()
        back = Signal()
        taken = self.issue & self.first
        m.d.sync += [
            back.eq(self.credit),
            left.eq(left - taken + back),
            granted.eq(granted_next),
        ]
        m.d.comb += granted_next.eq(back | (left > 1) | ((left == 1) & ~taken))
        return granted, granted_next
