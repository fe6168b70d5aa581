"""Nothing is lost, doubled or reordered: any one item is followed through a block by counting those ahead of it.

An item is a part of a beat: `per_in` of them come with a beat, `per_out` of them leave with one. Which one is followed
is free, and so are all items, so that what holds of this one holds of each: it leaves at its turn and is what it was.
A lost or doubled item would put all later ones at the wrong turn; one of them is followed in some run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Const, Mux, Signal, Value

from popstream.boards.proof.contract import Bench

__all__ = ["Order"]

Image = Callable[[Value, int], Value]
"""What a block makes of an item of the lane given."""


class Order:
    """Follows an item from stream `i` to stream `o` of a bench's block.

    Parameters
    ----------
    capacity : most items in the block.
    per_in, per_out : items a beat.
    passes : whether a beat can leave in the cycle in which it comes.
    within : if given, cycles after which the next beat is at `o` once its items have come and the one before has left.
    image : what comes out for an item; by default itself.

    Attributes
    ----------
    level : items in the block.
    tracked, ahead, value : whether the followed item is in the block, how many are to leave before it, what is to come.
    """

    def __init__(
        self,
        bench: Bench,
        capacity: int,
        per_in: int = 1,
        per_out: int = 1,
        passes: bool = False,
        within: int | None = None,
        image: Image | None = None,
        i: str = "i",
        o: str = "o",
    ) -> None:
        m, source, sink = bench.m, bench.inputs[i], bench.outputs[o]
        offered, leaving = Value.cast(source.payload), Value.cast(sink.payload)
        comes, leaves = bench.moves(source), bench.moves(sink)
        size, width = len(offered) // per_in, len(leaving) // per_out
        self.level = level = Signal(range(capacity + per_in + 1), name="level")
        m.d.sync += level.eq(level + Mux(comes, per_in, 0) - Mux(leaves, per_out, 0))

        picks = bench.input(1, "picks")
        lane = bench.input(range(per_in), "lane") if per_in > 1 else Const(0, 1)
        bench.assume(lane < per_in)
        self.tracked = tracked = Signal(name="tracked")
        self.ahead = ahead = Signal(range(capacity + per_in + 1), name="ahead")
        self.value = value = Signal(width, name="value")
        chosen, seen = Signal(width, name="chosen"), Signal(name="seen")
        with m.Switch(lane):
            for index in range(per_in):
                with m.Case(index):
                    item = offered[index * size : (index + 1) * size]
                    m.d.comb += chosen.eq(image(item, index) if image else item)
        enters = comes & picks & ~seen
        here, turn, due = Signal(name="here"), Signal.like(ahead, name="turn"), Signal(width, name="due")
        m.d.comb += [
            here.eq(tracked | (enters if passes else 0)),
            turn.eq(Mux(tracked, ahead, level + lane)),
            due.eq(Mux(tracked, value, chosen)),
        ]
        with m.If(enters):
            m.d.sync += [seen.eq(1), tracked.eq(1), value.eq(chosen), ahead.eq(level + lane)]
        with m.If(leaves & (here | enters)):
            m.d.sync += [tracked.eq((turn >= per_out) | ~here), ahead.eq(turn - per_out)]

        available = Signal(range(capacity + 2 * per_in + 1), name="available")
        m.d.comb += available.eq(level + Mux(source.valid, per_in, 0) if passes else level)
        bench.check(~sink.valid | (available >= per_out), "nothing comes out that has not gone in")
        bench.check(level <= capacity, f"no more than {capacity} in the block")
        for index in range(per_out):
            found = leaving[index * width : (index + 1) * width]
            wrong = here & sink.valid & (turn == index) & (found != due)
            bench.check(~wrong, "what comes out is what is due: in order, once, unchanged")
        bench.reach(leaves & here & (turn < per_out), "the followed item leaves")
        if within is not None:
            waited = Signal(range(within + 2), name="waited")
            m.d.sync += waited.eq(Mux((available >= per_out) & ~sink.valid & ~leaves, waited + (waited <= within), 0))
            bench.check(waited <= within, f"what is in the block is offered within {within} cycles")
        # For induction: what is followed is in the block.
        bench.check(~tracked | (ahead < level), "the followed item is one of those in the block")
        bench.check(~tracked | seen, "one item is followed")


def holds(bench: Bench, order: Order, places: list[tuple[Any, Any]]) -> None:
    """For induction: the block's items are those of `places`, (occupied, content) each, the next to leave first.

    A place may hold any number of items if `occupied` is that number and `content` gives the one at a given position.
    """
    m, before = bench.m, Value.cast(0)
    for number, (occupied, content) in enumerate(places):
        position = Signal(len(order.level) + 1, name=f"position{number}")
        m.d.comb += position.eq(order.ahead - before)
        inside = order.tracked & (order.ahead >= before) & (order.ahead < before + occupied)
        bench.check(~inside | (content(position) == order.value), f"place {number} holds what is due")
        before = before + occupied
    bench.check(order.level == before, "the items counted are those in the block's places")
