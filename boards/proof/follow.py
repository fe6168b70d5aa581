"""Bounded proofs of blocks that compute: one lane of one output beat, any one, is compared with its formula.

Which beat and lane is followed is free, and so are all inputs; so each beat is what the formula makes of the inputs
that it names, in order, once. What it needs must have come before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Mux, Shape, ShapeLike, Signal, Value

from popstream.boards.proof.contract import Bench

__all__ = ["Follow", "free", "largest", "walk"]


def walk(bench: Bench, port: Any, sizes: Sequence[int], name: str) -> list[Value]:
    """The place of a stream's present beat: a number for each of `sizes`, the last the fastest; it stays at the end."""
    m, step, places = bench.m, bench.moves(port), []
    for axis, size in reversed(list(enumerate(sizes))):
        if size == 1:
            places.append(Const(0, 1))
            continue
        at, end = Signal(range(size + (axis == 0)), name=f"{name}_{axis}"), Signal(name=f"{name}_{axis}_end")
        m.d.comb += end.eq(step & (at == size - 1))
        with m.If(step & (at < size)):
            m.d.sync += at.eq(Mux(end & (axis > 0), 0, at + 1))
        places.append(at)
        step = end
    return places[::-1]


class Follow:
    """Follows lane `lane` of the output beat at `place` of a bench's block.

    Parameters
    ----------
    sizes : of the outputs that can be followed: images, rows, columns, groups, or whatever counts them.
    inputs : the same of the inputs that come in that time.
    lanes : lanes of an output beat.

    Attributes
    ----------
    place, lane : free constants.
    at : the place of the input beat that is offered.
    sent : beats that have passed at the input.
    comes : a beat passes at the input.
    due : the followed beat is offered.
    """

    def __init__(
        self, bench: Bench, sizes: Sequence[int], inputs: Sequence[int], lanes: int = 1, i: str = "i", o: str = "o"
    ) -> None:
        self.bench = bench
        self.source, self.sink = bench.inputs[i], bench.outputs[o]
        self.place = [free(bench, size, f"place{axis}") for axis, size in enumerate(sizes)]
        self.lane = free(bench, lanes, "lane")
        self.sent, self.comes = bench.count(self.source, i), bench.moves(self.source)
        self.at = walk(bench, self.source, inputs, "at")
        leaving = walk(bench, self.sink, sizes, "leaving")
        here = [place == mine for place, mine in zip(leaving, self.place, strict=True)]
        last = [place == size - 1 for place, size in zip(leaving, sizes, strict=True)]
        self.due = self.sink.valid & Cat(here).all()
        bench.reach(self.due & Cat(last).all(), "the last beat that is looked at comes out", bench.depth)

    def item(self, shape: ShapeLike) -> Value:
        """The followed lane of the beat that is offered at `i`."""
        return self._part(self.source.payload, self.lane, Shape.cast(shape))

    def _part(self, payload: Value, lane: Value, shape: Shape) -> Value:
        part = Value.cast(payload).word_select(lane, shape.width)
        return part.as_signed() if shape.signed else part

    def keep(self, when: Value, value: Value, name: str) -> Signal:
        """`value` as it was when it last was so."""
        kept = Signal(value.shape(), name=name)
        with self.bench.m.If(when):
            self.bench.m.d.sync += kept.eq(value)
        return kept

    def gather(self, when: Value, value: Value, join: Callable[[Value, Value], Value], start: int, shape: ShapeLike,
               name: str) -> Signal:  # fmt: skip
        """`value` joined to what was gathered before, from `start`, each time that it is so."""
        total = Signal(shape, init=start, name=name)
        with self.bench.m.If(when):
            self.bench.m.d.sync += total.eq(join(total, value))
        return total

    def expect(self, value: Value, shape: ShapeLike, needs: Value | None = None) -> None:
        """The followed lane is `value`, and beat `needs` of `i` has come when it is offered."""
        shape = Shape.cast(shape)
        found = self._part(self.sink.payload, self.lane, shape)
        self.bench.check(~self.due | (found == value), "each beat is what the formula gives, in order, once")
        if needs is not None:
            self.bench.check(~self.due | (self.sent > needs), "no beat comes before what it needs")


def free(bench: Bench, size: int, name: str) -> Value:
    """A free constant below `size`."""
    return bench.constant(range(size), name) if size > 1 else Const(0, 1)


def largest(first: Value, second: Value) -> Value:
    return Mux(first > second, first, second)
