"""Solver of shared stages: the fastest folding in which all convs behind the first stream share one unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product

from popstream.hw.cost.network import ECP5_PRICES, Prices, layer_cost, memory_choices
from popstream.hw.folding.chain import chain
from popstream.hw.folding.fold import Fold, FoldingError, Share, divisors
from popstream.hw.folding.folding import Folding, folded, interval, stream_lanes
from popstream.hw.folding.outline import outline, plan_of
from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.memory import block_rams
from popstream.hw.solver.candidates import cheapest, counted, first_in_time, over
from popstream.model.manifest import Network, Node

__all__ = ["around", "body", "fastest_shared"]

SLICES, PES, PIXELS, BEATS = (4, 8, 16, 32), (4, 8, 16, 32), (1, 2, 4, 8, 16), (1, 2, 4, 8, 16)
PARTS = (0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of an image's cycles in which its input may come
LEVELS = 2  # of adders between two registers: saves flip-flops where clocks are low
COSTING = layer_cost, memory_choices
LEAST_LUTS = 1.2  # of a lane


def body(network: Network) -> tuple[str, ...]:
    """The convs behind the first, which may share a stage; it takes pixels, of more bits."""
    return tuple(node.name for node in network.nodes if node.op == "conv" and node.inputs[0] != network.input.name)


def offers(network: Network, budget: Mapping[str, int]) -> list[StagePlan]:
    """Stages of all sizes that are within the budget by lanes and multipliers alone, fastest first."""
    names = body(network)
    if not names:
        return []
    try:
        stage = chain(network, names)
    except FoldingError:
        return []
    kernel = max(layer.kernel for layer in stage.layers)
    planes = divisors(max(layer.conv["act_bits"] for layer in stage.layers if layer.conv is not None))
    result: list[StagePlan] = []
    for size, pe, pixels, some, beat, apart in product(SLICES, PES, PIXELS, planes, BEATS, (False, True)):
        share = Share(names, size, pe, pixels, some, beat, apart, LEVELS)
        if share.lanes(kernel) * LEAST_LUTS > budget["lut"] or pixels * beat > budget["dsp"] or beat > min(size, pe):
            continue
        try:
            result.append(plan_of(network, share))
        except FoldingError:
            continue
    return sorted(result, key=lambda plan: plan.least)


def least_memory(plan: StagePlan) -> int:
    """Block RAMs of weights, codes and streams."""
    share = plan.share
    return (
        block_rams(plan.weight_words, share.pe * plan.kernel * share.slice)
        + plan.banks * block_rams(plan.code_words, share.slice * plan.code_bits)
        + share.pixels * block_rams(plan.stream_words, share.beat * plan.stream_bits)
    )


def around(network: Network, share: Share, target: int, prices: Prices = ECP5_PRICES) -> Folding | None:
    """A folding with the stage, whose other layers each take at most `target` cycles an image, the cheapest of them;
    None where some layer has none.
    """
    entries: dict[str, Fold] = {}
    empty = Folding({}, (share,))
    seen = outline(network, empty)
    for node in folded(seen):
        fold = choose(seen, node, entries, share, target, prices)
        if fold is None:
            return None
        entries[node.name] = fold
    return Folding(entries, (share,))


def choose(
    network: Network, node: Node, entries: Mapping[str, Fold], share: Share, target: int, prices: Prices
) -> Fold | None:
    """The cheapest fold of a node of the outlined network that keeps within the target."""
    lanes = stream_lanes(network, Folding(dict(entries), (share,)))[node.inputs[0]]
    found = cheapest(*counted(network, node, target, 1, False, LEVELS, lanes, COSTING), prices)
    return first_in_time(
        network, node, found, lanes, False, target, lambda fold: Folding({**entries, node.name: fold}, (share,))
    )


def foldings(network: Network, plan: StagePlan, prices: Prices) -> Iterator[Folding]:
    """Foldings with the stage, whose input comes faster and faster."""
    for part in PARTS:
        folding = around(network, plan.share, int(part * plan.least), prices)
        if folding is not None:
            yield folding


def fastest_shared(
    network: Network,
    need: Callable[[Folding], Mapping[str, int]],
    budget: Mapping[str, int],
    prices: Prices = ECP5_PRICES,
) -> tuple[int, Folding] | None:
    """The least interval and its folding, within the budget; None where a network, or the budget, allows none."""
    best: tuple[int, Folding] | None = None
    for plan in offers(network, budget):
        if best is not None and plan.least >= best[0]:
            break
        if least_memory(plan) > budget["ebr"]:
            continue
        for folding in foldings(network, plan, prices):
            cycles = max(interval(network, folding).values())
            if (best is None or cycles < best[0]) and not over(need(folding), budget):
                best = cycles, folding
    return best
