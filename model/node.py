"""One node of an integer network: its attributes, its tensors, and what each op allows and produces.

Three kinds of values flow between nodes, each of shape (C, H, W): codes (unsigned A bits), acc (signed
accumulator) and stream (signed R bits). The last node produces logits (signed 32 bits). The integer
semantics of the ops are in sim/golden.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CODE_BITS = range(1, 9)
STREAM_BITS = range(2, 17)
SHIFTS = range(1, 32)
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
POSITIVE = range(1, 2**16)


class ManifestError(ValueError):
    """A network is damaged or breaks a rule; one line: the file, the node, the tensor, what was given and allowed."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. `tensors` maps local names ("weight") to arrays; `attributes` is op specific.

    shape (C, H, W), kind ("codes", "acc", "stream" or "logits") and bits (A, the accumulator's signed width, R, or
    32) describe the output; Network fills them in.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    shape: tuple[int, int, int] = (0, 0, 0)
    kind: str = ""
    bits: int = 0

    def __getitem__(self, attribute: str) -> Any:
        return self.attributes[attribute]


@dataclass(frozen=True)
class Op:
    """What one op takes: the kinds allowed at each input (the last `optional` may be left out), attributes, tensors.

    An attribute's rule is a range or a tuple of the allowed values, a tensor's its dtype.
    """

    inputs: tuple[tuple[str, ...], ...]
    attributes: dict[str, range | tuple]
    tensors: dict[str, str]
    optional: int = 0


OPS = {
    "input": Op((), {"channels": POSITIVE, "height": POSITIVE, "width": POSITIVE, "bits": CODE_BITS}, {}),
    "conv": Op(
        (("codes",),),
        {
            "out_channels": POSITIVE,
            "kernel": range(1, 32, 2),
            "stride": (1, 2),
            "padding": range(31),
            "weight_bits": CODE_BITS,
            "act_bits": CODE_BITS,
        },
        {"weight": "uint8"},
    ),
    "threshold": Op((("acc", "stream"),), {"bits": CODE_BITS}, {"thresholds": "int32"}),
    "requant": Op(
        (("acc",), ("stream",)),
        {"shift": SHIFTS, "stream_bits": STREAM_BITS, "fraction_bits": range(32), "relu": (False, True)},
        {"multiplier": "int32", "bias": "int64"},
        optional=1,
    ),
    "shortcut": Op(
        (("stream",),),
        {"stride": (1, 2), "reduce": ("sample", "average"), "out_channels": POSITIVE, "pad_front": range(2**16)},
        {},
    ),
    "pool": Op((("stream",),), {"bits": CODE_BITS, "shift": range(32)}, {}),
    "linear": Op(
        (("codes",),),
        {"out_features": POSITIVE, "weight_bits": CODE_BITS, "act_bits": CODE_BITS},
        {"weight": "uint8", "bias": "int32"},
    ),
}


def describe(rule: range | tuple) -> str:
    """The allowed values in words."""
    if isinstance(rule, range):
        step = f" in steps of {rule.step}" if rule.step != 1 else ""
        return f"an integer {rule[0]} to {rule[-1]}{step}"
    return "one of " + ", ".join(repr(v) for v in rule)


def check_value(value: Any, rule: range | tuple, where: str) -> None:
    """Raise ManifestError unless `value` is of the rule's type and one of its values."""
    wanted = int if isinstance(rule, range) else type(rule[0])
    if type(value) is not wanted or value not in rule:
        raise ManifestError(f"{where} must be {describe(rule)}, not {value!r}")


def signed_width(low: int, high: int) -> int:
    """Smallest two's-complement width that holds low..high; at least 1."""
    if low > high:
        raise ValueError(f"A range must not be empty, not {low} to {high}")
    return 1 + max((~low if low < 0 else low).bit_length(), (~high if high < 0 else high).bit_length())


def accumulator_range(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Exact smallest and largest sum of w*a for each output channel of a conv or linear node: int64 [Co], [Co].

    w = 2q - (2^W - 1), a in 0..2^A - 1: positive weights alone give the largest, negative the smallest. A linear
    node's bias is not included.
    """
    q = node.tensors["weight"].astype(np.int64).reshape(len(node.tensors["weight"]), -1)
    w = 2 * q - (2 ** node["weight_bits"] - 1)
    top = 2 ** node["act_bits"] - 1
    return top * np.minimum(w, 0).sum(1), top * np.maximum(w, 0).sum(1)


def check_fields(node: Node, where: str) -> None:
    """Check op, number of inputs, names, types and ranges of attributes, names and dtypes of tensors."""
    if node.op not in OPS:
        raise ManifestError(f"{where}: unknown op {node.op!r}; known are {', '.join(OPS)}")
    op = OPS[node.op]
    most, least = len(op.inputs), len(op.inputs) - op.optional
    if not least <= len(node.inputs) <= most:
        wanted = str(most) if least == most else f"{least} or {most}"
        raise ManifestError(f"{where}: {node.op} takes {wanted} inputs, not {len(node.inputs)}")
    for what, given, rules in (
        ("attribute", node.attributes, op.attributes),
        ("tensor", node.tensors, op.tensors),
    ):
        for key in given:
            if key not in rules:
                raise ManifestError(f"{where}: unknown {what} {key!r}; {node.op} has {', '.join(rules) or 'none'}")
        for key in rules:
            if key not in given:
                raise ManifestError(f"{where}: {what} {key!r} is missing")
    for key, rule in op.attributes.items():
        check_value(node[key], rule, f"{where}: attribute {key!r}")
    for key, dtype in op.tensors.items():
        tensor = node.tensors[key]
        if not isinstance(tensor, np.ndarray) or tensor.dtype != np.dtype(dtype):
            found = tensor.dtype if isinstance(tensor, np.ndarray) else type(tensor).__name__
            raise ManifestError(f"{where}, tensor {key!r}: dtype must be {dtype}, not {found}")


def check_shape(node: Node, key: str, shape: tuple[int, ...], where: str) -> None:
    """Raise ManifestError unless the tensor `key` has this shape."""
    given = node.tensors[key].shape
    if given != shape:
        raise ManifestError(f"{where}, tensor {key!r}: shape must be {list(shape)}, not {list(given)}")


def check_weight(node: Node, producer: Node, shape: tuple[int, ...], where: str) -> tuple[int, int]:
    """Check bits, shape and codes of a conv or linear weight; returns the smallest and largest sum of products."""
    if node["act_bits"] != producer.bits:
        raise ManifestError(
            f"{where}: attribute 'act_bits' is {node['act_bits']}, but {producer.name!r} gives {producer.bits} bits"
        )
    check_shape(node, "weight", shape, where)
    weight, top = node.tensors["weight"], 2 ** node["weight_bits"] - 1
    if weight.max() > top:
        place = [int(i) for i in np.unravel_index(int(weight.argmax()), shape)]
        raise ManifestError(f"{where}, tensor 'weight': codes must be 0 to {top}, not {weight.max()} at {place}")
    low, high = accumulator_range(node)
    return int(low.min()), int(high.max())


def derive(node: Node, producers: Sequence[Node], where: str) -> tuple[tuple[int, int, int], str, int]:
    """Check geometry and tensors against the producers and return (shape, kind, bits) of the output.

    `check_fields` has passed. Raises ManifestError; `where` begins its message.
    """
    for producer, kinds in zip(producers, OPS[node.op].inputs, strict=False):
        if producer.kind not in kinds:
            raise ManifestError(
                f"{where}: {node.op} takes {' or '.join(kinds)} here, but {producer.name!r} gives {producer.kind}"
            )
    if node.op == "input":
        return (node["channels"], node["height"], node["width"]), "codes", node["bits"]
    return DERIVE[node.op](node, producers, where)


def _derive_conv(node: Node, producers: Sequence[Node], where: str) -> tuple:
    c, h, w = producers[0].shape
    k, stride, pad, out = node["kernel"], node["stride"], node["padding"], node["out_channels"]
    if pad >= k:
        raise ManifestError(f"{where}: attribute 'padding' must be 0 to kernel - 1 = {k - 1}, not {pad}")
    if min(h, w) + 2 * pad < k:
        raise ManifestError(f"{where}: a kernel of {k} does not fit into {h} x {w} pixels padded by {pad}")
    low, high = check_weight(node, producers[0], (out, c, k, k), where)
    width = signed_width(low, high)
    if width > 32:
        raise ManifestError(f"{where}, tensor 'weight': sums {low} to {high} do not fit into 32 bits")
    return (out, (h + 2 * pad - k) // stride + 1, (w + 2 * pad - k) // stride + 1), "acc", width


def _derive_threshold(node: Node, producers: Sequence[Node], where: str) -> tuple:
    check_shape(node, "thresholds", (producers[0].shape[0], 2 ** node["bits"] - 1), where)
    falls = np.argwhere(np.diff(node.tensors["thresholds"].astype(np.int64), axis=1) < 0)
    if len(falls):
        c, j = falls[0]
        raise ManifestError(f"{where}, tensor 'thresholds': must not decrease along axis 1, but do at [{c}, {j + 1}]")
    return producers[0].shape, "codes", node["bits"]


def _derive_requant(node: Node, producers: Sequence[Node], where: str) -> tuple:
    acc, bits = producers[0], node["stream_bits"]
    for key in ("multiplier", "bias"):
        check_shape(node, key, (acc.shape[0],), where)
    low, high = (limit.tolist() for limit in accumulator_range(acc))
    rounding = 2 ** (node["shift"] - 1)
    for c, (m, b) in enumerate(zip(*(node.tensors[key].tolist() for key in ("multiplier", "bias")), strict=True)):
        if max(abs(low[c] * m + b), abs(high[c] * m + b)) + rounding >= 2**63:
            raise ManifestError(f"{where}, tensor 'bias': acc * {m} + {b} of channel {c} does not fit into 64 bits")
    if len(producers) == 2:
        skip = producers[1]
        if skip.shape != acc.shape:
            raise ManifestError(
                f"{where}: shapes to add must be equal, but {acc.name!r} gives {list(acc.shape)} and "
                f"{skip.name!r} {list(skip.shape)}"
            )
        if skip.bits != bits:
            raise ManifestError(f"{where}: attribute 'stream_bits' is {bits}, but {skip.name!r} gives {skip.bits} bits")
    return acc.shape, "stream", bits


def _derive_shortcut(node: Node, producers: Sequence[Node], where: str) -> tuple:
    c, h, w = producers[0].shape
    stride, out, front = node["stride"], node["out_channels"], node["pad_front"]
    if front + c > out:
        raise ManifestError(f"{where}: pad_front {front} + {c} input channels exceed out_channels {out}")
    if stride == 2 and node["reduce"] == "average" and (h % 2 or w % 2):
        raise ManifestError(f"{where}: reduce 'average' takes an even height and width, not {h} x {w}")
    return (out, -(-h // stride), -(-w // stride)), "stream", producers[0].bits


def _derive_pool(node: Node, producers: Sequence[Node], where: str) -> tuple:
    c, h, w = producers[0].shape
    if h * w * 2 ** producers[0].bits >= 2**32:
        raise ManifestError(f"{where}: a sum over {h} x {w} pixels does not fit into 32 bits")
    return (c, 1, 1), "codes", node["bits"]


def _derive_linear(node: Node, producers: Sequence[Node], where: str) -> tuple:
    c, h, w = producers[0].shape
    if (h, w) != (1, 1):
        raise ManifestError(f"{where}: linear takes 1 x 1 pixels, but {producers[0].name!r} gives {h} x {w}")
    check_weight(node, producers[0], (node["out_features"], c), where)
    check_shape(node, "bias", (node["out_features"],), where)
    low, high = accumulator_range(node)
    bias = node.tensors["bias"].astype(np.int64)
    if signed_width(int((low + bias).min()), int((high + bias).max())) > 32:
        raise ManifestError(f"{where}, tensor 'bias': logits do not fit into 32 bits")
    return (node["out_features"], 1, 1), "logits", 32


DERIVE = {
    "conv": _derive_conv,
    "threshold": _derive_threshold,
    "requant": _derive_requant,
    "shortcut": _derive_shortcut,
    "pool": _derive_pool,
    "linear": _derive_linear,
}
