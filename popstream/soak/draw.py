"""What several kinds of cases are drawn from: small networks of every sort, and mutated bytes."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from popstream.model.manifest import Network
from popstream.model.manifest.node import TIES, WEIGHTS
from popstream.sim.golden.drawn import SHORTCUTS, random_network
from popstream.sim.golden.drawn_post import JOINS, random_mlp, random_post

__all__ = ["mutate", "pick", "tiny_network"]

T = TypeVar("T")
BITS = (1, 1, 2, 2, 3, 4, 5, 8)


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """One of several, whatever they are."""
    return choices[int(rng.integers(len(choices)))]


def tiny_network(rng: np.random.Generator, name: str = "random") -> Network:
    """A network on some pixels: of our own form, post-activation, or linear layers in a row; any bits and weights."""
    form = rng.random()
    return tiny_own(rng, name) if form < 0.6 else tiny_post(rng, name) if form < 0.9 else tiny_mlp(rng, name)


def tiny_post(rng: np.random.Generator, name: str) -> Network:
    """A post-activation network of one or two blocks."""
    blocks, act_bits = pick(rng, (1, 1, 1, 2)), pick(rng, BITS)
    in_channels = int(rng.integers(1, 4))
    return random_post(
        int(rng.integers(2**31)),
        weight_bits=pick(rng, BITS), act_bits=act_bits, kernel=pick(rng, (1, 3)),
        strides=tuple(pick(rng, (1, 1, 2)) for _ in range(blocks)),
        height=int(rng.integers(1, 5)), width=int(rng.integers(1, 5)), in_channels=in_channels,
        channels=tuple(int(rng.integers(1, 4)) for _ in range(blocks)),
        stream_bits=int(rng.integers(4, 17)), sum_bits=int(rng.integers(3, 17)),
        first_bits=(pick(rng, BITS), pick(rng, BITS)), last_bits=(pick(rng, BITS), pick(rng, BITS)),
        weights=pick(rng, WEIGHTS), join=pick(rng, JOINS), skip_first=rng.random() < 0.5, relu=rng.random() < 0.7,
        ties=pick(rng, TIES), pad_code=int(rng.integers(2**act_bits)), table_rows=pick(rng, (0, 0, 1, in_channels)),
        own_rows=rng.random() < 0.3, pool_codes=rng.random() < 0.6, classes=int(rng.integers(1, 5)), name=name,
    )  # fmt: skip


def tiny_mlp(rng: np.random.Generator, name: str) -> Network:
    """Up to three linear layers in a row."""
    features = int(rng.integers(1, 20))
    return random_mlp(
        int(rng.integers(2**31)), features=features,
        hidden=tuple(int(rng.integers(1, 6)) for _ in range(rng.integers(3))),
        weight_bits=pick(rng, BITS), act_bits=pick(rng, BITS), first_bits=(pick(rng, BITS), pick(rng, BITS)),
        weights=pick(rng, WEIGHTS), table_rows=pick(rng, (0, 0, 1, features)), classes=int(rng.integers(1, 5)),
        name=name,
    )  # fmt: skip


def tiny_own(rng: np.random.Generator, name: str) -> Network:
    """A network of one or two groups on some pixels, with any bits, weights, shortcuts and streams."""
    groups, convs = pick(rng, (1, 1, 1, 1, 1, 2)), pick(rng, (1, 1, 1, 2))
    shortcut, kernel = pick(rng, SHORTCUTS), 5 if rng.random() < 0.05 else pick(rng, (1, 3))
    strides = tuple(pick(rng, (1, 1, 2)) for _ in range(groups))
    channels = tuple(sorted(int(rng.integers(1, 4)) for _ in range(groups)))
    halved = 2 ** sum(stride == 2 for stride in strides)  # averages are of even sizes
    sizes = [int(rng.integers(1, 4)) * halved for _ in range(2)]
    return random_network(
        int(rng.integers(2**31)),
        weight_bits=some_of(rng, BITS), act_bits=some_of(rng, BITS),
        kernel=kernel, padding=pick(rng, (kernel // 2, kernel // 2, kernel // 2, kernel - 1)),
        strides=strides, height=sizes[0], width=sizes[1],
        in_channels=int(rng.integers(1, 3)), channels=channels,
        convs_per_block=convs, shortcut=shortcut, convs_per_shortcut=pick(rng, (1, convs)),
        stream_bits=int(rng.integers(4, 17)),
        first_bits=(pick(rng, BITS), pick(rng, BITS)), last_bits=(pick(rng, BITS), pick(rng, BITS)),
        relu=rng.random() < 0.3, prelu=rng.random() < 0.3,
        classes=int(rng.integers(1, 5)), name=name, weights=pick(rng, WEIGHTS), end_weights=pick(rng, WEIGHTS),
    )  # fmt: skip


def some_of(rng: np.random.Generator, choices: Sequence[T]) -> tuple[T, ...]:
    """One of several for all layers, or one for each of two in turn."""
    return tuple(pick(rng, choices) for _ in range(pick(rng, (1, 1, 2))))


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """Flipped bits, other bytes, pieces cut out, doubled, moved or put in, or a beginning alone; never the same."""
    changed = bytearray(data)
    for _ in range(pick(rng, (1, 1, 1, 2, 8))):
        way, at = rng.integers(8), int(rng.integers(len(changed) or 1))
        size = min(int(rng.integers(1, 9)) ** 2, len(changed))
        piece = changed[at : at + size]
        if way < 2 and changed:
            changed[at] ^= 1 << rng.integers(8)
        elif way == 2 and changed:
            changed[at] = rng.integers(256)
        elif way == 3:
            del changed[at : at + size]
        elif way == 4:
            changed[at:at] = piece
        elif way == 5:
            changed[at:at] = rng.bytes(size)
        elif way == 6:
            to = int(rng.integers(len(changed) or 1))
            changed[to : to + size] = piece
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed) if bytes(changed) != data else data[:-1]
