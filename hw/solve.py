"""Solver: for every conv and linear layer the cheapest fold that keeps an image within a number of cycles."""

from itertools import product

from hw.cost import layer_cost
from hw.folding import (
    ARITHMETICS,
    DEFAULT_INTERVAL,
    Fold,
    Folding,
    FoldingError,
    channels_out,
    cycles,
    folded,
    geometry,
    pixels,
    products,
    stream_lanes,
    timing,
)
from model.manifest import Network, Node

__all__ = ["candidates", "smallest", "solve"]

# iCE40: a logic cell holds a LUT and the flip-flop that it feeds; of the flip-flops estimated so many need their own.
UNPAIRED = 0.93
ICE40_DSP = 60  # cells that one of its few multipliers is worth


def divisors(value: int) -> list[int]:
    return [d for d in range(1, value + 1) if value % d == 0]


def candidates(network: Network, node: Node, target: int) -> list[Fold]:
    """Folds of `node` whose busy cycles alone fit into `target`: of each (arithmetic, pe) the three smallest simd.

    All prefetch, and have a FIFO of one row ahead: it bridges the rows without windows and the windows without rows,
    so that layers of equal rates do not wait for each other. The first layer has none, images are there when asked for.
    """
    buffer = 0 if node.op == "linear" or network.node(node.inputs[0]).op == "input" else geometry(network, node).width
    result = []
    for arithmetic in ARITHMETICS:
        for pe in divisors(channels_out(node)):
            fitting = [
                simd
                for simd in divisors(products(node))
                if pixels(node) * cycles(node, Fold(simd, pe, arithmetic)) <= target
            ]
            result += [Fold(simd, pe, arithmetic, True, buffer) for simd in fitting[:3]]
    return result


def solve(network: Network, target: int = DEFAULT_INTERVAL) -> Folding:
    """The folding of least cost (hw.cost) whose stages each take at most `target` cycles an image, waits included.

    Layers are taken in topological order, for how fast a layer's input comes, and in how many lanes, is its producer's
    choice. A producer that leaves its reader no legal fold is made wider and tried again. FoldingError if nothing fits.
    """
    if target < 1:
        raise FoldingError(f"Target interval must be at least 1 cycle, not {target}")
    order = folded(network)
    widest = {node.name: 1 for node in order}  # least pe to consider
    for _ in range(8 * len(order)):
        entries: dict[str, Fold] = {}
        for node in order:
            fold = choose(network, node, entries, target, widest[node.name])
            if fold is None:
                producer = feeding(network, node)
                wider = (
                    []
                    if producer is None
                    else [d for d in divisors(channels_out(producer)) if d > entries[producer.name].pe]
                )
                if producer is None or not wider:
                    raise FoldingError(
                        f"Node {node.name!r}: no folding takes at most {target} cycles an image, "
                        f"its {g_text(network, node)} need more; raise the interval"
                    )
                widest[producer.name] = wider[0]
                break
            entries[node.name] = fold
        else:
            return Folding(entries).check(network)
    raise FoldingError(f"No folding of {network.name!r} found for {target} cycles an image; raise the interval")


def g_text(network: Network, node: Node) -> str:
    g = geometry(network, node)
    return f"{g.positions} positions of {g.channels} channels in and {pixels(node)} pixels out"


def feeding(network: Network, node: Node) -> Node | None:
    """The conv whose pe sets the lanes of what `node` reads; None at the network's input."""
    source = network.node(node.inputs[0])
    while source.op not in ("conv", "input"):
        source = network.node(source.inputs[0])
    return None if source.op == "input" else source


def choose(network: Network, node: Node, entries: dict[str, Fold], target: int, least_pe: int) -> Fold | None:
    """The cheapest candidate that meets the target behind the layers already chosen."""
    lanes_in = stream_lanes(network, entries)[node.inputs[0]]
    ranked = sorted(
        (fold for fold in candidates(network, node, target) if fold.pe >= least_pe),
        key=lambda fold: (layer_cost(network, node, fold, lanes_in).weight, fold.pe),
    )
    for fold in ranked:
        trial = {**entries, node.name: fold}
        lanes = stream_lanes(network, trial)
        if timing(network, node, trial, lanes).interval > target:
            continue
        if pixels(node) * (channels_out(node) // fold.pe) <= target:
            return fold
    return None


def smallest(network: Network, target: int) -> Folding:
    """The folding of fewest logic cells whose stages each take at most `target` cycles: no prefetch, no row FIFOs.

    Layer by layer in topological order, for devices that are short of flip-flops. FoldingError if a layer takes longer.
    """
    entries: dict[str, Fold] = {}
    for node in folded(network):
        found: list[tuple[float, Fold]] = []
        for arithmetic, pe, simd in product(ARITHMETICS, divisors(channels_out(node)), divisors(products(node))):
            entry = Fold(simd, pe, arithmetic, prefetch=False)
            if pixels(node) * cycles(node, entry) > target:
                continue
            trial = {**entries, node.name: entry}
            lanes = stream_lanes(network, trial)
            if timing(network, node, trial, lanes).interval <= target:
                cost = layer_cost(network, node, entry, lanes[node.inputs[0]])
                found.append((cost.lut + UNPAIRED * cost.ff + ICE40_DSP * cost.dsp, entry))
        if not found:
            raise FoldingError(f"Node {node.name!r}: no folding takes at most {target} cycles an image")
        entries[node.name] = min(found, key=lambda pair: pair[0])[1]
    return Folding(entries).check(network)
