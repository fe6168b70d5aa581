"""Signals of a file (signals.py) as nodes of the manifest, made when somebody needs their codes or their stream."""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from popstream.model.manifest import Node, signed_width
from popstream.model.qonnx.load import QonnxError
from popstream.model.qonnx.pools import bits_of_sums, shift_of
from popstream.model.qonnx.requant import fit
from popstream.model.qonnx.signals import Added, Layer, Levels, Pixels, Pooled, Pooling
from popstream.model.qonnx.stairs import level_at, rising_stairs, stairs_of, table_of

__all__ = ["Builder", "Check"]

WEIGHT_BITS = 8
STREAM_BITS = 16
Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Check:
    """What the file's executor must give: its `tensor` is a[c] x + b[c] of golden's value x at `node`."""

    node: str
    tensor: str
    a: tuple[Fraction, ...]
    b: tuple[Fraction, ...]


class Builder:
    """The manifest's nodes so far; `taken` says for a node of the file what became of it."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.checks: list[Check] = []
        self.taken: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.made: dict[tuple[Any, str], str] = {}
        self.bits: dict[str, int] = {}

    def add(
        self, kind: str, op: str, inputs: tuple[str, ...], tensors: dict[str, np.ndarray], **attributes: Any
    ) -> str:
        """A node called `kind` and a number."""
        self.counts[kind] += 1
        name = f"{kind}{self.counts[kind]}" if kind not in ("input", "linear") else kind
        self.nodes.append(Node(name, op, inputs, attributes, tensors))
        self.bits[name] = attributes.get("bits", 0)
        return name

    def say(self, levels: Levels, text: str) -> None:
        """What a quantizer was taken as."""
        said = self.taken.get(levels.where)
        self.taken[levels.where] = f"{said}; {text}" if said else text

    def check(self, levels: Levels, node: str, codes: bool, factor: int = 1) -> None:
        """Note what the executor gives for `node`, which has codes, or `factor` times the levels as a stream."""
        a, b = levels.quantizer.line() if codes else levels.quantizer.line_of_stream()
        a = tuple(value / factor for value in a)
        self.checks.append(Check(node, levels.tensor, a, b))

    def codes(self, source: Levels | Pixels | Pooled | Pooling) -> str:
        """The node that gives the source's codes: level u of a quantizer, the number of a pixel or sum."""
        if (source, "codes") not in self.made:
            self.made[source, "codes"] = self._codes(source)
        return self.made[source, "codes"]

    def stream(self, source: Levels | Added, factor: int) -> str:
        """The node that gives `factor` r as a stream."""
        if (source, f"stream {factor}") not in self.made:
            self.made[source, f"stream {factor}"] = self._stream(source, factor)
        return self.made[source, f"stream {factor}"]

    def _codes(self, source: Levels | Pixels | Pooled | Pooling) -> str:
        if isinstance(source, Pixels):
            return self.enter(source, (len(source.values[0]) - 1).bit_length(), {})
        if isinstance(source, Pooling):
            return self.add("maxpool", "maxpool", (self.codes(source.source),), {}, size=source.size)
        if isinstance(source, Pooled):
            return self.pool(source, bits_of_sums(source, "an average"))
        inner, bits = source.signal.source, source.quantizer.bits
        if isinstance(inner, Layer):
            thresholds, falls = self.layer_thresholds(source, inner)
            name = self.add("codes", "threshold", (self.layer(inner, falls),), dict(thresholds=thresholds), bits=bits)
            self.say(source, f"{thresholds.shape[1]} thresholds on {self.nodes[-2].name}")
        elif isinstance(inner, Added):
            thresholds, falls = rising_stairs(source, [inner.low] * source.shape[0], [inner.high] * source.shape[0])
            if falls.any():
                raise QonnxError(
                    f"{source.where}: falls with the sum that it reads in channel {int(falls.argmax())} (BatchNorm of "
                    "negative gain behind an addition), and thresholds only rise; keep such gains positive"
                )
            name = self.add("codes", "threshold", (self.stream(inner, 1),), dict(thresholds=thresholds), bits=bits)
            self.say(source, f"{thresholds.shape[1]} thresholds on {self.nodes[-1].inputs[0]}")
        elif isinstance(inner, Pooled):
            name = self.shifted(source, inner)
        elif isinstance(inner, Pixels) and len(inner.values[0]) == 256:
            name = self.enter(inner, bits, dict(table=pixel_table(source, inner)))
            self.say(source, "a table of pixels")
        else:
            name = self.recoded(source, inner)
        self.check(source, name, True)
        return name

    def enter(self, source: Pixels, bits: int, tensors: dict[str, np.ndarray]) -> str:
        """The input node; there is one."""
        if self.counts["input"]:
            raise QonnxError("its input is read by two quantizers or layers; quantize it once, and read that")
        channels, height, width = source.shape
        return self.add("input", "input", (), tensors, channels=channels, height=height, width=width, bits=bits)

    def pool(self, pooled: Pooled, bits: int, shift: int = 0, ties: str = "up") -> str:
        """The pool node over codes or a stream."""
        inner = pooled.source
        source = self.codes(inner) if isinstance(inner, Levels) else self.stream(inner, 1)
        return self.add("pool", "pool", (source,), {}, bits=bits, shift=shift, ties=ties)

    def shifted(self, levels: Levels, pooled: Pooled) -> str:
        """A quantizer's levels of an average."""
        inner = pooled.source
        how = shift_of(levels, pooled, inner.quantizer.count - 1 if isinstance(inner, Levels) else 0)
        if how is None:
            bits_of_sums(pooled, levels.where)
            return self.recoded(levels, pooled)
        self.say(levels, f"a sum shifted by {how.shift}, halves {how.ties}: exact for every sum")
        if how.table is None:
            return self.pool(pooled, how.bits, how.shift, how.ties)
        assert isinstance(inner, Levels)
        stream = self.tabled(self.codes(inner), how.table[None])
        return self.add("pool", "pool", (stream,), {}, bits=how.bits, shift=how.shift)

    def tabled(self, codes: str, table: np.ndarray) -> str:
        """A stream of the table's values for codes, [1 or C, number of codes]."""
        width = max(2, signed_width(int(table.min()), int(table.max())))
        wide = self.padded(table, codes)
        return self.add("stream", "dequantize", (codes,), dict(table=wide), stream_bits=width, fraction_bits=0)

    def layer(self, layer: Layer, falls: np.ndarray) -> str:
        """A conv node, the filters of channels in `falls` negated."""
        weights = np.where(falls[:, None, None, None], -layer.weights, layer.weights)
        source = self.codes(layer.source)
        attributes = weight_attributes(weights)
        attributes |= dict(stride=layer.stride, padding=layer.padding, kernel=weights.shape[2])
        attributes |= dict(pad_code=layer.pad_code, act_bits=self.bits[source], out_channels=len(weights))
        return self.add("conv", "conv", (source,), dict(weight=weight_codes(weights, attributes)), **attributes)

    def layer_thresholds(self, levels: Levels, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
        low, high = layer.ranges
        return rising_stairs(levels, low.tolist(), high.tolist())

    def recoded(self, source: Levels, inner: Levels | Pixels | Pooling | Pooled) -> str:
        """Codes of codes: the same where the levels are, else by a table of them."""
        given = self.codes(inner)
        table = self.recoding(source, inner)
        if (
            len(table) == 1
            and (table[0] == np.arange(table.shape[1])).all()
            and source.quantizer.bits == self.bits[given]
        ):
            self.say(source, f"the codes of {given}, as they are")
            return given
        bits = source.quantizer.bits
        stream = self.tabled(given, table)
        steps = np.tile(np.arange(1, 2**bits, dtype=np.int32), (source.shape[0], 1))
        self.say(source, f"a table of the codes of {given}")
        return self.add("codes", "threshold", (stream,), dict(thresholds=steps), bits=bits)

    def recoding(self, levels: Levels, inner: Levels | Pixels | Pooling | Pooled) -> np.ndarray:
        """The level of each code of `inner`, int64 [1 or C, number of codes]."""
        return np.array([[level_at(levels, c, u) for u in range(self.top(inner) + 1)] for c in self.rows(levels)])

    def rows(self, levels: Levels) -> range:
        """One channel for all where they are alike."""
        return range(1 if levels.signal.function.alike and len(levels.quantizer.scale) == 1 else levels.shape[0])

    def padded(self, table: np.ndarray, source: str) -> np.ndarray:
        """A table for all codes of `source`; those that do not occur as the last."""
        return np.pad(table, ((0, 0), (0, 2 ** self.bits[source] - table.shape[1])), mode="edge").astype(np.int32)

    def top(self, source: Levels | Pixels | Pooling | Pooled) -> int:
        """The greatest code."""
        if isinstance(source, Pooled):
            return source.high
        if isinstance(source, Pixels):
            return len(source.values[0]) - 1
        return self.top(source.source) if isinstance(source, Pooling) else source.quantizer.count - 1

    def _stream(self, source: Levels | Added, factor: int) -> str:
        if isinstance(source, Added):
            if factor != 1:
                raise QonnxError("a sum of two is added again at another scale; let additions share one quantizer")
            names = tuple(self.stream(operand.source, operand.factor) for operand in source.operands)
            width = signed_width(source.low, source.high)
            return self.add("add", "add", names, {}, stream_bits=max(2, width), relu=source.relu)
        if factor == 1 and isinstance(source.signal.source, Layer) and (source, "codes") not in self.made:
            name = self.requant(source, source.signal.source)
            if name is not None:
                self.check(source, name, False)
                return name
        inner, step = source.signal.source, source.quantizer.step
        if isinstance(inner, Levels | Pooling) and (source, "codes") not in self.made:
            codes = self.codes(inner)
            levels = self.recoding(source, inner)
        else:
            codes = self.codes(source)
            levels = np.arange(source.quantizer.count)[None]
        table = factor * (source.least + step * levels)
        width = signed_width(int(table.min()), int(table.max()))
        if width > STREAM_BITS:
            raise QonnxError(f"{source.where}: {factor} times its levels need {width} bits; share one scale")
        self.say(source, f"a table, levels to stream{f', {factor} times' if factor != 1 else ''}")
        name = self.tabled(codes, table)
        self.check(source, name, False, factor)
        return name

    def requant(self, levels: Levels, layer: Layer) -> str | None:
        """Multiply, add and shift, where that is exact for every sum of every channel; None where it is not."""
        quantizer = levels.quantizer
        if quantizer.step != 1:
            return None
        least, most = levels.least, levels.most
        relu = least == 0
        width = max(2, signed_width(least, most))
        below, above = (not relu and -(2 ** (width - 1)) < least), 2 ** (width - 1) - 1 > most
        low, high = layer.ranges
        channels = [
            stairs_of(levels, c, int(low[c]), int(high[c])).opened(below, above) for c in range(levels.shape[0])
        ]
        found = fit(channels, [stairs.offset for stairs in channels])
        if found is None:
            return None
        shift, ties, m, b = found
        acc = self.layer(layer, np.zeros(len(m), bool))
        attributes = dict(shift=shift, stream_bits=width, fraction_bits=0, relu=relu, ties=ties)
        sums = int(sum(high - low + 1))
        self.say(levels, f"multiply, add and shift of {acc}, F = {shift}, exact for all {sums:,} sums of its channels")
        return self.add("requant", "requant", (acc,), dict(multiplier=m, bias=b), **attributes)

    def linear(self, layer: Layer, bias: np.ndarray) -> str:
        """The sink, its classes in the rows of a 1 x 1 convolution's weights."""
        source = self.codes(layer.source)
        attributes = weight_attributes(layer.weights)
        tensors = dict(weight=weight_codes(layer.weights, attributes)[:, :, 0, 0], bias=bias)
        attributes |= dict(act_bits=self.bits[source], out_features=len(bias))
        return self.add("linear", "linear", (source,), tensors, **attributes)


def pixel_table(levels: Levels, source: Pixels) -> np.ndarray:
    """Codes uint8 [1 or C, 256] of the pixels."""
    table = table_of(levels, source).astype(np.uint8)
    return table[:1] if (table == table[:1]).all() else table


def weight_attributes(weights: np.ndarray) -> dict[str, Any]:
    """The fewest bits that hold the weights: one odd bit where all are -1 or +1, else two's complement."""
    if (np.abs(weights) == 1).all():
        return dict(weight_bits=1, weights="odd")
    width = signed_width(int(weights.min()), int(weights.max()))
    if width > WEIGHT_BITS:
        raise QonnxError(
            f"weights of {int(weights.min())} to {int(weights.max())} (some negated, for a BatchNorm of negative gain) "
            f"need {width} bits, of {WEIGHT_BITS}; take narrow weights, or no zero point"
        )
    return dict(weight_bits=width, weights="signed")


def weight_codes(weights: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    """The codes q (R2, R24)."""
    if attributes["weights"] == "odd":
        return ((weights + 1) // 2).astype(np.uint8)
    return (weights & (2 ** attributes["weight_bits"] - 1)).astype(np.uint8)
