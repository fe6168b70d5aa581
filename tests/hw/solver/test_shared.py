"""The solver of shared stages keeps within a budget, takes the faster of two, and says where there is none."""

import numpy as np
import pytest

from popstream.hw.cost.network import ECP5_PRICES, KEPT, Cost, network_cost
from popstream.hw.folding.fold import Share
from popstream.hw.folding.folding import Folding, interval
from popstream.hw.folding.outline import plan_of
from popstream.hw.solver import shared
from popstream.hw.solver.candidates import over
from popstream.hw.solver.grouping import Grouping, undominated
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
    assert tuple(name for share in folding.check(NETWORK).shared for name in share.layers) == body(NETWORK)
    assert over(need(folding), budget) == {}
    assert cycles == max(interval(NETWORK, folding).values())


def test_more_room_is_faster():
    assert fastest_shared(NETWORK, need, LARGE)[0] < fastest_shared(NETWORK, need, SMALL)[0]


def test_where_a_unit_has_a_limit_more_stages_are_faster(monkeypatch):
    """Each of them of no more lanes; all convs, in order."""
    monkeypatch.setattr(shared, "MOST_LANES", 96)
    found = {}
    for most in (1, 2, 4):
        found[most], folding = fastest_shared(NETWORK, need, dict(LARGE, ebr=100), most=most)
        shares = folding.check(NETWORK).shared
        assert 1 <= len(shares) <= most
        assert tuple(name for share in shares for name in share.layers) == body(NETWORK)
        assert max(share.lanes(3) for share in shares) <= 96
        assert found[most] == max(interval(NETWORK, folding).values())
        assert over(need(folding), dict(LARGE, ebr=100)) == {}
    assert found[4] < found[2] < 0.6 * found[1]


def test_sizes_that_are_worse_in_all_are_left_out():
    rows = np.array([[3, 3], [1, 4], [3, 4], [1, 4], [4, 1], [0, 9]])
    assert undominated(rows) == [0, 1, 4, 5]


def test_a_grouping_keeps_its_pace():
    plans = [plan_of(NETWORK, Share(body(NETWORK), 8, pe, 2, beat=2)) for pe in (2, 4, 8)]
    grouping = Grouping(NETWORK, plans, ECP5_PRICES)
    least = min(plan.least for plan in plans)
    assert grouping.at_pace(least // 8, 2) is None
    two = grouping.at_pace(least - 1, 2)
    assert tuple(name for share in two for name in share.layers) == body(NETWORK)
    assert len(two) == 2
    assert all(plan_of(NETWORK, share).least < least for share in two)
    assert len(grouping.at_pace(2 * max(plan.least for plan in plans), 2)) == 1


def test_there_may_be_none():
    assert fastest_shared(NETWORK, need, dict(SMALL, dsp=0)) is None
    padded = random_network(0, padding=2, strides=(1, 1))
    assert fastest_shared(padded, need, LARGE) is None
