# amaranth: UnusedElaboratable=no
"""Storage "reload": one design for every network of a shape, whose memories alone differ, and golden's values."""

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import signed, unsigned

from popstream.hw.accelerator import Accelerator
from popstream.hw.blocks.requant import Requant
from popstream.hw.folding.room import Reload
from popstream.hw.lib.table import Table, guarded
from popstream.hw.solver.solve import solve
from popstream.hw.unit.matvec import MatVec
from popstream.hw.unit.weights import WeightMemory
from popstream.sim.golden.drawn_post import random_post
from tests.hw.accelerator_bench import compare, simulate, skeleton
from tests.networks import random_images, random_network

SIZES = dict(height=4, width=4, channels=(2, 4), classes=3, first_bits=(2, 4), last_bits=(2, 4), in_channels=1)
KINDS = {
    "plain": {}, "projection": {"shortcut": "B"}, "signed": {"weights": "signed", "end_weights": "signed",
    "weight_bits": 2}, "post": {"ties": "even", "table_rows": 1, "own_rows": True, "pad_code": 1, "height": 3,
    "channels": (2,), "strides": (1,)},
}  # fmt: skip


def shifts(*networks):
    """One more than the largest of each."""
    return Reload(
        {
            node.name: 1 + max(network.node(node.name)["shift"] for network in networks)
            for node in networks[0].nodes
            if node.op == "requant"
        }
    )


@pytest.fixture(scope="module", params=KINDS)
def pair(request):
    """Two networks of one shape, their folding and shifts."""
    make = random_post if request.param == "post" else random_network
    networks = [make(seed, **SIZES | KINDS[request.param]) for seed in (1, 2)]
    pool = [network.node("pool")["shift"] for network in networks]
    assert pool[0] == pool[1]
    return networks, solve(networks[0], 400), shifts(*networks)


def test_both_are_golden(pair):
    networks, folding, reload = pair
    for network in networks:
        images = random_images(network.input, 5, 3)
        accelerator = Accelerator(network, folding, taps=True, reload=reload)
        compare(network, images, simulate(accelerator, images, 1, 0.3, 0.3))


def test_only_memories_differ(pair):
    (first, second), folding, reload = pair
    assert skeleton(first, folding, reload) == skeleton(second, folding, reload)
    assert skeleton(first, folding, None) != skeleton(second, folding, None)


def test_a_table_of_one_entry_is_a_memory():
    table = Table([5], "reload", signed(4))
    assert not table.constant
    assert "rom_style" in rtlil.convert(table, name="top", emit_src=False)
    assert "rom_style" not in rtlil.convert(Table([5, 5], "block"), name="top", emit_src=False)
    assert guarded([1, 2], 3) == [1, 2, 0, 7]


def test_entries_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"Entries must be -8 \.\. 7 to fit signed\(4\), not 3 \.\. 8"):
        Table([8, 3], "reload", signed(4))


def test_a_single_word_of_weights_is_a_memory():
    assert WeightMemory.style_of(1, "reload") == "block"
    assert WeightMemory(np.ones((1, 3)), "reload", 2).init == [7, 0, 7]
    assert WeightMemory.style_of(1, "block") == "constant"


@pytest.mark.parametrize("arithmetic", ["lanes", "mac"])
def test_accumulators_hold_any_weights(arithmetic):
    """6 products of 3-bit codes and 2-bit weights: 6 * 7 * 3."""
    for weights in (np.zeros((2, 6), int), np.full((2, 6), 3), np.eye(2, 6, dtype=int)):
        unit = MatVec(weights, 2, 3, 3, 1, arithmetic, "reload")
        assert unit.acc_shape == (unsigned(7) if arithmetic == "lanes" else signed(8))


def test_a_bias_beyond_all_saturates_like_the_largest():
    requant = Requant([3, -3], [1 << 60, -(1 << 60)], 8, 12, False, unsigned(4), 1, False, "reload")
    _, biases = requant.constants(0)
    _, shape = requant.reload_shapes()
    assert shape.width < 30
    for bias, expected in zip(biases, (2047, -2048), strict=True):
        for acc in (0, 15):
            for skip in (-2048, 2047):
                for multiplier in (3, -3, -(1 << 17)):
                    y = (acc * multiplier + bias) >> 8
                    assert max(-2048, min(2047, skip + y)) == expected
