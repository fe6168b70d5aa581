"""What each op makes of its inputs: geometry and tensors checked against the producers, and the output's shape."""

from collections.abc import Sequence

import numpy as np

from popstream.model.manifest.node import OPS, PIXELS, ManifestError, Node, accumulator_range, signed_width


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
    return DERIVE[node.op](node, producers, where)


def check_table(node: Node, channels: int, entries: int, low: int, high: int, where: str) -> None:
    """Check a table of one row for each of `channels`, or of one for all, and its entries."""
    table = node.tensors["table"]
    if table.shape not in ((1, entries), (channels, entries)):
        raise ManifestError(
            f"{where}, tensor 'table': shape must be {[1, entries]} or {[channels, entries]}, not {list(table.shape)}"
        )
    for row, entry in np.argwhere((table < low) | (table > high))[:1]:
        raise ManifestError(
            f"{where}, tensor 'table': must be {low} to {high}, not {table[row, entry]} at [{row}, {entry}]"
        )


def _derive_input(node: Node, producers: Sequence[Node], where: str) -> tuple:
    if "table" in node.tensors:
        check_table(node, node["channels"], PIXELS, 0, 2 ** node["bits"] - 1, where)
    return (node["channels"], node["height"], node["width"]), "codes", node["bits"]


def _derive_conv(node: Node, producers: Sequence[Node], where: str) -> tuple:
    c, h, w = producers[0].shape
    k, stride, pad, out = node["kernel"], node["stride"], node["padding"], node["out_channels"]
    if pad >= k:
        raise ManifestError(f"{where}: attribute 'padding' must be 0 to kernel - 1 = {k - 1}, not {pad}")
    if min(h, w) + 2 * pad < k:
        raise ManifestError(f"{where}: a kernel of {k} does not fit into {h} x {w} pixels padded by {pad}")
    if node["pad_code"] >= 2 ** node["act_bits"]:
        top = 2 ** node["act_bits"] - 1
        raise ManifestError(f"{where}: attribute 'pad_code' must be a code, 0 to {top}, not {node['pad_code']}")
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
        check_alike(acc, skip, where)
        if skip.bits != bits:
            raise ManifestError(f"{where}: attribute 'stream_bits' is {bits}, but {skip.name!r} gives {skip.bits} bits")
    return acc.shape, "stream", bits


def _derive_dequantize(node: Node, producers: Sequence[Node], where: str) -> tuple:
    source, limit = producers[0], 2 ** (node["stream_bits"] - 1)
    check_table(node, source.shape[0], 2**source.bits, -limit, limit - 1, where)
    return source.shape, "stream", node["stream_bits"]


def _derive_add(node: Node, producers: Sequence[Node], where: str) -> tuple:
    first, second = producers
    if first.name == second.name:
        raise ManifestError(f"{where}: add takes two nodes, not {first.name!r} twice")
    check_alike(first, second, where)
    return first.shape, "stream", node["stream_bits"]


def check_alike(first: Node, second: Node, where: str) -> None:
    """Raise ManifestError unless two nodes that are added have one shape."""
    if second.shape != first.shape:
        raise ManifestError(
            f"{where}: shapes to add must be equal, but {first.name!r} gives {list(first.shape)} and "
            f"{second.name!r} {list(second.shape)}"
        )


def _derive_prelu(node: Node, producers: Sequence[Node], where: str) -> tuple:
    source, bits = producers[0], node["stream_bits"]
    if source.bits != bits:
        raise ManifestError(f"{where}: attribute 'stream_bits' is {bits}, but {source.name!r} gives {source.bits} bits")
    for key in ("shift_in", "slope", "shift_out"):
        check_shape(node, key, (source.shape[0],), where)
    limit = 2 ** (bits - 1)
    for key in ("shift_in", "shift_out"):
        tensor = node.tensors[key]
        for c in np.flatnonzero((tensor < -limit) | (tensor >= limit))[:1]:
            raise ManifestError(
                f"{where}, tensor {key!r}: must be {-limit} to {limit - 1} in a stream of {bits} bits, "
                f"not {tensor[c]} at [{c}]"
            )
    return source.shape, "stream", bits


def _derive_shortcut(node: Node, producers: Sequence[Node], where: str) -> tuple:
    c, h, w = producers[0].shape
    stride, out, front = node["stride"], node["out_channels"], node["pad_front"]
    if front + c > out:
        raise ManifestError(f"{where}: pad_front {front} + {c} input channels exceed out_channels {out}")
    if stride == 2 and node["reduce"] == "average" and (h % 2 or w % 2):
        raise ManifestError(f"{where}: reduce 'average' takes an even height and width, not {h} x {w}")
    return (out, -(-h // stride), -(-w // stride)), "stream", producers[0].bits


def _derive_maxpool(node: Node, producers: Sequence[Node], where: str) -> tuple:
    c, h, w = producers[0].shape
    size = node["size"]
    if min(h, w) < size:
        raise ManifestError(f"{where}: squares of {size} x {size} do not fit into {h} x {w} pixels")
    return (c, h // size, w // size), "codes", producers[0].bits


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
    "input": _derive_input,
    "conv": _derive_conv,
    "threshold": _derive_threshold,
    "requant": _derive_requant,
    "dequantize": _derive_dequantize,
    "add": _derive_add,
    "prelu": _derive_prelu,
    "shortcut": _derive_shortcut,
    "maxpool": _derive_maxpool,
    "pool": _derive_pool,
    "linear": _derive_linear,
}
