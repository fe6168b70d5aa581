"""Folding and cost of a network's accelerator, stage by stage, as hw counts them; the costs are estimates."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from popstream.hw.cost.network import Cost, network_parts, storage_of
from popstream.hw.folding.folding import Fold, folded, interval, products
from popstream.hw.folding.outline import outline, plans, units
from popstream.model.manifest import Network

__all__ = ["KINDS", "RESOURCES", "cost", "folding_rows"]

RESOURCES = tuple(field.name for field in fields(Cost))
KINDS = {
    "lanes and weights": ("unit",),
    "windows": ("window",),
    "requantizing": ("requant", "prelu", "classifier"),
    "thresholds": ("threshold",),
    "skips and forks": ("shortcut", "join", "fork"),
    "order in shared stages": ("walkers",),
    "pooling": ("maxpool", "pool"),
}
"""What is drawn in one colour, and the kinds of block (hw.cost.network) in it."""


def kind_of(block: str) -> str:
    return next(kind for kind, blocks in KINDS.items() if block in blocks)


def folding_rows(network: Network, folding: Mapping[str, Fold]) -> list[dict[str, Any]]:
    """Every folded layer: its shape of lanes and the cycles an image that they take."""
    cycles = interval(network, folding)
    rows = shared_rows(network, folding) + [
        {
            "node": node.name,
            "products": products(node),
            "channels": len(node.tensors["weight"]),
            "simd": fold.simd,
            "pe": fold.pe,
            "planes": fold.planes,
            "arithmetic": fold.arithmetic,
            "lanes": fold.lanes,
            "weights_in": storage_of(node, fold),
            "cycles": cycles[node.name],
        }
        for node, fold in ((node, folding[node.name]) for node in folded(outline(network, folding)))
    ]
    order = [node.name for node in network.nodes]
    return sorted(rows, key=lambda row: order.index(row["node"]))


def shared_rows(network: Network, folding: Mapping[str, Fold]) -> list[dict[str, Any]]:
    """The same of every layer of shared stages, by the unit that they share and the cycles of each."""
    rows: list[dict[str, Any]] = []
    shapes = units(network, folding)
    for name, plan in plans(network, folding).items():
        fold = shapes[name]
        for walk in plan.walks:
            node = walk.layer.conv
            if node is None:  # a copy, which uses no lanes
                continue
            rows.append({
                "node": node.name, "products": products(node), "channels": len(node.tensors["weight"]),
                "simd": fold.simd, "pe": fold.pe, "planes": fold.planes, "arithmetic": fold.arithmetic,
                "lanes": fold.lanes, "weights_in": "block", "cycles": walk.cycles,
            })  # fmt: skip
    return rows


def cost(network: Network, folding: Mapping[str, Fold]) -> dict[str, Any]:
    """Estimated resources by stage and by kind of block; a join's FIFOs belong to the layer that it adds to."""
    convs = {
        name: [layer.conv for layer in plan.layers if layer.conv] for name, plan in plans(network, folding).items()
    }
    ends = {name: some[-1].name for name, some in convs.items()}
    stages: dict[str, dict[str, Cost]] = {node.name: {} for node in folded(outline(network, folding))}
    stages |= {name: {} for name in ends.values()}
    for name, parts in network_parts(network, folding).items():
        name = ends.get(name, name)
        stage = stages[name if name in stages else network.node(name).inputs[0]]
        for block, amount in parts.items():
            kind = kind_of(block)
            stage[kind] = stage.get(kind, Cost()) + amount
    kinds = [kind for kind in KINDS if any(kind in stage for stage in stages.values())]
    total = {kind: sum((stage[kind] for stage in stages.values() if kind in stage), Cost()) for kind in kinds}
    return {
        "kinds": {kind: asdict(amount) for kind, amount in total.items()},
        "total": asdict(sum(total.values(), Cost())),
        "stages": [
            {
                "node": name,
                "kinds": {kind: asdict(parts[kind]) for kind in kinds if kind in parts},
                "total": asdict(sum(parts.values(), Cost())),
            }
            for name, parts in stages.items()
        ],
    }
