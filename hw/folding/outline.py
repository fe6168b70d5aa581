"""A network as a folding sees it: nodes that share a stage stand for one, under the name of the last of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from popstream.hw.folding.chain import chain
from popstream.hw.folding.fold import Fold, FoldingError, Share
from popstream.hw.folding.layers import Chain
from popstream.hw.folding.stage_plan import StagePlan
from popstream.model.manifest import Network, Node

__all__ = ["STAGE", "StageNode", "outline", "plan_of", "plans", "shares_of", "units"]

STAGE = "stage"
"""The op of a node that stands for a shared stage: from a stream or codes to a stream or sums."""


@dataclass(frozen=True, eq=False)
class StageNode(Node):
    """Stands for a shared stage: its plan."""

    plan: StagePlan | None = None


@lru_cache(maxsize=4096)  # the same are looked at again, by cost, cycles and lanes
def plan_of(network: Network, share: Share) -> StagePlan:
    """The plan of one shared stage; FoldingError for one that cannot be."""
    return StagePlan(_chain(network, share.layers), share)


@lru_cache(maxsize=256)  # the same layers, whatever the size of their stage
def _chain(network: Network, names: tuple[str, ...]) -> Chain:
    return chain(network, names)


def shares_of(folding: Mapping[str, Any]) -> tuple[Share, ...]:
    """A folding's shared stages; none of a plain mapping of folds."""
    return getattr(folding, "shared", ())


def plans(network: Network, folding: Mapping[str, Any]) -> dict[str, StagePlan]:
    """The plan of each shared stage, by the name of the node that ends it; FoldingError for one that cannot be."""
    stages = [node for node in network.nodes if isinstance(node, StageNode)]
    result: dict[str, StagePlan] = {node.name: node.plan for node in stages if node.plan}
    return result or _plans(network, shares_of(folding))


def _plans(network: Network, shares: tuple[Share, ...]) -> dict[str, StagePlan]:
    result: dict[str, StagePlan] = {}
    names = {node.name for node in network.nodes if node.op == "conv"}
    used: set[str] = set()
    for share in shares:
        if not share.layers:
            raise FoldingError("A shared stage must have layers, names of conv nodes; it has none")
        for name in share.layers:
            if name not in names:
                raise FoldingError(f"A shared stage's layers are conv nodes of {network.name!r}, {name!r} is none")
            if name in used:
                raise FoldingError(f"Node {name!r} is in two shared stages, or twice in one")
            used.add(name)
        plan = plan_of(network, share)
        result[plan.chain.end.name] = plan
    return result


def units(network: Network, folding: Mapping[str, Any]) -> dict[str, Fold]:
    """Every compute unit by its node's name, in topological order; a shared one by that of the node which ends its
    stage, as a fold of so many products and channels, those of all pixels at once.
    """
    ends, result = plans(network, folding), {}
    for node in outline(network, folding).nodes:
        if node.name in ends:
            plan = ends[node.name]
            share = plan.share
            simd, pe = plan.kernel * share.slice, share.pe * share.pixels
            result[node.name] = Fold(
                simd, pe, planes=share.planes, storage="block", levels=share.levels, out=share.beat
            )
        elif node.name in folding:
            result[node.name] = folding[node.name]
    return result


def outline(network: Network, folding: Mapping[str, Any]) -> Network:
    """`network` with a StageNode for each shared stage; itself, where there is none, or it is an outline."""
    shares = shares_of(folding)
    if not shares or any(isinstance(node, StageNode) for node in network.nodes):
        return network
    return _outline(network, shares)


@lru_cache(maxsize=256)  # alive, they hold what was worked out for them and all that equal them (hw.cost.network.KEPT)
def _outline(network: Network, shares: tuple[Share, ...]) -> Network:
    inside: set[str] = set()
    ends: dict[str, Node] = {}
    for name, plan in _plans(network, shares).items():
        inside |= plan.chain.inside
        last = network.node(name)
        ends[name] = StageNode(name, STAGE, (plan.source,), {}, {}, last.shape, last.kind, last.bits, plan)
    nodes = [ends.get(node.name, node) for node in network.nodes if node.name in ends or node.name not in inside]
    return replace(network, nodes=tuple(nodes))
