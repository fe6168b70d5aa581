"""What the solvers choose from: folds of a layer that are fast enough, with what each takes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product

import numpy as np

from popstream.hw.cost.prices import Cost, Prices
from popstream.hw.folding.fold import divisors
from popstream.hw.folding.folding import (
    ARITHMETICS,
    Fold,
    channels_out,
    cycles,
    geometry,
    pixels,
    products,
    stream_lanes,
    timing,
)
from popstream.model.manifest import Network, Node

__all__ = ["Costing", "candidates", "cheapest", "counted", "first_in_time", "over"]

Costing = tuple[Callable[[Network, Node, Fold, int], Cost], Callable[[Node, Fold], Sequence[str]]]
"""What a layer's fold takes behind so many lanes, and where its weights may lie (hw.cost.network)."""

MOST_FEED = 16  # channels a beat into a window: beyond that its line memory grows and hardly any time is won
SIMD_CHOICES = 3  # of the simd that are fast enough, so many of the smallest are looked at;
LEAN_CHOICES = 12  # more where lanes wait while a window is loaded, and must make up for it


def shapes(node: Node, target: int, most: int) -> Iterator[Fold]:
    """(arithmetic, planes, pe, simd) whose busy cycles alone fit into `target`: of each the `most` smallest simd."""
    for arithmetic, pe in product(ARITHMETICS, divisors(channels_out(node))):
        for planes in divisors(node["act_bits"]) if arithmetic == "lanes" else (1,):
            found = 0
            for simd in divisors(products(node)):
                fold = Fold(simd, pe, arithmetic, planes=planes)
                if pixels(node) * cycles(node, fold) <= target:
                    yield fold
                    found += 1
                if found == most:
                    break


def candidates(
    network: Network, node: Node, target: int, least_out: int, lean: bool, levels: int, memories: Callable
) -> list[Fold]:
    """Folds of `node` whose busy cycles alone fit into `target`, with each the fewest output lanes that keep up.

    A window has a FIFO of one row ahead: it bridges the rows without windows and the windows without rows, so that
    layers of equal rates do not wait for each other. The first layer has none, images are there when asked for; nor
    has any layer of a `lean` folding, for a device short of flip-flops and memories, and nothing is prefetched there.
    """
    first = node.op == "linear" or network.node(node.inputs[0]).op == "input"
    buffer = 0 if lean or first else geometry(network, node).width
    result = []
    for shape in shapes(node, target, LEAN_CHOICES if lean else SIMD_CHOICES):
        group_cycles = cycles(node, shape) * shape.pe // channels_out(node)
        for out in divisors(shape.pe):
            beats = pixels(node) * (channels_out(node) // out)
            if out >= least_out and shape.pe // out <= group_cycles and beats <= target:
                result += [
                    replace(shape, prefetch=not lean, buffer=buffer, out=out, storage=storage, levels=levels)
                    for storage in storages(memories(node, shape), lean)
                ]
                break
    return result


def storages(offered: Sequence[str], lean: bool) -> list[str]:
    """Of the memories offered those to choose from: words of a few bits have a register, without which their address
    lines lead to every lane, wherever carry chains have room for the gate behind it, which those of lean devices lack.
    """
    if "registered" not in offered:
        return list(offered)
    return [storage for storage in offered if storage != ("registered" if lean else "logic")]


@lru_cache(maxsize=1024)  # the same are looked at again at other prices, and for other boards
def counted(
    network: Network, node: Node, target: int, least_out: int, lean: bool, levels: int, lanes: int, costing: Costing
) -> tuple[list[Fold], np.ndarray]:
    """The candidates, and int64 [4 + 1, candidates]: LUT, FF, EBR and DSP behind a stream of `lanes` codes a beat, and
    the channels of a beat."""
    found = candidates(network, node, target, least_out, lean, levels, costing[1])
    costs = (costing[0](network, node, fold, lanes) for fold in found)
    rows = [(c.lut, c.ff, c.ebr, c.dsp, fold.beat) for fold, c in zip(found, costs, strict=True)]
    return found, np.array(rows, np.int64).reshape(-1, 5).T


def cheapest(found: Sequence[Fold], amounts: np.ndarray, prices: Prices) -> Iterator[Fold]:
    """The candidates of `counted`, rising by what they cost at `prices`; of equal ones the narrower beat first."""
    lut, ff, ebr, dsp, beat = amounts
    at = lut * prices.lut + ff * prices.ff + ebr * prices.ebr + dsp * prices.dsp
    return (found[index] for index in np.lexsort((beat, at)))


def feeds(node: Node, lanes: int, lean: bool) -> list[int | None]:
    """Channels a beat that a window may be fed, where `lanes` come: as they come, or gathered to up to MOST_FEED."""
    if node.op == "linear" or lean:
        return [None]
    channels = node.tensors["weight"].shape[1]
    return [None, *(d for d in divisors(channels) if d % lanes == 0 and lanes < d <= MOST_FEED)]


def over(needed: Mapping[str, int], budget: Mapping[str, int]) -> dict[str, int]:
    """How many of each resource are missing; empty if `needed` is within `budget`."""
    return {resource: needed[resource] - room for resource, room in budget.items() if needed[resource] > room}


def first_in_time(
    network: Network,
    node: Node,
    found: Iterable[Fold],
    lanes: int,
    lean: bool,
    target: int,
    placed: Callable[[Fold], Mapping[str, Fold]],
) -> Fold | None:
    """The first of the folds `found`, behind a stream of `lanes` and in the folding `placed` makes of it, that keeps
    within `target` cycles an image; None if none does.
    """  # fmt: skip
    for fold in found:
        for feed in feeds(node, lanes, lean):
            one = replace(fold, feed=feed)
            trial = placed(one)
            if timing(network, node, trial, stream_lanes(network, trial)).interval <= target:
                return one
    return None
