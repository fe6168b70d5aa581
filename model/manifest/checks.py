"""Rules for a whole network: names, order, who reads whom, and where skip paths part and meet again."""

import math
from collections import defaultdict
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from popstream.model.manifest.derive import derive
from popstream.model.manifest.node import (
    MOST_GATHERED,
    MOST_NODES,
    MOST_VALUES,
    NAME,
    OPS,
    ManifestError,
    Node,
    check_fields,
)


def check_nodes(nodes: tuple[Node, ...], source: str) -> tuple[Node, ...]:
    """The nodes in topological order with shape, kind and bits filled in and read-only tensors.

    An order that is topological already is kept. Raises ManifestError, its message begun by `source`.
    """
    if len(nodes) > MOST_NODES:
        raise ManifestError(f"{source}: has {len(nodes)} nodes; at most {MOST_NODES} are allowed")
    check_names(nodes, source)
    for node in nodes:
        check_fields(node, f"{source}: node {node.name!r}")
    done: dict[str, Node] = {}
    for node in sort(nodes, source):
        where = f"{source}: node {node.name!r}"
        producers = [done[name] for name in node.inputs]
        shape, kind, bits = derive(node, producers, where)
        check_size(node, producers, shape, where)
        tensors = {key: _freeze(tensor) for key, tensor in node.tensors.items()}
        done[node.name] = replace(node, shape=shape, kind=kind, bits=bits, tensors=tensors, attributes=_told(node))
    ordered = tuple(done.values())
    check_graph(ordered, source)
    return ordered


def check_size(node: Node, producers: list[Node], shape: tuple[int, int, int], where: str) -> None:
    """Raise ManifestError where one image would need more memory than is sensible; nothing has been allocated yet."""
    if node.op == "conv":
        gathered = node["kernel"] ** 2 * producers[0].shape[0] * math.prod(shape[1:])
        if gathered > MOST_GATHERED:
            raise ManifestError(
                f"{where}: a kernel of {node['kernel']} over {_by(producers[0].shape)} values reads {gathered:,} of "
                f"them, more than {MOST_GATHERED:,}; take smaller images"
            )
    if math.prod(shape) > MOST_VALUES:
        raise ManifestError(f"{where}: {_by(shape)} values are more than {MOST_VALUES:,}; take smaller images")


def _by(shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, shape))


def _told(node: Node) -> dict[str, Any]:
    """The attributes less those at their default, so that a network is saved and hashed alike however it was given."""
    defaults = OPS[node.op].defaults.items()
    return {key: value for key, value in node.attributes.items() if (key, value) not in defaults}


def _freeze(tensor: np.ndarray) -> np.ndarray:
    copy = np.array(tensor, order="C")
    copy.setflags(write=False)
    return copy


def check_names(nodes: tuple[Node, ...], source: str) -> None:
    """Names must be usable as port names, distinct (a dot counts as an underscore), and every input known."""
    seen: dict[str, str] = {}
    for node in nodes:
        if not isinstance(node.name, str) or not NAME.fullmatch(node.name):
            raise ManifestError(
                f"{source}: node {node.name!r}: a name must be a letter, then at most 99 letters, digits, '_' or '.'"
            )
        port = node.name.replace(".", "_")
        if port in seen:
            raise ManifestError(f"{source}: node {node.name!r}: the name is taken by node {seen[port]!r}")
        seen[port] = node.name
    names = set(seen.values())
    for node in nodes:
        for name in node.inputs:
            if name not in names:
                raise ManifestError(f"{source}: node {node.name!r}: unknown input {name!r}")


def sort(nodes: tuple[Node, ...], source: str) -> tuple[Node, ...]:
    """The nodes in topological order; the given order if it is one."""
    place = {node.name: index for index, node in enumerate(nodes)}
    try:
        order = list(TopologicalSorter({node.name: node.inputs for node in nodes}).static_order())
    except CycleError as error:
        cycle = error.args[1]
        raise ManifestError(f"{source}: node {cycle[0]!r}: lies on a cycle, {' -> '.join(cycle)}") from None
    if all(place[name] < place[node.name] for node in nodes for name in node.inputs):
        return nodes
    return tuple(nodes[place[name]] for name in order)


def check_graph(nodes: tuple[Node, ...], source: str) -> None:
    """One input, one linear sink that every node reaches, accumulators read once, and well-formed skip paths."""
    by_name = {node.name: node for node in nodes}
    readers: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        for name in node.inputs:
            readers[name].append(node.name)
    for op, title in (("input", "input"), ("linear", "sink (a linear node)")):
        found = [node.name for node in nodes if node.op == op]
        if len(found) != 1:
            names = f" ({', '.join(found)})" if found else ""
            raise ManifestError(f"{source}: a network has exactly one {title}, not {len(found)}{names}")
    for node in nodes:
        where = f"{source}: node {node.name!r}"
        count = len(readers[node.name])
        if node.kind != "logits" and not count:
            raise ManifestError(f"{where}: its output is read by no node; every node must reach the sink")
        if node.kind == "acc" and count != 1:
            raise ManifestError(f"{where}: an accumulator is read by exactly one node, not by {count}")
        if len(node.inputs) == 2:
            fork, chains = fork_of(node, by_name)
            if fork is None:
                raise ManifestError(f"{where}: its inputs do not meet at one fork over two unbranched chains")
            for name in (name for chain in chains for name in chain):
                if len(readers[name]) != 1:
                    raise ManifestError(f"{where}: node {name!r} on the way from fork {fork!r} is read more than once")
            first, second = (by_name[name] for name in node.inputs)
            scales = [fraction_bits(n, by_name) for n in (node if first.kind == "acc" else first, second)]
            if scales[0] != scales[1] and first.kind == "acc":
                raise ManifestError(f"{where}: attribute 'fraction_bits' is {scales[0]}, but the skip has {scales[1]}")
            if scales[0] != scales[1]:
                raise ManifestError(
                    f"{where}: fraction bits to add must be equal, but {first.name!r} has {scales[0]} and "
                    f"{second.name!r} {scales[1]}"
                )


def fork_of(node: Node, by_name: dict[str, Node]) -> tuple[str | None, tuple[list[str], list[str]]]:
    """The node whose output both inputs of `node` derive from, and the names between it and each input.

    Chains are listed from the input back to the fork, the fork left out; (None, ...) where there is no such node.
    """
    paths = []
    for name in node.inputs:
        path = [name]
        while len(by_name[path[-1]].inputs) == 1:
            path.append(by_name[path[-1]].inputs[0])
        paths.append(path)
    main, skip = paths
    fork = next((name for name in main if name in skip), None)
    if fork is None:
        return None, (main, skip)
    return fork, (main[: main.index(fork)], skip[: skip.index(fork)])


def fraction_bits(node: Node, by_name: dict[str, Node]) -> int:
    """Fraction bits of a stream: those of the requant or dequantize node that it comes from."""
    while node.op in ("shortcut", "prelu", "add"):
        node = by_name[node.inputs[0]]
    return node["fraction_bits"]
