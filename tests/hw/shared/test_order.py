# amaranth: UnusedElaboratable=no
"""A schedule that is off by one is caught before there is hardware of it."""

import pytest

from popstream.hw.shared.constants import Constants
from popstream.hw.shared.issue import Issue
from popstream.hw.shared.order import OrderError, check_order
from popstream.hw.shared.retire import Retire
from popstream.hw.shared.squares import Squares
from popstream.sim.golden.drawn import random_network
from tests.hw.shared.stage_bench import plan, share

NUMBERS = {
    "issue": ["slices", "begin", "pitch", "step", "stride", "pad", "low", "edge", "kernel", "aside"],
    "retire": [
        "rows",
        "columns",
        "beats",
        "real",
        "behind",
        "read",
        "own",
        "row_skip",
        "again",
        "lower",
        "at",
        "code",
        "slices",
    ],
    "squares": ["rows", "columns", "slices", "size", "margin", "from", "pitch", "to", "to_pitch"],
}
NETWORKS = {
    "means": dict(height=8, width=8, channels=(8, 16), blocks=2),
    "projections": dict(height=8, width=8, channels=(8, 16), shortcut="B"),
    "max-pooling, unpadded": dict(
        height=12, width=14, channels=(8, 8), strides=(1, 1), convs_per_block=1, maxpool=2, padding=0
    ),
}


@pytest.fixture(scope="module")
def walkers():
    """Of each network the plan of a stage, and its walkers' tables."""
    result = []
    for name, given in NETWORKS.items():
        network = random_network(0, **given)
        size = plan(network, share(network, 4, 8, 2, 2, 2, apart=name == "projections"))
        constants = Constants(size)
        tables = {"issue": Issue(size, constants), "retire": Retire(size, constants)}
        if any(layer.pools for layer in size.layers):
            tables["squares"] = Squares(size)
        rows = {name: [dict(row) for row in walker.program.rows] for name, walker in tables.items()}
        result.append((size, {"squares": [], **rows}))
    return result


def test_the_order_is_right(walkers):
    for size, rows in walkers:
        check_order(size, **rows)


@pytest.mark.parametrize(("walker", "number"), [(name, number) for name, some in NUMBERS.items() for number in some])
def test_a_number_off_by_one_is_caught_in_some_layer(walker, number, walkers):
    caught = 0
    for size, rows in walkers:
        for layer in range(len(rows[walker])):
            for by in (-1, 1):
                changed = {name: [dict(row) for row in some] for name, some in rows.items()}
                changed[walker][layer][number] += by
                try:
                    check_order(size, **changed)
                except OrderError:
                    caught += 1
    assert caught


def test_a_row_opened_too_early_is_caught(walkers):
    size, rows = walkers[0]
    early = list(size.open_rows)
    layer = next(index for index, some in enumerate(early) if some < size.source_shape[1])
    early[layer] = size.source_shape[1]
    size.__dict__["open_rows"] = early
    try:
        with pytest.raises(OrderError):
            check_order(size, **rows)
    finally:
        del size.__dict__["open_rows"]
