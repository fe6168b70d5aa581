# amaranth: UnusedElaboratable=no
"""A schedule that is off by one is caught before there is hardware of it."""

import pytest

from popstream.hw.shared.constants import Constants
from popstream.hw.shared.issue import Issue
from popstream.hw.shared.order import OrderError, check_order
from popstream.hw.shared.retire import Retire
from popstream.sim.golden.drawn import random_network
from tests.hw.shared.stage_bench import plan, share

NUMBERS = {
    "issue": ["slices", "begin", "pitch", "step", "stride", "edge"],
    "retire": ["rows", "columns", "beats", "real", "behind", "read", "row_skip", "lower", "at", "code", "slices"],
}


@pytest.fixture(scope="module")
def walkers():
    network = random_network(0, height=8, width=8, channels=(8, 16), blocks=2)
    size = plan(network, share(network, 4, 8, 2, 2, 2))
    constants = Constants(size)
    tables = {"issue": Issue(size, constants), "retire": Retire(size, constants)}
    return size, {name: [dict(row) for row in walker.program.rows] for name, walker in tables.items()}


def test_the_order_is_right(walkers):
    size, rows = walkers
    check_order(size, **rows)


@pytest.mark.parametrize(("walker", "number"), [(name, number) for name, some in NUMBERS.items() for number in some])
def test_a_number_off_by_one_is_caught_in_some_layer(walker, number, walkers):
    size, rows = walkers
    caught = 0
    for layer in range(len(size.walks) - 1):
        for by in (-1, 1):
            changed = {name: [dict(row) for row in some] for name, some in rows.items()}
            changed[walker][layer][number] += by
            try:
                check_order(size, **changed)
            except OrderError:
                caught += 1
    assert caught


def test_a_row_opened_too_early_is_caught(walkers):
    size, rows = walkers
    early = list(size.open_rows)
    layer = next(index for index, some in enumerate(early) if some < size.source_shape[1])
    early[layer] = size.source_shape[1]
    size.__dict__["open_rows"] = early
    try:
        with pytest.raises(OrderError):
            check_order(size, **rows)
    finally:
        del size.__dict__["open_rows"]
