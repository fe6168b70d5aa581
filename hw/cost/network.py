"""Resources of a folding on an ECP5, estimated block by block (hw.cost.blocks, hw.cost.unit) in milliseconds a layer.

Block RAMs and multipliers are exact; LUTs and flip-flops are within 10 % of synthesis (`make cost` compares).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from amaranth.hdl import Shape, signed, unsigned

from popstream.hw.blocks.window import Window
from popstream.hw.cost.blocks import (
    add_cost,
    classifier_cost,
    fork_cost,
    lookup_cost,
    maxpool_cost,
    pool_cost,
    prelu_cost,
    repack_cost,
    requant_cost,
    shortcut_cost,
    threshold_cost,
    window_cost,
)
from popstream.hw.cost.parts import fifo_cost
from popstream.hw.cost.prices import ECP5_PRICES, ICE40_PRICES, UNPAIRED, Cost, Prices
from popstream.hw.cost.stage import stage_parts
from popstream.hw.cost.unit import matvec_cost
from popstream.hw.folding.buffering import Buffers, buffers
from popstream.hw.folding.folding import (
    FOLDED,
    Fold,
    channels_out,
    entry_lanes,
    folded,
    geometry,
    products,
    stream_lanes,
    turns,
)
from popstream.hw.folding.outline import STAGE, outline, plans
from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.stream import Repack
from popstream.hw.lib.tap import Values
from popstream.hw.stages import stages
from popstream.hw.unit.plan import MatVecPlan, accumulator, weight_matrix
from popstream.hw.unit.weights import MERGED_DEPTH, WeightMemory
from popstream.model.manifest import Network, Node

__all__ = [
    "ECP5_PRICES", "ICE40_PRICES", "UNPAIRED", "Cost", "Prices", "latencies", "layer_cost", "memory_choices",
    "network_cost", "network_parts", "storage_of",
]  # fmt: skip


FOLLOWERS: dict[str, Callable[[Any], Cost]] = {
    "threshold": threshold_cost,
    "dequantize": lookup_cost,
    "prelu": prelu_cost,
    "shortcut": shortcut_cost,
    "maxpool": maxpool_cost,
    "pool": pool_cost,
}


class Kept:
    """What was worked out for a network and does not depend on the whole folding: costs and latencies by key."""

    def __init__(self) -> None:
        self._networks: WeakKeyDictionary[Network, dict[Any, Any]] = WeakKeyDictionary()

    def get(self, network: Network, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once for each `key` of `network`.

        Outlines in which the same layers share are equal, whatever the size of their stages.
        """
        known = self._networks.setdefault(network, {})
        if key not in known:
            known[key] = make()
        return known[key]


KEPT = Kept()


def memory_choices(node: Node, fold: Fold) -> list[str]:
    """Kinds of weight memory worth looking at for a fold."""
    depth = words(node, fold)
    if depth > MERGED_DEPTH:
        return ["logic", "block"]
    return ["logic", "registered"] if depth > 1 and fold.planes > 1 else ["logic"]


def words(node: Node, fold: Fold) -> int:
    """Depth of the weight memory."""
    return plan_of(node, fold).words


def plan_of(node: Node, fold: Fold) -> MatVecPlan:
    """The matrix-vector unit of a folded node."""
    return MatVecPlan(
        products(node), channels_out(node), node["weight_bits"], node["act_bits"], fold.simd, fold.pe, fold.arithmetic,
        fold.planes, fold.beat, MatVecPlan.pes(fold.simd, fold.pe, fold.arithmetic, fold.planes), turns(node, fold),
        node["weights"],
        fold.levels,
    )  # fmt: skip


def sums(network: Network, node: Node, arithmetic: str) -> tuple[Shape, np.ndarray]:
    """Shape and correction of a folded node's accumulators."""
    bits, kind = (node["weight_bits"], node["act_bits"]), node["weights"]
    return KEPT.get(
        network,
        (node.name, arithmetic),
        lambda: accumulator(weight_matrix(node).astype(np.int64), *bits, arithmetic, kind),
    )


def before(network: Network, node: Node, fold: Fold, lanes: int) -> tuple[Cost, int]:
    """Cost and latency of what brings a stream of `lanes` codes a beat to a folded node's unit, as windows."""
    key = (node.name, lanes, fold.feed, fold.buffer, fold.prefetch, turns(node, fold))
    return KEPT.get(network, key, lambda: arrive(network, node, fold, lanes))


def arrive(network: Network, node: Node, fold: Fold, lanes: int) -> tuple[Cost, int]:
    bits, channels = node["act_bits"], network.node(node.inputs[0]).shape[0]
    turning = turns(node, fold)
    if node.op == "linear" and not turning:
        return repack_cost(bits, lanes, channels), Repack.latency_of(lanes, channels)
    feed, g = fold.feed or lanes, geometry(network, node)
    prefetch = fold.prefetch and node.op == "conv"
    result = repack_cost(bits, lanes, feed) + window_cost(g, bits, feed, prefetch, turning)
    latency = Repack.latency_of(lanes, feed) + Window.latency_of(g.kernel, prefetch)
    if fold.buffer:
        beats = fold.buffer * (channels // feed)
        result += fifo_cost(feed * bits, beats, apart=True)
        latency += StreamFifo.latency_of(beats, feed * bits, apart=True)
    return result, latency


def block_of(network: Network, node: Node, values: Values) -> tuple[Cost, int, Values]:
    """Cost and latency of the block of a node behind a folded one, which reads `values`; and what it gives."""
    lanes = values.lanes
    if node.op == "requant":
        scale = stages.requant(node, values, "auto")
        return requant_cost(scale), scale.latency, Values(None, signed(node["stream_bits"]), lanes)
    if node.op == "add":
        other = Values(None, signed(network.node(node.inputs[1]).bits), lanes)
        both = stages.add(node, values, other)
        return add_cost(both), both.latency, Values(None, signed(node.bits), lanes)
    block, shape = stages.follower(node, network.node(node.inputs[0]).shape, values, "auto")
    cost = FOLLOWERS[node.op](block) + repack_cost(values.shape.width, lanes, block.lanes)
    return cost, block.latency + Repack.latency_of(lanes, block.lanes), Values(None, shape, block.lanes)


def after(network: Network, node: Node, fold: Fold) -> tuple[dict[str, Cost], dict[str, int]]:
    """Costs of all that reads a folded node's sums, up to the next folded ones and joins, by op; latencies by name."""
    return KEPT.get(
        network, (node.name, fold.beat, fold.arithmetic), lambda: walk(network, node, fold.beat, fold.arithmetic)
    )


def walk(network: Network, node: Node, lanes: int, arithmetic: str) -> tuple[dict[str, Cost], dict[str, int]]:
    shape, correction = sums(network, node, arithmetic)
    values = Values(None, shape, lanes, correction)
    if node.op == "linear":
        return {"classifier": classifier_cost(stages.classifier(node, values, "auto"))}, {}
    return walk_on(network, node, values)


def walk_on(network: Network, node: Node, values: Values) -> tuple[dict[str, Cost], dict[str, int]]:
    """Of what reads `values` of `node`, up to the next folded nodes, shared stages and joins."""
    parts, delays, todo = defaultdict[str, Cost](Cost), {}, [(node, values)]
    while todo:
        source, values = todo.pop()
        readers = network.consumers(source.name)
        if len(readers) > 1:
            parts["fork"] += fork_cost(len(readers))
        for reader in readers:
            if reader.op not in (*FOLDED, STAGE) and reader.inputs[0] == source.name:
                cost, delays[reader.name], given = block_of(network, reader, values)
                parts[reader.op] += cost
                todo.append((reader, given))
    return dict(parts), delays


def behind_input(network: Network) -> tuple[dict[str, Cost], dict[str, int]]:
    """The same of what reads the input, with its table of pixels."""
    node, bits = network.input, network.entry_bits
    lanes = entry_lanes(node)
    return KEPT.get(network, (node.name, lanes), lambda: walk_in(network, node, bits, lanes))


def walk_in(network: Network, node: Node, bits: int, lanes: int) -> tuple[dict[str, Cost], dict[str, int]]:
    parts, delays = walk_on(network, node, Values(None, unsigned(node.bits), lanes))
    if "table" in node.tensors:
        table, repack = stages.entry(node, lanes, "auto"), repack_cost(bits, node.shape[0], lanes)
        parts["table"] = lookup_cost(table) + repack
        delays[node.name] = table.latency + Repack.latency_of(node.shape[0], lanes)
    return parts, delays


def behind_stage(network: Network, name: str, plan: StagePlan) -> tuple[dict[str, Cost], dict[str, int]]:
    """The same of what reads a shared stage, in an outlined network."""
    bits, beat = plan.end_bits, plan.share.beat
    return KEPT.get(
        network,
        (name, bits, beat, STAGE),
        lambda: walk_on(network, network.node(name), Values(None, signed(bits), beat)),
    )


def layer_parts(network: Network, node: Node, fold: Fold, lanes: int) -> dict[str, Cost]:
    """Costs of one conv or linear node by kind of block: "window", "unit", and what follows by its op."""
    shape, _ = sums(network, node, fold.arithmetic)
    unit = matvec_cost(plan_of(node, fold), shape.width, fold.storage)
    return {"window": before(network, node, fold, lanes)[0], "unit": unit, **after(network, node, fold)[0]}


def layer_cost(network: Network, node: Node, fold: Fold, lanes: int) -> Cost:
    """Window, matrix-vector unit and what follows it up to the next layers, of one conv or linear node."""
    return sum(layer_parts(network, node, fold, lanes).values(), Cost())


def latencies(whole: Network, folding: Mapping[str, Fold]) -> dict[str, int]:
    """Cycles from input to output of each node's blocks, by name, FIFOs ahead of joins left out."""
    lanes = stream_lanes(whole, folding)
    network = outline(whole, folding)
    result: dict[str, int] = behind_input(network)[1]
    for name, plan in plans(whole, folding).items():
        result |= behind_stage(network, name, plan)[1]
    for node in folded(network):
        fold = folding[node.name]
        result[node.name] = before(network, node, fold, lanes[node.inputs[0]])[1] + plan_of(node, fold).latency
        result |= after(network, node, fold)[1]
    return result


def join_cost(network: Network, node: Node, folding: Mapping[str, Fold], pixels: Buffers) -> Cost:
    """FIFOs ahead of a requant with skip, or of an add, and the change of lanes behind the one of the skip."""
    lanes, channels = stream_lanes(network, folding), node.shape[0]
    first, second = (network.node(name) for name in node.inputs)
    main, skip, bits = lanes[first.name], lanes[second.name], second.bits
    result = fifo_cost(skip * bits, pixels.skip.pixels * (channels // skip), apart=True) + repack_cost(bits, skip, main)
    if pixels.main is not None:
        ends = plans(network, folding)
        width = ends[first.name].end_bits if first.name in ends else first.bits
        if first.op == "conv":
            width = sums(network, first, folding[first.name].arithmetic)[0].width
        result += fifo_cost(main * width, pixels.main.pixels * (channels // main), apart=True)
    return result


def network_parts(network: Network, folding: Mapping[str, Fold]) -> dict[str, dict[str, Cost]]:
    """Costs of every folded layer by name, by kind of block; "join" are the FIFOs of a join, by its node's name. A
    shared stage is named like the node that ends it, what reads the input at once like the input.
    """
    lanes, late, ends = stream_lanes(network, folding), latencies(network, folding), plans(network, folding)
    network = outline(network, folding)
    result = {
        node.name: layer_parts(network, node, folding[node.name], lanes[node.inputs[0]]) for node in folded(network)
    }
    entry = {kind: cost for kind, cost in behind_input(network)[0].items() if kind != "fork"}
    if entry:
        result[network.input.name] = entry
    for name, plan in ends.items():
        feed = repack_cost(network.node(plan.source).bits, lanes[plan.source], plan.entry)
        parts = stage_parts(plan)
        result[name] = {**parts, "window": parts["window"] + feed, **behind_stage(network, name, plan)[0]}
    for name, pixels in buffers(network, folding, late).items():
        result[name] = {"join": join_cost(network, network.node(name), folding, pixels)}
    return result


def network_cost(network: Network, folding: Mapping[str, Fold]) -> dict[str, Cost]:
    """Cost of every folded layer by name, and of the FIFOs of every join by the name of its requant."""
    return {name: sum(parts.values(), Cost()) for name, parts in network_parts(network, folding).items()}


def storage_of(node: Node, fold: Fold) -> str:
    """Where the weights lie: "lanes" (in the LUT of each lane's gate), "logic" or "block", as the hardware decides."""
    style = WeightMemory.style_of(words(node, fold), fold.storage)
    if style in ("constant", "merged"):
        return "lanes" if fold.arithmetic == "lanes" else "logic"
    return style
