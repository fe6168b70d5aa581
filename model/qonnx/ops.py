"""Each op of the manifest as nodes of QONNX, exact in its executor.

A node's output is a tensor of its name. Codes, sums and streams are whole numbers in float32, which holds all below
2^24; what may pass that (R5, R10, R12) is computed in int64, and returns to float32 where it is small again. Division
of int64 truncates in ONNX, so that `>>` is written as (x - x mod 2^n) / 2^n, with Mod's sign that of the divisor.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from popstream.model.manifest import ManifestError, Node, accumulator_range, node_weights
from popstream.model.qonnx.graph import BOOL, DOUBLE, FLOAT, INT64, Graph

__all__ = ["EXACT", "OPS", "channels", "looked_up"]

EXACT = 2**24  # float32 holds all whole numbers up to here


def channels(values: np.ndarray) -> np.ndarray:
    """A value a channel, to be combined with [N, C, H, W]."""
    return np.asarray(values).reshape(1, -1, 1, 1)


def weights(graph: Graph, node: Node) -> str:
    """The integers w through the quantizer that they keep to; the tensor's name.

    Odd ones of one bit are bipolar; of W bits they are narrow ones of W + 1. One signed bit is written as two, since
    the executor takes one bit for a sign.
    """
    bits, odd = node["weight_bits"], node["weights"] == "odd"
    w = node_weights(node)
    w = w if w.ndim == 4 else w.T
    stored = graph.constant(f"{node.name}.weight", w)
    one = graph.constant("one", 1)
    if odd and bits == 1:
        return graph.add("BipolarQuant", f"{node.name}.weights", [stored, one], w.shape)
    width = bits + 1 if odd else max(bits, 2)
    inputs = [stored, one, graph.constant("zero", 0), graph.constant(f"bits{width}", width)]
    return graph.add(
        "Quant", f"{node.name}.weights", inputs, w.shape, signed=1, narrow=int(odd), rounding_mode="ROUND"
    )  # fmt: skip


def check_sums(node: Node) -> None:
    """ManifestError unless float32 holds every sum of products."""
    low, high = accumulator_range(node)
    reach = int(max(-low.min(), high.max()))
    if reach > EXACT:
        raise ManifestError(
            f"node {node.name!r}: its sums reach {reach:,}, and ONNX adds in float32, exact to {EXACT:,}; "
            "a network with fewer bits or inputs there can be written"
        )


def conv(graph: Graph, node: Node, source: str) -> None:
    """Conv over codes (R14); a pad code (R28) goes around the codes before."""
    check_sums(node)
    k, s, p = node["kernel"], node["stride"], node["padding"]
    shape = (1, *node.shape)
    if p and node["pad_code"]:
        _, c, h, w = graph.shapes[source]
        pads = graph.constant(f"pads{p}", [0, 0, p, p] * 2, np.int64)
        code = graph.constant(f"code{node['pad_code']}", node["pad_code"])
        source = graph.add("Pad", f"{node.name}.padded", [source, pads, code], (1, c, h + 2 * p, w + 2 * p))
        p = 0
    inputs = [source, weights(graph, node)]
    graph.add("Conv", node.name, inputs, shape, kernel_shape=[k, k], strides=[s, s], pads=[p] * 4)


def threshold(graph: Graph, node: Node, source: str) -> None:
    """MultiThreshold, which counts x >= T as R4 does; float64 where a threshold is beyond 2^24."""
    t = node.tensors["thresholds"]
    wide = int(np.abs(t.astype(np.int64)).max()) > EXACT
    stored = graph.constant(f"{node.name}.thresholds", t, np.float64 if wide else np.float32)
    graph.add("MultiThreshold", node.name, [source, stored], (1, *node.shape), out_dtype=f"UINT{node['bits']}")


class Whole:
    """Whole numbers in int64: each step of a node's arithmetic gets a tensor behind the node's name."""

    def __init__(self, graph: Graph, node: Node):
        self.graph, self.node, self.steps = graph, node, 0

    def _name(self, op: str) -> str:
        self.steps += 1
        return f"{self.node.name}.{self.steps}.{op.lower()}"

    def take(self, source: str) -> str:
        return self.graph.cast(self._name("cast"), source, INT64)

    def constant(self, name: str, value: Any) -> str:
        return self.graph.constant(name, value, np.int64)

    def step(self, op: str, *inputs: str, kind: int = INT64, **more: Any) -> str:
        shape = np.broadcast_shapes(*(self.graph.shapes[name] for name in inputs))
        return self.graph.add(op, self._name(op), inputs, shape, kind, **more)

    def number(self, value: int) -> str:
        return self.constant(f"int{value}", value)

    def shift(self, source: str, count: int) -> str:
        """source >> count."""
        if not count:
            return source
        divisor = self.number(2**count)
        return self.step("Div", self.step("Sub", source, self.step("Mod", source, divisor, fmod=0)), divisor)

    def nearest(self, source: str, count: int, ties: str) -> str:
        """source / 2^count, where halves count up, and `source` has half of 2^count added already, or to even (R25)."""
        if ties == "even" and count:
            odd = self.step("Mod", self.shift(source, count), self.number(2), fmod=0)
            is_tie = self.step(
                "Equal", self.step("Mod", source, self.number(2**count), fmod=0), self.number(0), kind=BOOL
            )
            down = self.step("Where", is_tie, odd, self.number(0))
            return self.step("Sub", self.shift(source, count), down)
        return self.shift(source, count)

    def give(self, source: str, low: int, high: int) -> None:
        """The node's output: `source` within low..high, in float32."""
        clipped = self.step("Clip", source, self.number(low), self.number(high))
        self.graph.cast(self.node.name, clipped, FLOAT)


def requant(graph: Graph, node: Node, source: str, skip: str | None = None) -> None:
    """R5, R6 and R7; B is stored with the half of R5 added."""
    whole, count, limit = Whole(graph, node), node["shift"], 2 ** (node["stream_bits"] - 1)
    m = whole.constant(f"{node.name}.multiplier", channels(node.tensors["multiplier"]))
    b = whole.constant(f"{node.name}.bias", channels(node.tensors["bias"] + 2 ** (count - 1)))
    y = whole.nearest(whole.step("Add", whole.step("Mul", whole.take(source), m), b), count, node["ties"])
    if skip is not None:
        y = whole.step("Add", y, whole.take(skip))
    whole.give(y, 0 if node["relu"] else -limit, limit - 1)


def add(graph: Graph, node: Node, first: str, second: str) -> None:
    """R26."""
    whole, limit = Whole(graph, node), 2 ** (node["stream_bits"] - 1)
    total = whole.step("Add", whole.take(first), whole.take(second))
    whole.give(total, 0 if node["relu"] else -limit, limit - 1)


def looked_up(graph: Graph, node: Node, source: str) -> None:
    """R27 and R29: the table's rows behind one another, and a code's place in them."""
    whole, table = Whole(graph, node), node.tensors["table"]
    place = whole.take(source)
    if len(table) > 1:
        rows = whole.constant(f"{node.name}.rows", channels(np.arange(len(table)) * table.shape[1]))
        place = whole.step("Add", place, rows)
    stored = graph.constant(f"{node.name}.table", table.reshape(-1))
    graph.add("Gather", node.name, [stored, place], (1, *node.shape), axis=0)


def prelu(graph: Graph, node: Node, source: str) -> None:
    """R12."""
    whole, count, limit = Whole(graph, node), node["shift"], 2 ** (node["stream_bits"] - 1)
    below, slope, after = (
        whole.constant(f"{node.name}.{key}", channels(node.tensors[key])) for key in ("shift_in", "slope", "shift_out")
    )
    d = whole.step("Sub", whole.take(source), below)
    scaled = whole.step("Add", whole.step("Mul", d, slope), whole.number(2 ** (count - 1)))
    falls = whole.step("Less", d, whole.number(0), kind=BOOL)
    p = whole.step("Where", falls, whole.shift(scaled, count), d)
    whole.give(whole.step("Add", p, after), -limit, limit - 1)


def shortcut(graph: Graph, node: Node, source: str) -> None:
    """R8 or R9, then zero channels around (R16); sums of four numbers of 16 bits and their quarters are exact."""
    _, c, h, w = graph.shapes[source]
    out, rows, columns = node.shape
    front, steps = node["pad_front"], node["stride"] == 2
    padded = out != c
    if steps:
        shape = (1, c, rows, columns)
        name = f"{node.name}.pixels" if padded else node.name
        if node["reduce"] == "average":
            mean = graph.add(
                "AveragePool", f"{node.name}.mean", [source], shape, kernel_shape=[2, 2], strides=[2, 2]
            )  # fmt: skip
            up = graph.add("Add", f"{node.name}.half", [mean, graph.constant("half", 0.5)], shape)
            source = graph.add("Floor", name, [up], shape)
        else:
            whole = Whole(graph, node)
            bounds = [
                whole.constant(key, value)
                for key, value in (("from", [0, 0]), (f"to{h}x{w}", [h, w]), ("axes", [2, 3]), ("steps", [2, 2]))
            ]
            source = graph.add("Slice", name, [source, *bounds], shape)
    if padded:
        pads = graph.constant(f"{node.name}.pads", [0, front, 0, 0, 0, out - c - front, 0, 0], np.int64)
        graph.add("Pad", node.name, [source, pads, graph.constant("zero", 0)], (1, *node.shape))
    elif not steps:
        graph.add("Identity", node.name, [source], (1, *node.shape))


def maxpool(graph: Graph, node: Node, source: str) -> None:
    """R13."""
    size = [node["size"]] * 2
    graph.add("MaxPool", node.name, [source], (1, *node.shape), kernel_shape=size, strides=size)


def pool(graph: Graph, node: Node, source: str) -> None:
    """R10."""
    whole, count = Whole(graph, node), node["shift"]
    total = graph.add(
        "ReduceSum", f"{node.name}.sum", [whole.take(source), whole.constant("axes", [2, 3])], (1, *node.shape), INT64
    )  # fmt: skip
    if count:
        total = whole.step("Add", total, whole.number(2 ** (count - 1)))
    whole.give(whole.nearest(total, count, node["ties"]), 0, 2 ** node["bits"] - 1)


def linear(graph: Graph, node: Node, source: str) -> None:
    """R17: the logits [1, O]; in float64 where a bias takes them beyond float32's whole numbers."""
    check_sums(node)
    bias = node.tensors["bias"].astype(np.int64)
    low, high = accumulator_range(node)
    wide = max(-int((low + bias).min()), int((high + bias).max()), int(np.abs(bias).max())) > EXACT
    kind, dtype = (DOUBLE, np.float64) if wide else (FLOAT, np.float32)
    shape = (1, node["out_features"])
    flat = graph.add("Flatten", f"{node.name}.flat", [source], (1, graph.shapes[source][1]), axis=1)
    sums = graph.add("MatMul", f"{node.name}.sums", [flat, weights(graph, node)], shape)
    sums = graph.cast(f"{node.name}.wide", sums, DOUBLE) if wide else sums
    graph.add("Add", node.name, [sums, graph.constant(f"{node.name}.bias", bias[None], dtype)], shape, kind)


OPS: dict[str, Callable[..., None]] = {
    "conv": conv,
    "threshold": threshold,
    "requant": requant,
    "add": add,
    "dequantize": looked_up,
    "prelu": prelu,
    "shortcut": shortcut,
    "maxpool": maxpool,
    "pool": pool,
    "linear": linear,
}
