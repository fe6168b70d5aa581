# amaranth: UnusedElaboratable=no
"""The state machine: initial state, holding, moving, and reset."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from popstream.boards.link.onehot import OneHot


def test_it_starts_in_the_first_state_holds_and_moves():
    m, go, reset = Module(), Signal(), Signal()
    states = OneHot(m, ("A", "B", "C"))
    shown = Signal(3)
    for place, (name, following) in enumerate((("A", "B"), ("B", "C"), ("C", "C"))):
        with states.when(name):
            m.d.comb += shown[place].eq(1)
            with m.If(go):
                states.go("A" if name == "C" else following)
            with m.Elif(reset):
                states.go("A")
    seen = []

    async def bench(ctx):
        for move, back in ((0, 0), (1, 0), (0, 0), (1, 0), (0, 0), (1, 0), (1, 0), (0, 1), (0, 0)):
            ctx.set(go, move)
            ctx.set(reset, back)
            seen.append(ctx.get(shown))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [1, 1, 2, 2, 4, 4, 1, 2, 1]


@pytest.mark.parametrize("names", [(), ("A",), ("A", "B", "A")])
def test_states_must_have_names_of_their_own(names):
    with pytest.raises(ValueError, match="two or more, each once"):
        OneHot(Module(), names)
