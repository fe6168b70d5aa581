"""How a unit's sums leave: a group of channels at once, in beats of some of them, through a FIFO of credits."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring

from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.stream import value_layout

__all__ = ["leave"]


def leave(
    m: Module, totals: list[Value], done: Value, credit: Signal, o: wiring.PureInterface, shape: Shape, lanes: int,
    depth: int,
) -> None:  # fmt: skip
    """Hands `totals` of `shape`, complete with `done`, to the stream `o` of a component in beats of `lanes`, through a
    FIFO of `depth` beats; gives the `credit` back when the last one is taken.
    """
    m.submodules.fifo = fifo = StreamFifo(value_layout(shape, lanes), depth)
    wiring.connect(m, fifo.o, wiring.flipped(o))
    taken, beats = o.valid & o.ready, len(totals) // lanes
    if beats == 1:
        m.d.comb += [fifo.i.payload[lane].eq(total) for lane, total in enumerate(totals)]
        m.d.comb += [fifo.i.valid.eq(done), credit.eq(taken)]
        return
    held = [Signal(shape, name=f"held{pe}") for pe in range(len(totals))]
    left = Signal(beats)  # a bit for each beat that is still held
    for register, total, behind in zip(held, totals, held[lanes:] + totals[:lanes], strict=True):
        m.d.sync += register.eq(Mux(done, total, behind))
    m.d.sync += left.eq(Mux(done, (1 << beats) - 1, left >> 1))
    m.d.comb += [Value.cast(fifo.i.payload).eq(Cat(held[:lanes])), fifo.i.valid.eq(left[0])]
    beat = Signal(range(beats))
    last = beat == beats - 1
    with m.If(taken):
        m.d.sync += beat.eq(next_of(beat, beats))
    m.d.comb += credit.eq(taken & last)
