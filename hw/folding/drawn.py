"""Seeded random foldings, of every legal kind: for tests and for soaking."""

import random
from dataclasses import replace

from popstream.hw.folding.fold import MOST_LEVELS, divisors
from popstream.hw.folding.folding import Fold, Folding, cycles, folded, geometry, pixels, products
from popstream.model.manifest import Network

__all__ = ["random_folding"]


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
        storage = rng.choice(("auto", "auto", "logic", "block"))
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
