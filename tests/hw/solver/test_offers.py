# amaranth: UnusedElaboratable=no
"""What the solver offers for a random sample of small networks computes what the golden model computes."""

import random

import pytest

from popstream.hw.accelerator import Accelerator
from popstream.hw.cost.network import ECP5_PRICES, ICE40_PRICES
from popstream.hw.folding.folding import FoldingError, interval
from popstream.hw.solver.solve import intervals, solve
from tests.hw.accelerator_bench import compare, simulate
from tests.networks import SHORTCUTS, random_images, random_network

NETWORKS = 30
LEAST, MOST = 60, 2_500  # cycles an image: what is simulated in a second or two


def sample(seed: int):
    """A small network and what it is to be folded for: target, prices, lean."""
    rng = random.Random(seed)
    shortcut = rng.choice(SHORTCUTS)
    even = 2 if shortcut == "avgpool" else 1
    network = random_network(
        seed,
        weight_bits=rng.choice((1, 1, 2, 3)),
        act_bits=rng.choice((1, 2, 2, 4)),
        kernel=rng.choice((3, 3, 1)),
        strides=(1,) if shortcut == "identity" else rng.choice(((1, 2), (2, 1), (1, 1))),
        height=even * rng.randint(2, 3),
        width=even * rng.randint(2, 3),
        channels=(4,) if shortcut == "identity" else rng.choice(((4, 8), (3, 6), (2, 6))),
        shortcut=shortcut,
        convs_per_shortcut=rng.choice((1, 2)),
        blocks=1,
        convs_per_block=2,
        first_bits=rng.choice(((2, 2), (4, 4), (8, 8))),
        last_bits=rng.choice(((2, 2), (8, 8))),
    )
    targets = [target for target in intervals(network) if LEAST <= target <= MOST]
    return network, rng.choice(targets), *rng.choice(((ECP5_PRICES, False), (ECP5_PRICES, False), (ICE40_PRICES, True)))


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_folding_offered_is_exact(seed):
    network, target, prices, lean = sample(seed)
    while True:  # a target out of reach is refused; the next one is asked for
        try:
            folding = solve(network, target, prices, lean)
            break
        except FoldingError:
            target *= 2
    assert max(interval(network, folding).values()) <= target
    images = random_images(network.input, seed, 2)
    compare(network, images, simulate(Accelerator(network, folding, taps=True), images, seed))


def test_the_sample_reaches_every_choice():
    """Planes at once, narrow outputs, both kinds of memory and arithmetic, lean and not: all are offered somewhere."""
    seen = set()
    for seed in range(NETWORKS):
        network, target, prices, lean = sample(seed)
        try:
            folding = solve(network, target, prices, lean)
        except FoldingError:
            continue
        for fold in folding.values():
            seen |= {
                ("planes", fold.planes > 1), ("narrow", fold.beat < fold.pe), fold.arithmetic, fold.storage,
                ("lean", not fold.prefetch),
            }  # fmt: skip
    assert seen == {
        ("planes", False), ("planes", True), ("narrow", False), ("narrow", True), "lanes", "mac",
        "logic", "registered", "block", ("lean", False), ("lean", True),
    }  # fmt: skip
