"""What a shared stage does with its unit, layer by layer: the parts of a chain (hw.folding.chain)."""

from __future__ import annotations

from dataclasses import dataclass

from popstream.model.manifest import Node

__all__ = ["Chain", "Layer", "Skip"]


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
    """A conv and what follows it; or a copy, which has none, and makes something of a stream that lies in memory.

    conv : takes `codes`, the node of a threshold, of a max-pooling, or of what comes in. Both are None in a copy.
    requant : makes a stream of its sums; None where they go on as they are. skip : what is added, or copied.
    prelu : bends the sum. threshold : makes codes of it. pools : max-poolings, each of codes that are there by then.
    given, made : [C, H, W] of what is walked over, and of what comes of it. value : the node that is made.
    """

    value: str
    given: tuple[int, int, int]
    made: tuple[int, int, int]
    conv: Node | None = None
    codes: Node | None = None
    requant: Node | None = None
    skip: Skip | None = None
    prelu: Node | None = None
    threshold: Node | None = None
    pools: tuple[Node, ...] = ()

    @property
    def stride(self) -> int:
        """Of the walk: columns and rows of what is given for one of what is made."""
        if self.conv is not None:
            return int(self.conv["stride"])
        return self.skip.stride if self.skip else 1

    @property
    def kernel(self) -> int:
        return int(self.conv["kernel"]) if self.conv is not None else 1

    @property
    def direct(self) -> bool:
        """Whether sums go on as they are."""
        return self.conv is not None and self.requant is None


@dataclass(frozen=True, eq=False)
class Chain:
    """The layers of a shared stage in their order.

    source : the node whose values come in, a stream or codes. threshold : makes codes of them as they come.
    inside : names of all nodes that the stage computes. end : the one that leaves: a stream, or a conv's sums.
    """

    layers: tuple[Layer, ...]
    source: Node
    threshold: Node | None
    inside: frozenset[str]
    end: Node

    @property
    def name(self) -> str:
        """By which it is told: that of its first conv."""
        return next(layer.conv.name for layer in self.layers if layer.conv is not None)
