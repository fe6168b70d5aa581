"""What a shared stage computes: a chain of convolutions, each with the thresholds before and the addition behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from popstream.hw.folding.fold import FoldingError
from popstream.model.manifest import Network, Node

__all__ = ["Layer", "Skip", "chain"]


@dataclass(frozen=True)
class Skip:
    """A stream that is added: `source` as it is, or by way of the shortcut node `node`.

    stride 2 takes every second pixel or, with `average`, means of 2 x 2; channel c of it becomes pad_front + c.
    """

    source: str
    channels: int
    node: str | None = None
    stride: int = 1
    average: bool = False
    pad_front: int = 0


@dataclass(frozen=True, eq=False)
class Layer:
    """One conv node of the chain.

    threshold : makes its codes. requant : makes a stream of its sums; None where they go to thresholds at once.
    skip : what the requant adds. kept : a shortcut that is written to memory in this layer, to be added in a later one.
    given, made : [C, H, W] of input and output.
    """

    conv: Node
    threshold: Node
    requant: Node | None
    skip: Skip | None
    given: tuple[int, int, int]
    kept: Skip | None = None

    @property
    def made(self) -> tuple[int, int, int]:
        channels, height, width = self.conv.shape
        return channels, height, width

    @property
    def read(self) -> Skip | None:
        """What is read from the stream memory, to be added or to be kept."""
        return self.skip or self.kept

    @property
    def stored(self) -> str:
        """The stream that is written to memory, if any later layer reads it there."""
        return str(self.kept.node) if self.kept else self.value

    @property
    def value(self) -> str:
        """The node whose values the next thresholds, and additions, take."""
        return self.conv.name if self.requant is None else self.requant.name


def chain(network: Network, names: Sequence[str]) -> list[Layer]:
    """The layers of the conv nodes `names`, each of which takes what the one before it made.

    FoldingError names the first node that a shared stage cannot compute, and why.
    """
    result: list[Layer] = []
    for name in names:
        conv = network.node(name)
        codes = network.node(conv.inputs[0])
        if codes.op != "threshold":
            raise FoldingError(
                f"Node {name!r}: a shared stage takes codes of a threshold, not of {codes.op} {codes.name!r}"
            )
        if result and codes.inputs[0] != result[-1].value:
            raise FoldingError(
                f"Node {name!r}: must take what {result[-1].value!r} gives, which comes before it in its shared stage, "
                f"not {codes.inputs[0]!r}"
            )
        if not result and network.node(codes.inputs[0]).kind != "stream":
            raise FoldingError(f"Node {name!r}: a shared stage begins with a stream, not with {codes.inputs[0]!r}")
        result.append(_layer(network, conv, codes))
    _alike(result)
    _only_inside(network, result)
    return _shortcuts(network, result)


def _layer(network: Network, conv: Node, codes: Node) -> Layer:
    readers = network.consumers(conv.name)
    given = network.node(codes.name).shape
    if len(readers) != 1 or readers[0].op not in ("requant", "threshold"):
        told = ", ".join(f"{node.op} {node.name!r}" for node in readers)
        raise FoldingError(f"Node {conv.name!r}: in a shared stage one requant or threshold reads a conv, not {told}")
    if conv["weights"] != "odd":
        raise FoldingError(f"Node {conv.name!r}: weights of a shared stage are odd, not {conv['weights']}")
    if conv["padding"] != conv["kernel"] // 2 or conv["kernel"] % 2 == 0:
        raise FoldingError(
            f"Node {conv.name!r}: kernels of a shared stage are odd and padded by their half, not "
            f"{conv['kernel']} padded by {conv['padding']}"
        )
    if conv["pad_code"]:
        raise FoldingError(f"Node {conv.name!r}: a shared stage pads with code 0, not with {conv['pad_code']}")
    others = [node.name for node in network.consumers(codes.name) if node is not conv]
    if others:
        raise FoldingError(f"Node {codes.name!r}: only {conv.name!r} may read it in a shared stage, not {others[0]!r}")
    if readers[0].op == "requant" and readers[0]["ties"] != "up":
        raise FoldingError(f"Node {readers[0].name!r}: halves go up in a shared stage, not to {readers[0]['ties']}")
    if conv["stride"] > 2:
        raise FoldingError(f"Node {conv.name!r}: strides of a shared stage are 1 and 2, not {conv['stride']}")
    if readers[0].op == "threshold":
        return Layer(conv, codes, None, None, given)
    return Layer(conv, codes, readers[0], _skip(network, readers[0]), given)


def _skip(network: Network, requant: Node) -> Skip | None:
    if len(requant.inputs) == 1:
        return None
    node = network.node(requant.inputs[1])
    if node.op != "shortcut":
        return Skip(node.name, node.shape[0])
    source = network.node(node.inputs[0])
    average = node["stride"] == 2 and node["reduce"] == "average"
    return Skip(source.name, source.shape[0], node.name, node["stride"], average, node["pad_front"])


def _alike(layers: Sequence[Layer]) -> None:
    """All of one kernel and of the same bits."""
    first = layers[0].conv
    for layer in layers[1:]:
        for key in ("kernel", "weight_bits", "act_bits"):
            if layer.conv[key] != first[key]:
                raise FoldingError(
                    f"Node {layer.conv.name!r}: {key} must be that of {first.name!r} in one shared stage, "
                    f"{first[key]}, not {layer.conv[key]}"
                )


def _only_inside(network: Network, layers: Sequence[Layer]) -> None:
    """Nothing but the last layer's value is read outside, and nothing else from outside is added."""
    source = layers[0].threshold.inputs[0]
    inside = {source} | {layer.value for layer in layers}
    names = {layer.requant.name for layer in layers if layer.requant} | {layer.threshold.name for layer in layers}
    names |= {layer.skip.node for layer in layers if layer.skip and layer.skip.node}
    for layer in layers:
        if layer.skip and layer.skip.source not in inside:
            raise FoldingError(f"Node {layer.value!r}: adds {layer.skip.source!r}, which is not in its shared stage")
        readers = {node.name for node in network.consumers(layer.value)} - {None}
        if layer is not layers[-1] and not readers <= names:
            raise FoldingError(f"Node {layer.value!r}: {min(readers - names)!r} outside of its shared stage reads it")
    if layers[-1].requant is None:
        raise FoldingError(f"Node {layers[-1].conv.name!r}: a shared stage ends with a requant")


def _shortcuts(network: Network, layers: list[Layer]) -> list[Layer]:
    """Additions by way of a shortcut of stride 2, given to a layer that walks over the shortcut's pixels."""
    for index, layer in enumerate(layers):
        skip = layer.skip
        if skip is None or skip.stride == 1:
            continue
        size = network.node(skip.source).shape[1:]
        if layer.conv["stride"] == 2 and layer.given[1:] == size:
            continue
        shape = network.node(str(skip.node)).shape
        for early, other in enumerate(layers[:index]):
            free = other.requant is None and other.kept is None
            if free and other.conv["stride"] == 2 and other.given[1:] == size and other.made == shape:
                layers[early] = replace(other, kept=skip)
                layers[index] = replace(layer, skip=Skip(str(skip.node), shape[0]))
                break
        else:
            raise FoldingError(f"Node {layer.value!r}: no layer of its shared stage takes the steps of {skip.node!r}")
    return layers
