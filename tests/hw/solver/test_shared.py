"""The solver of shared stages keeps within a budget, takes the faster of two, and says where there is none."""

import pytest

from popstream.hw.cost.network import KEPT, Cost, network_cost
from popstream.hw.folding.fold import Share
from popstream.hw.folding.folding import Folding, interval
from popstream.hw.solver.candidates import over
from popstream.hw.solver.shared import body, fastest_shared
from popstream.hw.solver.solve import solve
from popstream.sim.golden.drawn import random_network

NETWORK = random_network(0, height=8, width=8, channels=(8, 16))
SMALL, LARGE = (dict(lut=lut, ff=lut, ebr=30, dsp=dsp) for lut, dsp in ((4000, 12), (9000, 40)))


def need(folding):
    cost = sum(network_cost(NETWORK, folding).values(), Cost())
    return {"lut": cost.lut, "ff": cost.ff, "ebr": cost.ebr, "dsp": cost.dsp}


def test_a_cost_does_not_depend_on_what_was_asked_before():
    """The same layers end elsewhere in a pipeline than ahead of a stage, and stages of one place differ in size."""
    pipeline, names = solve(NETWORK), body(NETWORK)
    rest = {name: fold for name, fold in pipeline.items() if name not in names}
    some = [pipeline, *(Folding(rest, (Share(names, 8, pe, 2, beat=beat),)) for pe, beat in ((8, 4), (4, 4), (8, 2)))]
    alone = []
    for folding in some:
        KEPT.__init__()
        alone.append(network_cost(NETWORK, folding))
    for order in (some, some[::-1]):
        KEPT.__init__()
        found = {id(folding): network_cost(NETWORK, folding) for folding in order}
        assert [found[id(folding)] for folding in some] == alone


@pytest.mark.parametrize("budget", [SMALL, LARGE])
def test_the_folding_is_within_the_budget_and_as_fast_as_told(budget):
    cycles, folding = fastest_shared(NETWORK, need, budget)
    assert folding.check(NETWORK).shared[0].layers == body(NETWORK)
    assert over(need(folding), budget) == {}
    assert cycles == max(interval(NETWORK, folding).values())


def test_more_room_is_faster():
    assert fastest_shared(NETWORK, need, LARGE)[0] < fastest_shared(NETWORK, need, SMALL)[0]


def test_there_may_be_none():
    assert fastest_shared(NETWORK, need, dict(SMALL, dsp=0)) is None
    padded = random_network(0, padding=2, strides=(1, 1))
    assert fastest_shared(padded, need, LARGE) is None
