"""Which nodes a shared stage computes, and in which layers: from the names of its convs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from popstream.hw.folding.fold import FoldingError
from popstream.hw.folding.layers import Chain, Layer, Skip
from popstream.model.manifest import Network, Node

__all__ = ["chain"]


def chain(network: Network, names: Sequence[str]) -> Chain:
    """The layers of the conv nodes `names` and of what lies between them and follows them.

    One value comes in, one goes out. FoldingError names the first node that is in the way, and why.
    """
    convs = [node for node in network.nodes if node.name in set(names)]
    source = _source(network, convs, set(names))
    inside = _inside(network, set(names), source)
    for conv in convs:
        if conv.inputs[0] not in inside | {source.name}:
            node = network.node(conv.inputs[0])
            while node.op in ("threshold", "maxpool", "prelu"):
                node = network.node(node.inputs[0])
            if node.op == "requant" and node.inputs[0] in inside:
                raise _added(node)
            raise FoldingError(
                f"Node {conv.name!r}: takes {conv.inputs[0]!r}, which its shared stage does not make; one value comes "
                f"into a stage, here {source.name!r}: leave out {conv.name!r}, or add what lies between"
            )
    end = _end(network, inside)
    layers = _Layers(network, inside, source)
    return Chain(layers.made(convs), source, layers.entry, frozenset(inside), end)


def _source(network: Network, convs: Sequence[Node], names: set[str]) -> Node:
    """What the first conv's codes are made of, if that is a stream and no other reads the codes; else the codes."""
    codes = network.node(convs[0].inputs[0])
    way = [codes]
    while way[-1].op == "maxpool":
        way.append(network.node(way[-1].inputs[0]))
    if way[-1].op != "threshold":
        return codes
    stream = network.node(way[-1].inputs[0])
    own = names | {node.name for node in way}
    alone = all(reader.name in own for node in way for reader in network.consumers(node.name))
    if stream.kind != "stream" or not alone or (len(way) > 1 and len(network.consumers(stream.name)) == 1):
        return codes
    return stream


def _inside(network: Network, names: set[str], source: Node) -> set[str]:
    """The convs, all that follows of them and of the source alone, less what only others read."""
    inside = set(names)
    for node in network.nodes:
        known = all(name in inside or name == source.name for name in node.inputs)
        if node.op in ("threshold", "maxpool", "shortcut", "prelu") and known:
            inside.add(node.name)
        if node.op == "requant" and node.inputs[0] in inside and known:
            inside.add(node.name)
    for node in reversed(network.nodes):
        if node.name not in inside or node.op in ("conv", "requant"):
            continue
        readers = {reader.name for reader in network.consumers(node.name)}
        beside = {reader.name for reader in network.consumers(node.inputs[0])} - {node.name}
        bends = node.op == "prelu" and node.inputs[0] in inside and not beside
        if not readers & inside and not bends:
            inside.remove(node.name)
    return inside


def _end(network: Network, inside: set[str]) -> Node:
    """The one node that is read outside."""
    ends = [
        (node, reader)
        for node in network.nodes
        if node.name in inside
        for reader in network.consumers(node.name)
        if reader.name not in inside
    ]
    last = ends[-1][0]
    for node, reader in ends:
        if node is last:
            continue
        if reader.op == "requant" and reader.inputs[0] == node.name:
            raise _added(reader)
        raise FoldingError(
            f"Node {node.name!r}: {reader.name!r} outside of its shared stage reads it, and {last.name!r} leaves, too; "
            f"one value leaves a stage: end it earlier, or add what lies between"
        )
    return last


def _added(requant: Node) -> FoldingError:
    """What a requant adds is neither inside nor what comes in."""
    conv, skip = requant.inputs
    return FoldingError(
        f"Node {requant.name!r}: adds {skip!r}, which is not in its shared stage; one value comes into a stage: "
        f"begin it ahead of what is added, or end it with {conv!r}"
    )


class _Layers:
    """Makes the layers: convs with what follows them, and copies for what cannot be done on the way.

    entry : the threshold that makes codes of the source as it comes in.
    """

    def __init__(self, network: Network, inside: set[str], source: Node) -> None:
        self.network = network
        self.inside = inside
        self.source = source
        self.entry: Node | None = None
        self.place = {node.name: index for index, node in enumerate(network.nodes)}
        self.done: set[str] = set()  # shortcuts and prelus on the way

    def readers(self, name: str, op: str) -> list[Node]:
        return [node for node in self.network.consumers(name) if node.op == op and node.name in self.inside]

    def made(self, convs: Sequence[Node]) -> tuple[Layer, ...]:
        layers = [self._conv(conv) for conv in convs]
        for node in self.network.nodes:
            if node.name in self.inside - self.done and node.op in ("shortcut", "prelu"):
                source = self.network.node(node.inputs[0])
                skip, prelu = (self._way(node), None) if node.op == "shortcut" else (_whole(source), node)
                layers.append(Layer(node.name, source.shape, node.shape, skip=skip, prelu=prelu))
        result: list[Layer] = []
        for layer in layers:
            marks = self.readers(layer.value, "threshold")
            first = marks[0] if marks else None
            result.append(replace(layer, threshold=first, pools=tuple(self._pools(first))))
            result += [self._codes(layer.value, node) for node in marks[1:]]
        if self.source.kind == "stream":
            marks = self.readers(self.source.name, "threshold")
            if marks and not list(self._pools(marks[0])):
                self.entry = marks.pop(0)
            result += [self._codes(self.source.name, node) for node in marks]
        return tuple(sorted(result, key=lambda layer: self.place[layer.value]))

    def _conv(self, conv: Node) -> Layer:
        codes = self.network.node(conv.inputs[0])
        layer = Layer(conv.name, codes.shape, conv.shape, conv, codes)
        if conv["kernel"] // 2 < conv["padding"]:
            raise FoldingError(
                f"Node {conv.name!r}: in a shared stage a kernel of {conv['kernel']} is padded by at most "
                f"{conv['kernel'] // 2}, not {conv['padding']}; fold it on its own"
            )
        if conv["pad_code"]:
            raise FoldingError(f"Node {conv.name!r}: a shared stage pads with code 0, not with {conv['pad_code']}")
        (requant,) = self.network.consumers(conv.name)
        if requant.op != "requant" or requant.name not in self.inside:
            return layer
        if requant["ties"] != "up":
            raise FoldingError(f"Node {requant.name!r}: halves go up in a shared stage, not to {requant['ties']}")
        skip = None
        if len(requant.inputs) == 2:
            added = self.network.node(requant.inputs[1])
            skip = _whole(added)
            if added.op == "shortcut" and added.name in self.inside and self._walks_along(conv, codes, added):
                skip = self._way(added)
                self.done.add(added.name)
        layer = replace(layer, value=requant.name, requant=requant, skip=skip)
        readers = self.network.consumers(requant.name)
        if len(readers) == 1 and readers[0].op == "prelu" and readers[0].name in self.inside:
            self.done.add(readers[0].name)
            return replace(layer, value=readers[0].name, prelu=readers[0])
        return layer

    def _walks_along(self, conv: Node, codes: Node, shortcut: Node) -> bool:
        """Whether the conv takes the shortcut's steps over what it reads, and nothing else reads the shortcut."""
        size = self.network.node(shortcut.inputs[0]).shape[1:]
        alone = len(self.network.consumers(shortcut.name)) == 1
        return alone and shortcut["stride"] == conv["stride"] and size == codes.shape[1:]

    def _way(self, shortcut: Node) -> Skip:
        source = self.network.node(shortcut.inputs[0])
        average = shortcut["stride"] == 2 and shortcut["reduce"] == "average"
        return Skip(source.name, source.shape[0], shortcut.name, shortcut["stride"], average, shortcut["pad_front"])

    def _codes(self, value: str, threshold: Node) -> Layer:
        """A copy that makes codes of a stream, beside those that were made on its way."""
        source = self.network.node(value)
        pools = tuple(self._pools(threshold))
        shape = source.shape
        return Layer(threshold.name, shape, shape, skip=_whole(source), threshold=threshold, pools=pools)

    def _pools(self, codes: Node | None) -> Iterator[Node]:
        """Max-poolings of these codes, and of those in turn."""
        for node in self.readers(codes.name, "maxpool") if codes else ():
            yield node
            yield from self._pools(node)


def _whole(stream: Node) -> Skip:
    return Skip(stream.name, stream.shape[0])
