"""A shared stage gives golden's stream: bits, kernels, strides, sizes, shortcuts, with pauses on both sides."""

import pytest

from popstream.hw.accelerator import Accelerator
from popstream.hw.folding.folding import Folding, interval
from popstream.hw.folding.stage_interval import stage_interval
from popstream.hw.lib.memory import block_rams
from popstream.hw.shared.constants import Constants
from popstream.hw.solver.solve import solve
from popstream.sim import golden
from popstream.sim.golden.drawn import random_images, random_network
from tests.hw.accelerator_bench import simulate
from tests.hw.beats import STALLS
from tests.hw.shared.stage_bench import body, mismatches, plan, share

SMALL = dict(height=4, width=4, channels=(4, 8))
# (network, slice, pe, pixels, planes, beat, apart): every size of a group of pixels against rows of it and a rest.
CASES = {
    "one lane": (dict(SMALL, act_bits=1, strides=(1, 1), shortcut="A"), (1, 1, 1, 1, 1)),
    "means of 2 x 2": (SMALL, (4, 4, 2, 2, 2)),
    "two steps, rows with a rest": (dict(SMALL, weight_bits=2, width=6), (4, 2, 4, 2, 2)),
    "planes one by one": (dict(SMALL, act_bits=2, weight_bits=2, strides=(2, 1)), (2, 4, 2, 1, 2)),
    "more lanes than channels": (SMALL, (8, 16, 4, 2, 2)),
    "kernel of 5": (dict(SMALL, kernel=5, width=6), (4, 4, 2, 2, 1)),
    "kernel of 1": (dict(SMALL, kernel=1, strides=(1, 1)), (4, 4, 4, 1, 2)),
    "every second pixel": (dict(SMALL, height=5, width=5, shortcut="A"), (4, 4, 2, 2, 2)),
    "odd sizes": (dict(SMALL, height=5, width=7, strides=(1, 1), shortcut="A"), (4, 8, 4, 2, 2)),
    "no skip, 4-bit codes": (dict(SMALL, act_bits=4, shortcut="identity"), (4, 4, 2, 2, 2)),
    "sums go to thresholds": (dict(SMALL, convs_per_block=2, convs_per_shortcut=2), (4, 4, 2, 2, 2)),
    "12 channels in slices of 8": (dict(SMALL, channels=(12, 12), strides=(1, 2)), (8, 8, 2, 2, 4)),
    "8-bit streams, relu": (dict(SMALL, stream_bits=8, relu=True), (4, 8, 2, 1, 2)),
    "the input's place alone": (dict(SMALL, blocks=2), (4, 4, 2, 2, 2, True)),
    "RPReLU, projections": (dict(SMALL, shortcut="B", prelu=True), (4, 4, 2, 2, 2)),
    "RPReLU, a shortcut that is copied": (
        dict(SMALL, convs_per_shortcut=2, prelu=True, shortcut="A"), (4, 8, 2, 2, 2)
    ),
    "max-pooling, no padding": (
        dict(SMALL, height=12, width=13, strides=(1, 1), convs_per_block=1, maxpool=2, padding=0), (4, 4, 2, 2, 4)
    ),
    "squares of 3": (dict(SMALL, height=6, width=6, strides=(1, 1), maxpool=3, shortcut="B"), (2, 4, 4, 2, 2)),
    "signed weights of 1 and 3 bits": (dict(SMALL, weights="signed", weight_bits=(1, 3)), (4, 4, 2, 1, 2)),
    "bits and kernels by layer": (
        dict(SMALL, weight_bits=(1, 2), act_bits=(3, 1, 2), kernel=(3, 1, 5), shortcut="A"), (4, 4, 2, 2, 1)
    ),
}  # fmt: skip
# Of a network, with the first of its convs and how many: what comes in and leaves is no stream.
ENDS = {
    "pixels, odd beside signed weights": (
        dict(SMALL, first_bits=(3, 4), weights="signed", strides=(1, 1)), (4, 4, 4, 2, 2), slice(0, 3)
    ),
    "sums of 19 bits": (dict(SMALL, first_bits=(6, 8), channels=(4,), strides=(1,)), (4, 4, 4, 8, 2), slice(0, 2)),
    "codes in, sums out": (
        dict(SMALL, convs_per_block=3, convs_per_shortcut=3, strides=(1,), channels=(4,)), (4, 4, 2, 2, 2), slice(2, 4)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_stage_gives_goldens_stream(name):
    given, size = CASES[name]
    seed = list(CASES).index(name)
    network = random_network(seed, **given)
    wrong, _ = mismatches(network, share(network, *size), STALLS[seed % len(STALLS)], seed)
    assert wrong == 0


def test_words_of_constants_share_a_word_of_the_memory_where_that_saves_block_rams():
    """336 words of weights and 288 of constants are more than a block RAM has; two of these lie in one."""
    network = random_network(1, **dict(SMALL, channels=(16, 32), blocks=3, strides=(1, 1)))
    size = share(network, 8, 8, 2, 2, 1)
    constants = Constants(plan(network, size))
    words, width = constants.memory.shape
    assert (constants.shares, words) == (2, 336 + 288 // 2)
    assert block_rams(words, width) < block_rams(336 + 288, width)
    wrong, _ = mismatches(network, size, STALLS[1], 0)
    assert wrong == 0


@pytest.mark.parametrize("name", ENDS)
def test_codes_come_in_and_sums_leave(name):
    given, size, some = ENDS[name]
    network = random_network(1, **given)
    names = tuple(node.name for node in network.nodes if node.op == "conv")[some]
    wrong, _ = mismatches(network, share(network, *size, names=names), (0.4, 0.4), 1)
    assert wrong == 0


def test_an_image_takes_the_cycles_that_are_planned():
    network = random_network(0, **dict(SMALL, height=8, width=8))
    size = share(network, 4, 4, 2, 2, 2)
    wrong, ends = mismatches(network, size, (0.0, 0.0))
    assert wrong == 0
    assert ends[1] - ends[0] == pytest.approx(stage_interval(plan(network, size), 1), rel=0.1)


def test_banks_of_its_own_let_the_input_in_while_results_are_written_in_every_cycle():
    """Of a group 8 values take 4 cycles to leave and 3 to compute."""
    network = random_network(0, **dict(SMALL, height=12, width=12, channels=(4,), strides=(1,), blocks=2))
    taken = []
    for apart in (False, True):
        size = share(network, 4, 4, 2, 2, 1, apart)
        wrong, ends = mismatches(network, size, (0.0, 0.0))
        assert wrong == 0
        taken.append(ends[1] - ends[0])
        assert taken[-1] == pytest.approx(stage_interval(plan(network, size), 4), rel=0.03)
    assert taken[0] - taken[1] > 0.8 * 12 * 12 * 4  # the cycles in which the input comes


@pytest.mark.parametrize("stalls", STALLS[:2])
def test_an_accelerator_with_a_shared_stage_gives_goldens_logits(stalls):
    network = random_network(3, **SMALL)
    alone = {name: fold for name, fold in solve(network, 2000).items() if name not in body(network)}
    folding = Folding(alone, (share(network, 4, 4, 2, 2, 2),))
    accelerator = Accelerator(network, folding, taps=True, counters=True)
    images = random_images(network.input, 1, 3)
    logits, values = golden.run(network, images, taps=[tap.node for tap in accelerator.taps])
    result = simulate(accelerator, images, 5, *stalls)
    assert (result.logits == logits).all()
    for node, tap in result.taps.items():
        assert (tap == values[node]).all(), node
    assert "group1.conv1.requant" in interval(network, folding)
    assert "group1.conv0.requant" not in interval(network, folding)
