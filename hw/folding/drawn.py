"""Seeded random foldings, of every legal kind: for tests and for soaking."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from popstream.hw.folding.fold import MOST_LEVELS, FoldingError, Share, divisors
from popstream.hw.folding.folding import Fold, Folding, cycles, folded, geometry, pixels, products
from popstream.hw.folding.outline import plan_of
from popstream.model.manifest import Network

__all__ = ["GROUPINGS", "random_folding", "shared_folding"]

GROUPINGS = ("each", "all", "mixed")
"""Every conv in a shared stage of its own; all in one; some alone, the others in stages of several, as it comes."""

SIZES = {"slice": (1, 2, 3, 4, 8), "pe": (1, 2, 4, 6, 8), "pixels": (1, 2, 4, 8), "planes": (1, 2, 3, 4)}
MOST_LANES, MOST_CHOICES = 512, 256  # thresholds of a beat: what is larger takes long to simulate
TRIES = 200


def random_folding(network: Network, seed: int, most: int = 1200) -> Folding:
    """Any legal folding that takes at most about `most` cycles an image on each layer."""
    rng = random.Random(seed)
    entries = {}
    for node in folded(network):
        choices = [
            Fold(simd, pe, arithmetic, planes=planes)
            for simd in divisors(products(node))
            for pe in divisors(node.shape[0])
            for arithmetic in ("lanes", "lanes", "mac")
            for planes in (divisors(node["act_bits"]) if arithmetic == "lanes" else (1,))
        ]
        cheap = [fold for fold in choices if pixels(node) * cycles(node, fold) <= most] or choices[-1:]
        fold = rng.choice(cheap)
        group_cycles = cycles(node, fold) * fold.pe // node.shape[0]
        buffer = rng.choice((0, 0, 1, geometry(network, node).width)) if node.op == "conv" else 0
        out = rng.choice([out for out in divisors(fold.pe) if fold.pe // out <= group_cycles])
        storage = rng.choice(("auto", "registered", "logic", "block"))
        feed = rng.choice([None, *divisors(node.tensors["weight"].shape[1])]) if node.op == "conv" else None
        entries[node.name] = replace(
            fold,
            prefetch=rng.random() < 0.6,
            buffer=buffer,
            out=out,
            storage=storage,
            feed=feed,
            levels=rng.randint(1, MOST_LEVELS),
        )
    return Folding(entries)


def shared_folding(network: Network, seed: int, grouping: str, most: int = 1200) -> Folding:
    """A random folding with shared stages of random sizes, grouped as GROUPINGS say; what cannot share is alone."""
    rng = random.Random(seed)
    names = [node.name for node in network.nodes if node.op == "conv"]
    if grouping == "all":
        runs = [names]
    else:
        cuts = [0, *(at for at in range(1, len(names)) if grouping == "each" or rng.random() < 0.4), len(names)]
        runs = [names[low:high] for low, high in pairwise(cuts)]
        if grouping == "mixed":
            runs = [run for run in runs if rng.random() < 0.75] or runs[:1]
    shares = tuple(share for run in runs if (share := random_share(network, run, rng)))
    inside = {name for share in shares for name in share.layers}
    alone = random_folding(network, rng.getrandbits(31), most)
    return Folding({name: fold for name, fold in alone.items() if name not in inside}, shares).check(network)


def random_share(network: Network, names: Sequence[str], rng: random.Random) -> Share | None:
    """A stage of these layers, of any size that it may have; None for layers that cannot share one."""
    for _ in range(TRIES):
        size = {key: rng.choice(choices) for key, choices in SIZES.items()}
        beat = rng.choice([beat for beat in divisors(size["pe"]) if size["slice"] % beat == 0])
        share = Share(tuple(names), **size, beat=beat, apart=rng.random() < 0.3, levels=rng.randint(1, MOST_LEVELS))
        try:
            plan = plan_of(network, share)
        except FoldingError:
            continue
        if share.lanes(plan.kernel) <= MOST_LANES and share.pixels * share.beat << plan.made_bits <= MOST_CHOICES:
            return share
    return None
