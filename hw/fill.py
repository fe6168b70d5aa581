"""Filling a device: the fastest folding whose estimated cost stays within a budget."""

from collections.abc import Callable, Mapping, Sequence

from hw.cost import Prices
from hw.folding import Folding, FoldingError
from hw.solve import solve
from model.manifest import Network

__all__ = ["fastest", "over", "within"]

TRIES = 8  # prices tried before a target is given up
GRAIN = 100  # the fastest folding is found to within a part in so many
RAISE = 2.0  # by which a resource becomes dearer when there was too little of it

Need = Callable[[Folding], Mapping[str, int]]


def over(needed: Mapping[str, int], budget: Mapping[str, int]) -> dict[str, int]:
    """How many of each resource are missing; empty if `needed` is within `budget`."""
    return {resource: needed[resource] - room for resource, room in budget.items() if needed[resource] > room}


def within(
    network: Network, target: int, need: Need, budget: Mapping[str, int], prices: Prices, lean: bool = False
) -> Folding | None:
    """A folding of at most `target` cycles an image that stays within `budget`, or None.

    A folding that needs too much of one resource is solved again with that resource dearer, so that multipliers, block
    RAM and logic take each other's place where there is a choice.
    """
    for _ in range(TRIES):
        try:
            folding = solve(network, target, prices, lean)
        except FoldingError:
            return None
        missing = over(need(folding), budget)
        if not missing:
            return folding
        prices = prices.raised(missing, RAISE)
    return None


def fastest(
    targets: Sequence[int], fitting: Callable[[int], Folding | None], reached: Callable[[Folding], int]
) -> tuple[int, Folding] | None:
    """The least interval with a fitting folding, and that folding; None if none of the rising `targets` has one.

    By bisection, first of the targets, then of the cycles between the least that can be had and the greatest that
    cannot, to within a part in GRAIN: what fits at one interval is taken to fit, folded further, at every larger one.
    `reached` tells the cycles that a folding takes, waits included, which the targets are without.
    """
    best: tuple[int, Folding] | None = None
    low, high = 0, len(targets)
    while low < high:
        middle = (low + high) // 2
        folding = fitting(targets[middle])
        if folding is None:
            low = middle + 1
        else:
            best, high = (reached(folding), folding), middle
    if best is None or high == 0:
        return best
    beyond = targets[high - 1]
    while best[0] - beyond > max(1, best[0] // GRAIN):
        target = (best[0] + beyond) // 2
        folding = fitting(target)
        if folding is None:
            beyond = target
        else:
            best = (reached(folding), folding)
    return best
