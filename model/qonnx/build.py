"""Signals of a file (signals.py) as nodes of the manifest, made when somebody needs their codes or their stream."""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from popstream.model.manifest import Node, signed_width
from popstream.model.qonnx.layers import weight_attributes, weight_codes
from popstream.model.qonnx.load import QonnxError
from popstream.model.qonnx.pools import bits_of_sums, shift_of
from popstream.model.qonnx.requant import fit
from popstream.model.qonnx.signals import SHARE, STREAM_BITS, Added, Layer, Levels, Operand, Pixels, Pooled, Pooling
from popstream.model.qonnx.stairs import level_at, rising_stairs, stairs_of, table_of
from popstream.model.qonnx.uneven import small_tables

__all__ = ["Builder", "Check"]

ALWAYS = -(2**62)


@dataclass(frozen=True)
class Check:
    """What the file's executor must give: its `tensor` is a[c] u + b[c], u golden's value at `node`, or the place of
    that value in `values`; there are `levels` of them.
    """

    node: str
    tensor: str
    a: tuple[Fraction, ...]
    b: tuple[Fraction, ...]
    levels: int
    values: tuple[int, ...] | None = None


class Builder:
    """The manifest's nodes so far; `taken` says for a node of the file what became of it."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.checks: list[Check] = []
        self.taken: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.made: dict[tuple[Any, Any], str] = {}
        self.bits: dict[str, int] = {}

    def add(
        self, kind: str, op: str, inputs: tuple[str, ...], tensors: dict[str, np.ndarray], **attributes: Any
    ) -> str:
        """A node called `kind` and a number."""
        self.counts[kind] += 1
        name = f"{kind}{self.counts[kind]}" if kind not in ("input", "linear") else kind
        self.nodes.append(Node(name, op, inputs, attributes, tensors))
        self.bits[name] = self.bits[inputs[0]] if op == "maxpool" else attributes.get("bits", 0)
        return name

    def say(self, levels: Levels, text: str) -> None:
        """What a quantizer was taken as."""
        said = self.taken.get(levels.where)
        self.taken[levels.where] = f"{said}; {text}" if said else text

    def check(self, levels: Levels, node: str, values: tuple[int, ...] | None = None) -> None:
        """Note what the executor gives for `node`, which has the levels as codes, or a value for each as a stream."""
        quantizer = levels.quantizer
        self.checks.append(Check(node, levels.tensor, *quantizer.line(), quantizer.count, values))

    def codes(self, source: Levels | Pixels | Pooled | Pooling) -> str:
        """The node that gives the source's codes: level u of a quantizer, the number of a pixel or sum."""
        if (source, "codes") not in self.made:
            self.made[source, "codes"] = self._codes(source)
        return self.made[source, "codes"]

    def stream(self, source: Levels | Added, values: tuple[int, ...] | None = None) -> str:
        """The node that gives the source's whole numbers as a stream; of levels others, a value for each, if given."""
        if isinstance(source, Levels) and values is None:
            values = tuple(source.values.tolist())
        if (source, values) not in self.made:
            self.made[source, values] = (
                self._added(source) if isinstance(source, Added) else self._stream(source, values or ())
            )
        return self.made[source, values]

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
            name = self.marked(source, self.layer(inner, falls), thresholds)
        elif isinstance(inner, Added):
            name = self.summed(source, inner)
        elif isinstance(inner, Pooled):
            name = self.shifted(source, inner)
        elif isinstance(inner, Pixels) and len(inner.values[0]) == 256:
            name = self.enter(inner, bits, dict(table=pixel_table(source, inner)))
            self.say(source, "a table of pixels")
        else:
            name = self.recoded(source, inner)
        self.check(source, name)
        return name

    def marked(self, levels: Levels, name: str, thresholds: np.ndarray) -> str:
        """Codes of a node's values by thresholds [C, 2^bits - 1]."""
        self.say(levels, f"{thresholds.shape[1]} thresholds on {name}")
        tensors = dict(thresholds=thresholds.astype(np.int32))
        return self.add("codes", "threshold", (name,), tensors, bits=levels.quantizer.bits)

    def summed(self, levels: Levels, added: Added) -> str:
        """Codes of a sum of two; of scales that no stream holds as whole numbers by others that give the same codes."""
        thresholds, falls = rising_stairs(levels, [added.low] * levels.shape[0], [added.high] * levels.shape[0])
        if falls.any():
            raise QonnxError(
                f"{levels.where}: falls with the sum that it reads in channel {int(falls.argmax())} (BatchNorm of "
                "negative gain behind an addition), and thresholds only rise; keep such gains positive"
            )
        if not added.uneven:
            return self.marked(levels, self.stream(added), thresholds)
        wanted = np.where(thresholds <= added.low, ALWAYS, thresholds)  # of a sum before its ReLU, too
        first, second = added.operands
        found = small_tables(first.values, second.values, wanted)
        if found is None:
            raise QonnxError(
                f"{added.where}, and no tables of {STREAM_BITS} bits give every code of {levels.where}; {SHARE}"
            )
        names = tuple(self.operand(o, x) for o, x in zip(added.operands, found, strict=False))
        self.say(levels, "tables of what is added, exact for every pair")
        name = self.add("add", "add", names, {}, stream_bits=STREAM_BITS, relu=False)
        return self.marked(levels, name, found[2])

    def operand(self, operand: Operand, values: np.ndarray) -> str:
        """The stream of one that is added: a value for each of its levels; of a sum its own."""
        if isinstance(operand.source, Levels):
            return self.stream(operand.source, tuple(values.tolist()))
        if operand.factor != 1:
            raise QonnxError(f"{operand.source.where}, and is added again at another scale; {SHARE}")
        return self.stream(operand.source)

    def enter(self, source: Pixels, bits: int, tensors: dict[str, np.ndarray]) -> str:
        """The input node; there is one."""
        if self.counts["input"]:
            raise QonnxError("its input is read by two quantizers or layers; quantize it once, and read that")
        channels, height, width = source.shape
        return self.add("input", "input", (), tensors, channels=channels, height=height, width=width, bits=bits)

    def pool(self, pooled: Pooled, bits: int, shift: int = 0, ties: str = "up") -> str:
        """The pool node over codes or a stream."""
        inner = pooled.source
        source = self.codes(inner) if isinstance(inner, Levels) else self.stream(inner)
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

    def _added(self, source: Added) -> str:
        if source.uneven:
            raise QonnxError(f"{source.where}, and what reads the sum is no quantizer; {SHARE}")
        names = tuple(self.operand(operand, operand.values) for operand in source.operands)
        width = signed_width(source.low, source.high)
        return self.add("add", "add", names, {}, stream_bits=max(2, width), relu=source.relu)

    def _stream(self, source: Levels, values: tuple[int, ...]) -> str:
        inner, own, seen = source.signal.source, tuple(source.values.tolist()), (source, "codes") in self.made
        if values == own and isinstance(inner, Layer) and not seen:
            name = self.requant(source, inner)
            if name is not None:
                self.check(source, name, values)
                return name
        if isinstance(inner, Levels | Pooling) and not seen:
            codes, levels = self.codes(inner), self.recoding(source, inner)
        else:
            codes, levels = self.codes(source), np.arange(source.quantizer.count)[None]
        self.say(source, f"a table, levels to {'stream' if values == own else 'other values of a stream'}")
        name = self.tabled(codes, np.array(values)[levels])
        self.check(source, name, values)
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
