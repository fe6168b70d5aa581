"""Filling a device: budgets are kept, resources take each other's place, bisection finds the least target."""

from dataclasses import replace

import pytest

from popstream.hw.cost.network import ECP5_PRICES, Cost, network_cost
from popstream.hw.folding.folding import interval
from popstream.hw.solver.candidates import over
from popstream.hw.solver.solve import GRAIN, fastest, intervals, within
from tests.networks import random_network

NETWORK = random_network(5, height=8, width=8, channels=(8, 16), in_channels=3, weight_bits=1, act_bits=2)


def need(folding):
    cost = sum(network_cost(NETWORK, folding).values(), Cost())
    return {"lut": cost.lut, "ff": cost.ff, "ebr": cost.ebr, "dsp": cost.dsp}


def test_over_counts_what_is_missing():
    assert over({"lut": 10, "ebr": 3}, {"lut": 9, "ebr": 3}) == {"lut": 1}
    assert over({"lut": 10, "ebr": 3}, {"lut": 10}) == {}


@pytest.mark.parametrize("scarce", ["dsp", "ebr"])
def test_a_scarce_resource_is_replaced_by_others(scarce):
    plenty = dict.fromkeys(("lut", "ff", "ebr", "dsp"), 10**6)
    cheap = replace(ECP5_PRICES, **{scarce: 4.0})
    free = within(NETWORK, 600, need, plenty, cheap)
    used = need(free)[scarce]
    assert used > 0
    tight = within(NETWORK, 600, need, plenty | {scarce: used - 1}, cheap)
    assert tight is not None
    assert need(tight)[scarce] < used
    assert max(interval(NETWORK, tight).values()) <= 600


def test_what_cannot_be_is_none():
    assert within(NETWORK, 600, need, {"lut": 10}, ECP5_PRICES) is None
    assert within(NETWORK, 3, need, {}, ECP5_PRICES) is None


@pytest.mark.parametrize("least", [800, 900, 1000, 1001, 3333, 8999, 12_000, 12_001])
@pytest.mark.parametrize("slack", [0, 5, 150])
def test_bisection_finds_the_least_interval(least, slack):
    asked = []

    def fitting(target):  # a folding is told by the cycles that it takes
        asked.append(target)
        return max(least, target - slack) if target >= least else None

    found = fastest([1000 * step for step in range(1, 13)], fitting, lambda cycles: cycles)
    if least > 12_000:
        assert found is None
    else:
        assert found[0] == found[1]
        assert least <= found[0] <= max(1000, least * (1 + 2 / GRAIN))
        assert found[0] <= min(target for target in asked if target >= least)
    assert asked[0] == 12_000  # none is asked where the slowest does not fit
    assert len(asked) <= 1 + 4 + 7 if least <= 12_000 else asked == [12_000]


def test_intervals_are_those_that_layers_can_take():
    found = intervals(NETWORK)
    assert found == tuple(sorted(set(found)))
    assert found[0] == 8  # the linear layer, fully parallel but for its eight weight planes
    assert max(found) == max(8 * 8 * 8 * 27 * 64, 8 * 8 * 8 * 72 * 2)  # the stem at W8A8 on one lane
