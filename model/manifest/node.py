"""One node of an integer network: its attributes and tensors, and which of them each op takes.

Three kinds of values flow between nodes, each of shape (C, H, W): codes (unsigned A bits), acc (signed
accumulator) and stream (signed R bits). The last node produces logits (signed 32 bits). The integer
semantics of the ops are in sim/golden/__init__.py, what an op makes of its inputs' shapes in model/manifest/derive.py.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from popstream.model.checked import InputError

CODE_BITS = range(1, 9)
STREAM_BITS = range(2, 17)
SHIFTS = range(1, 32)
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,99}")
POSITIVE = range(1, 2**16)
MOST_VALUES = 2**24  # of an image in any node: 64 MiB of int32
MOST_GATHERED = 2**27  # copies of an image's codes under all places of a kernel: 512 MiB of float32
MOST_NODES = 4096
WEIGHTS = ("odd", "signed")
TIES = ("up", "even")
PIXELS = 2**8  # values of a pixel
CLASSES = range(1, 2**8 + 1)  # a label has 8 bits, in hardware and on a board's link


class ManifestError(InputError):
    """A network is damaged or breaks a rule; one line: the file, the node, the tensor, what was given and allowed."""


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
        """The attribute's value, its op's default where it is left out; KeyError for one that the op has not."""
        if attribute in self.attributes:
            return self.attributes[attribute]
        return OPS[self.op].defaults[attribute]


@dataclass(frozen=True)
class Op:
    """What one op takes: the kinds allowed at each input (the last `optional` may be left out), attributes, tensors.

    An attribute's rule is a range or a tuple of the allowed values, a tensor's its dtype. Attributes with a default and
    tensors that are `spare` may be left out.
    """

    inputs: tuple[tuple[str, ...], ...]
    attributes: dict[str, range | tuple]
    tensors: dict[str, str]
    optional: int = 0
    defaults: dict[str, Any] = field(default_factory=dict)
    spare: tuple[str, ...] = ()


OPS = {
    "input": Op(
        (),
        {"channels": POSITIVE, "height": POSITIVE, "width": POSITIVE, "bits": CODE_BITS},
        {"table": "uint8"},
        spare=("table",),
    ),
    "conv": Op(
        (("codes",),),
        {
            "out_channels": POSITIVE,
            "kernel": range(1, 32, 2),
            "stride": (1, 2),
            "padding": range(31),
            "weight_bits": CODE_BITS,
            "act_bits": CODE_BITS,
            "weights": WEIGHTS,
            "pad_code": range(2**8),
        },
        {"weight": "uint8"},
        defaults={"weights": "odd", "pad_code": 0},
    ),
    "threshold": Op((("acc", "stream"),), {"bits": CODE_BITS}, {"thresholds": "int32"}),
    "requant": Op(
        (("acc",), ("stream",)),
        {
            "shift": SHIFTS,
            "stream_bits": STREAM_BITS,
            "fraction_bits": range(32),
            "relu": (False, True),
            "ties": TIES,
        },
        {"multiplier": "int32", "bias": "int64"},
        optional=1,
        defaults={"ties": "up"},
    ),
    "dequantize": Op((("codes",),), {"stream_bits": STREAM_BITS, "fraction_bits": range(32)}, {"table": "int32"}),
    "add": Op((("stream",), ("stream",)), {"stream_bits": STREAM_BITS, "relu": (False, True)}, {}),
    "prelu": Op(
        (("stream",),),
        {"shift": SHIFTS, "stream_bits": STREAM_BITS},
        {"shift_in": "int32", "slope": "int32", "shift_out": "int32"},
    ),
    "shortcut": Op(
        (("stream",),),
        {"stride": (1, 2), "reduce": ("sample", "average"), "out_channels": POSITIVE, "pad_front": range(2**16)},
        {},
    ),
    "maxpool": Op((("codes",),), {"size": range(2, 9)}, {}),
    "pool": Op(
        (("stream", "codes"),), {"bits": CODE_BITS, "shift": range(32), "ties": TIES}, {}, defaults={"ties": "up"}
    ),
    "linear": Op(
        (("codes",),),
        {"out_features": CLASSES, "weight_bits": CODE_BITS, "act_bits": CODE_BITS, "weights": WEIGHTS},
        {"weight": "uint8", "bias": "int32"},
        defaults={"weights": "odd"},
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


def weight_integers(codes: np.ndarray, bits: int, weights: str) -> np.ndarray:
    """The integers w that codes q of W = `bits` bits stand for, int64 in their shape: rule R2 for each kind.

    "odd": w = 2q - (2^W - 1). "signed": q is w in two's complement, w = q - 2^W [q >= 2^(W-1)], so q = w & (2^W - 1).
    """
    q = np.asarray(codes).astype(np.int64)
    return q - (q >> (bits - 1) << bits) if weights == "signed" else 2 * q - (2**bits - 1)


def node_weights(node: Node) -> np.ndarray:
    """The integers w of a conv or linear node, int64 in the shape of its codes."""
    return weight_integers(node.tensors["weight"], node["weight_bits"], node["weights"])


def entry_bits(node: Node) -> int:
    """Bits of what enters an input node: its codes (rule R1), or the pixels that its table takes (R29)."""
    return 8 if "table" in node.tensors else node["bits"]


def accumulator_range(node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Exact smallest and largest sum of w*a for each output channel of a conv or linear node: int64 [Co], [Co].

    a is 0 to 2^A - 1: positive weights alone give the largest, negative the smallest. A linear node's bias is not
    included.
    """
    w = node_weights(node).reshape(len(node.tensors["weight"]), -1)
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
            if key not in given and key not in op.defaults and key not in op.spare:
                raise ManifestError(f"{where}: {what} {key!r} is missing")
    for key, rule in op.attributes.items():
        check_value(node[key], rule, f"{where}: attribute {key!r}")
    for key, tensor in node.tensors.items():
        dtype = op.tensors[key]
        if not isinstance(tensor, np.ndarray) or tensor.dtype != np.dtype(dtype):
            found = tensor.dtype if isinstance(tensor, np.ndarray) else type(tensor).__name__
            raise ManifestError(f"{where}, tensor {key!r}: dtype must be {dtype}, not {found}")
