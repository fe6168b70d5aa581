# amaranth: UnusedElaboratable=no
"""What a bitstream fixes of its network, and whether another one goes into it.

Outside of shared stages nothing but tensors and shifts may differ. Within a shared stage the layers may:
how many there are, their channels, kernels, strides and bits, up to the bounds of the stage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from popstream.hw.blocks.head import RAISED
from popstream.hw.folding.fold import FoldingError
from popstream.hw.folding.folding import Folding
from popstream.hw.folding.outline import STAGE, outline, plans
from popstream.hw.folding.room import Bounds, Reload, cover
from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.table import RELOAD_MULTIPLIER, shape_limits
from popstream.hw.shared.stage import SharedStage
from popstream.model.manifest import Network, Node

__all__ = ["adapted", "difference", "made_for", "shape_of"]

SHIFTED = {"requant": ("shift", "fraction_bits"), "pool": ("shift",)}
"""Attributes that may differ: a shift has room in the bitstream's, the place of the point is nothing in hardware."""
FIXED = ("prelu",)  # ops whose tensors are built as logic
HEADROOM = 1  # by which a shift is built larger: networks whose own is larger by so much have a place too
MOST_SHIFT = 31


def adapted(folding: Folding, network: Network) -> Folding:
    """A folding of another network's for `network`, which it may not fit: a conv that it does not name goes into the
    stage of the conv ahead of it, or else of the one behind.
    """
    stage_of = {name: index for index, share in enumerate(folding.shared) for name in share.layers}
    convs = [node.name for node in network.nodes if node.op == "conv"]
    for one, other in (*pairwise(convs), *((b, a) for a, b in reversed([*pairwise(convs)]))):
        if one in stage_of and other not in stage_of and other not in folding.entries:
            stage_of[other] = stage_of[one]
    shares = [
        replace(share, layers=tuple(name for name in convs if stage_of.get(name) == index))
        for index, share in enumerate(folding.shared)
    ]
    return Folding(dict(folding.entries), tuple(shares))


def shape_of(network: Network, folding: Folding) -> list[dict[str, Any]]:
    """All of a network that a bitstream fixes: everything but tensors and shifts, and the inside of shared stages."""
    nodes = outline(network, folding).nodes
    called = {node.name: f"stage {index}" for index, node in enumerate(node for node in nodes if node.op == STAGE)}
    return [
        {
            "name": called.get(node.name, node.name),
            "op": node.op,
            "inputs": [called.get(name, name) for name in node.inputs],
            **{key: value for key, value in node.attributes.items() if key not in SHIFTED.get(node.op, ())},
            **{f"shape of {key}": list(tensor.shape) for key, tensor in node.tensors.items()},
        }
        for node in nodes
    ]


def made_for(networks: Sequence[Network], folding: Folding) -> Reload:
    """What a bitstream with room for all of these networks, in the folding of the first, is built with.

    FoldingError where a shared stage cannot hold them all, or one of them cannot have such a folding.
    """
    shifts: dict[str, int] = {}
    wholes = [adapted(folding, network).check(network) for network in networks]
    for network, whole in zip(networks, wholes, strict=True):
        for node in _shifted(network, whole):
            shifts[node.name] = max(shifts.get(node.name, 0), min(node["shift"] + HEADROOM, MOST_SHIFT))
    stages = zip(
        *(plans(network, whole).values() for network, whole in zip(networks, wholes, strict=True)), strict=True
    )
    return Reload(shifts, tuple(map(_room_for, stages)))


def _room_for(same: Sequence[StagePlan]) -> Bounds:
    """Room for each network's layers in one stage: what one of them brings may make others take more."""
    bounds, before = Bounds(grow=True), None
    while bounds != before:
        made = [StagePlan(plan.chain, plan.share, bounds) for plan in same]
        for plan in made:
            SharedStage(plan)  # asks for all that shapes it
        before, bounds = bounds, replace(cover([plan.room.needs for plan in made]), grow=True)
    return replace(bounds, grow=False)


def _shifted(network: Network, folding: Folding) -> list[Node]:
    """The nodes outside of shared stages whose shift has room in a larger one."""
    return [node for node in outline(network, folding).nodes if node.op in SHIFTED]


def difference(shape: Sequence[Mapping[str, Any]], reload: Reload, network: Network, folding: Folding) -> str | None:
    """The first thing in `network` that a bitstream of this shape, made for that, has no place for; None if none.

    folding : the bitstream's, of its own network.
    """
    whole = adapted(folding, network)
    try:
        return _other_shape(shape, network, whole) or _no_room(network, whole.check(network), reload)
    except FoldingError as error:
        return str(error)


def _other_shape(shape: Sequence[Mapping[str, Any]], network: Network, folding: Folding) -> str | None:
    """The first thing outside of shared stages that differs."""
    nodes, given = outline(network, folding).nodes, shape_of(network, folding)
    fixed = [node for node in nodes if node.op in FIXED]
    if fixed:
        return f"node {fixed[0].name!r}: a {fixed[0].op}'s tensors are not in block RAM and cannot be exchanged"
    for here, there in zip(given, shape, strict=False):
        for key in [*here, *(key for key in there if key not in here)]:
            if here.get(key) != there.get(key):
                return f"node {here['name']!r}: {key} is {here.get(key)!r}, the bitstream's is {there.get(key)!r}"
    if len(given) != len(shape):
        return f"it has {len(given)} nodes, the bitstream {len(shape)}"
    return None


def _out_of_reach(network: Network, folding: Folding, shifts: Mapping[str, int]) -> str | None:
    """The first shift that cannot be scaled to the bitstream's."""
    low, high = shape_limits(RELOAD_MULTIPLIER)
    for node in _shifted(network, folding):
        up = shifts[node.name] - node["shift"]
        if node.op == "pool":
            if not 0 <= up <= RAISED:
                return (
                    f"node {node.name!r}: shift {node['shift']} is out of reach of the bitstream's, {shifts[node.name]}"
                )
            continue
        factor = node.tensors["multiplier"]
        if up < 0 or int(factor.min()) << up < low or int(factor.max()) << up > high:
            return (
                f"node {node.name!r}: shift {node['shift']} with multipliers of {factor.min()} to "
                f"{factor.max()} is out of reach of the bitstream's shift, {shifts[node.name]}"
            )
    return None


def _no_room(network: Network, folding: Folding, reload: Reload) -> str | None:
    """What is out of reach; FoldingError for what does not fit the bounds of the shared stages."""
    said = _out_of_reach(network, folding, reload.shifts)
    if said is None:
        for plan, bounds in zip(plans(network, folding).values(), reload.stages, strict=True):
            SharedStage(StagePlan(plan.chain, plan.share, bounds))
    return said
