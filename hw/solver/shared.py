"""Solver of shared stages: the fastest folding in which all convs behind the first are in one stage, or in a few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

from popstream.hw.cost.network import ECP5_PRICES, Prices, layer_cost, memory_choices
from popstream.hw.folding.chain import chain
from popstream.hw.folding.fold import Fold, FoldingError, Share, divisors
from popstream.hw.folding.folding import Folding, folded, interval, stream_lanes
from popstream.hw.folding.outline import outline, plan_of
from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.solver.candidates import cheapest, counted, first_in_time, over
from popstream.hw.solver.grouping import Grouping, memory_of
from popstream.model.manifest import Network, Node

__all__ = ["MOST_STAGES", "around", "body", "fastest_shared"]

SLICES, PES, PIXELS, BEATS = (4, 8, 16, 32), (4, 8, 16, 32), (1, 2, 4, 8, 16), (1, 2, 4, 8, 16)
PARTS = (0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of an image's cycles in which its input may come
MOST_LANES, MOST_VALUES = 3_072, 8
"""Of a unit, and of the values that are requantized at once. On ECP5s one of 3,072 lanes and 8 values, and two of them
in a row, routed at 75 MHz and more; one of 6,144 and 16 at 60; one of 3,072 and 16 ahead of another, and one of 6,144
and 32, not at all."""
MOST_STAGES = 4
LEVELS = 2  # of adders between two registers: saves flip-flops where clocks are low
COSTING = layer_cost, memory_choices
LEAST_LUTS = 1.2  # of a lane
RAISE = 2.0  # by which multipliers become dearer where there were too few


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
        if share.lanes(kernel) > MOST_LANES or pixels * beat > MOST_VALUES:
            continue
        if share.lanes(kernel) * LEAST_LUTS > budget["lut"] or pixels * beat > budget["dsp"] or beat > min(size, pe):
            continue
        try:
            result.append(plan_of(network, share))
        except FoldingError:
            continue
    return sorted(result, key=lambda plan: plan.least)


def around(network: Network, shared: Sequence[Share], target: int, prices: Prices = ECP5_PRICES) -> Folding | None:
    """A folding with the stages, whose other layers each take at most `target` cycles an image, the cheapest of them;
    None where some layer has none.
    """
    shares = tuple(shared)
    entries: dict[str, Fold] = {}
    empty = Folding({}, shares)
    seen = outline(network, empty)
    for node in folded(seen):
        fold = choose(seen, node, entries, shares, target, prices)
        if fold is None:
            return None
        entries[node.name] = fold
    return Folding(entries, shares)


def choose(
    network: Network, node: Node, entries: Mapping[str, Fold], shares: tuple[Share, ...], target: int, prices: Prices
) -> Fold | None:
    """The cheapest fold of a node of the outlined network that keeps within the target."""
    lanes = stream_lanes(network, Folding(dict(entries), shares))[node.inputs[0]]
    found = cheapest(*counted(network, node, target, 1, False, LEVELS, lanes, COSTING), prices)
    return first_in_time(
        network, node, found, lanes, False, target, lambda fold: Folding({**entries, node.name: fold}, shares)
    )


def foldings(network: Network, shares: Sequence[Share], prices: Prices) -> Iterator[Folding]:
    """Foldings with the stages, whose input comes faster and faster."""
    least = max(plan_of(network, share).least for share in shares)
    for part in PARTS:
        folding = around(network, shares, int(part * least), prices)
        if folding is not None:
            yield folding


class Best:
    """The folding of the least interval of those that were shown, within the budget."""

    def __init__(
        self, network: Network, need: Callable[[Folding], Mapping[str, int]], budget: Mapping[str, int], prices: Prices
    ) -> None:
        self.network, self.need, self.budget, self.prices = network, need, budget, prices
        self.found: tuple[int, Folding] | None = None

    def show(self, shares: Sequence[Share]) -> bool:
        """Whether a folding with these stages is within the budget, and faster than all before.

        Where none is for want of multipliers, the layers before and behind the stages do without, at a higher price.
        """
        if memory_of(self.network, shares) > self.budget["ebr"]:
            return False
        before, prices = self.found, self.prices
        while not self._try(foldings(self.network, shares, prices)):
            if prices is not self.prices:
                break
            prices = prices.raised(["dsp"], RAISE)
        return self.found is not before

    def _try(self, some: Iterator[Folding]) -> bool:
        """Take the fastest that is within the budget. False where one was faster, and lacked multipliers alone."""
        short = False
        for folding in some:
            cycles = max(interval(self.network, folding).values())
            if self.found is None or cycles < self.found[0]:
                missing = over(self.need(folding), self.budget)
                if not missing:
                    self.found = cycles, folding
                short |= set(missing) == {"dsp"}
        return not short


def fastest_shared(
    network: Network,
    need: Callable[[Folding], Mapping[str, int]],
    budget: Mapping[str, int],
    prices: Prices = ECP5_PRICES,
    most: int = MOST_STAGES,
) -> tuple[int, Folding] | None:
    """The least interval and its folding of at most so many stages, within the budget; None where a network, or the
    budget, allows none.
    """
    best, plans = Best(network, need, budget, prices), offers(network, budget)
    for plan in plans:
        if best.found is not None and plan.least >= best.found[0]:
            break
        best.show([plan.share])
    if best.found is not None and most > 1:
        grouping = Grouping(network, plans, prices)
        for stages in range(2, most + 1):
            if grouping.fastest(stages, best.show, best.found[0], budget["ebr"]) is None:
                break
    return best.found
