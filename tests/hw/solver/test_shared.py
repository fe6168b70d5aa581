"""The solver of shared stages keeps within a budget, takes the faster of two, and says where there is none."""

import pytest

from popstream.hw.cost.network import Cost, network_cost
from popstream.hw.folding.folding import interval
from popstream.hw.solver.candidates import over
from popstream.hw.solver.shared import body, fastest_shared
from popstream.sim.golden.drawn import random_network

NETWORK = random_network(0, height=8, width=8, channels=(8, 16))
SMALL, LARGE = (dict(lut=lut, ff=lut, ebr=30, dsp=dsp) for lut, dsp in ((4000, 12), (9000, 40)))


def need(folding):
    cost = sum(network_cost(NETWORK, folding).values(), Cost())
    return {"lut": cost.lut, "ff": cost.ff, "ebr": cost.ebr, "dsp": cost.dsp}


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
