"""Filling a device: budgets are kept, resources take each other's place, bisection finds the least target."""

from dataclasses import replace

import pytest

from hw.cost import ECP5_PRICES, Cost, network_cost
from hw.fill import fastest, over, within
from hw.folding import interval
from hw.solve import intervals
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


@pytest.mark.parametrize("least", [1, 2, 7, 12, 13])
def test_bisection_finds_the_least_target(least):
    asked = []

    def fitting(target):
        asked.append(target)
        return f"folding {target}" if target >= 10 * least else None

    found = fastest([10 * step for step in range(1, 13)], fitting)
    assert found == (None if least == 13 else (10 * least, f"folding {10 * least}"))
    assert len(asked) <= 4


def test_intervals_are_those_that_layers_can_take():
    found = intervals(NETWORK)
    assert found == sorted(set(found))
    assert found[0] == 8  # the linear layer, fully parallel but for its eight weight planes
    assert max(found) == max(8 * 8 * 8 * 27 * 64, 8 * 8 * 8 * 72 * 2)  # the stem at W8A8 on one lane
