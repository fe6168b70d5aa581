"""Solver: for every conv and linear layer the cheapest fold that keeps an image within a number of cycles (`solve`),
and the fastest folding whose estimated cost stays within a device's budget (`fastest`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import product

from popstream.hw.cost.network import ECP5_PRICES, Prices, layer_cost, memory_choices
from popstream.hw.folding.fold import divisors
from popstream.hw.folding.folding import (
    DEFAULT_INTERVAL,
    Fold,
    Folding,
    FoldingError,
    channels_out,
    cycles,
    folded,
    interval,
    pixels,
    products,
    stream_lanes,
)
from popstream.hw.solver.candidates import cheapest, counted, first_in_time, over
from popstream.model.manifest import Network, Node

__all__ = ["COSTING", "fastest", "intervals", "solve", "within"]

TRIES = 8  # prices tried before a target is given up
GRAIN = 100  # the fastest folding is found to within a part in so many
RAISE = 2.0  # by which a resource becomes dearer when there was too little of it

COSTING = layer_cost, memory_choices

Need = Callable[[Folding], Mapping[str, int]]


@lru_cache(maxsize=64)
def intervals(network: Network) -> tuple[int, ...]:
    """Every number of cycles an image that some fold of some layer takes, rising: the targets worth asking for."""
    found = {
        pixels(node) * cycles(node, Fold(simd, pe, planes=planes))
        for node in folded(network)
        for pe, simd in product(divisors(channels_out(node)), divisors(products(node)))
        for planes in divisors(node["act_bits"])
    }
    return tuple(sorted(found))


def solve(
    network: Network, target: int = DEFAULT_INTERVAL, prices: Prices = ECP5_PRICES, lean: bool = False, levels: int = 1
) -> Folding:
    """The folding of least cost at `prices` whose stages each take at most `target` cycles an image, waits included.

    Layers are taken in topological order, for how fast a layer's input comes, and in how many lanes, is its producer's
    choice. A producer that leaves its reader no legal fold is made wider and tried again. Between two registers of a
    population count lie `levels` of adders. FoldingError if nothing fits.
    """
    if target < 1:
        raise FoldingError(f"Target interval must be at least 1 cycle, not {target}")
    order = folded(network)
    least = {node.name: 1 for node in order}  # output lanes
    for _ in range(8 * len(order)):
        entries: dict[str, Fold] = {}
        late: Node | None = None
        for node in order:
            fold = choose(network, node, entries, target, least[node.name], prices, lean, levels)
            if fold is None:
                late = node
                break
            entries[node.name] = fold
        if late is None:  # all that have a fold keep up; what follows them works as many channels at once as they give
            late = next((network.node(n) for n, cycles in interval(network, entries).items() if cycles > target), None)
        if late is None:
            return Folding(entries).check(network)
        producer = feeding(network, late)
        wider = [d for d in divisors(channels_out(producer)) if d > entries[producer.name].beat] if producer else []
        if producer is None or not wider:
            raise FoldingError(
                f"Node {late.name!r}: no folding takes at most {target} cycles an image, "
                f"{work_text(network, late)} need more; raise the interval"
            )
        least[producer.name] = wider[0]
    raise FoldingError(f"No folding of {network.name!r} found for {target} cycles an image; raise the interval")


def work_text(network: Network, node: Node) -> str:
    channels, height, width = network.node(node.inputs[0]).shape
    return f"its {height * width} pixels of {channels} channels in and {pixels(node)} pixels out"


def feeding(network: Network, node: Node) -> Node | None:
    """The conv that sets the lanes of what `node` reads; None at the network's input."""
    source = network.node(node.inputs[0])
    while source.op not in ("conv", "input"):
        source = network.node(source.inputs[0])
    return None if source.op == "input" else source


def choose(
    network: Network,
    node: Node,
    entries: Mapping[str, Fold],
    target: int,
    least_out: int,
    prices: Prices,
    lean: bool,
    levels: int,
) -> Fold | None:
    """The cheapest candidate that meets the target behind the layers already chosen; None if none does."""
    lanes_in = stream_lanes(network, entries)[node.inputs[0]]
    found = cheapest(*counted(network, node, target, least_out, lean, levels, lanes_in, COSTING), prices)
    return first_in_time(network, node, found, lanes_in, lean, target, lambda fold: {**entries, node.name: fold})


def within(
    network: Network,
    target: int,
    need: Need,
    budget: Mapping[str, int],
    prices: Prices,
    lean: bool = False,
    levels: int = 1,
) -> Folding | None:
    """A folding of at most `target` cycles an image that stays within `budget`, or None.

    A folding that needs too much of one resource is solved again with that resource dearer, so that multipliers, block
    RAM and logic take each other's place where there is a choice.
    """
    for _ in range(TRIES):
        try:
            folding = solve(network, target, prices, lean, levels)
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
    The last target is asked first: where it has none, no other is asked. `reached` tells the cycles that a folding
    takes, waits included, which the targets are without.
    """
    if not targets or fitting(targets[-1]) is None:
        return None
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
