"""What each op computes, on NumPy's integers: the rules of sim/golden/__init__.py, function by function."""

from collections.abc import Callable
from typing import Any

import numpy as np

from popstream.model.manifest import Node, accumulator_range, node_weights

__all__ = ["EXACT_FLOAT32", "FUNCTIONS", "INT32", "RangeError", "check_range", "entry", "linear", "node_function"]

EXACT_FLOAT32 = 2**24
EXACT_FLOAT64 = 2**53
INT32 = (-(2**31), 2**31 - 1)
FEW_THRESHOLDS = 3  # up to here comparing with each is faster than searching


class RangeError(AssertionError):
    """A value left the range that the manifest promises; the message names the node."""


def check_range(values: np.ndarray, low: Any, high: Any, name: str) -> np.ndarray:
    """Return `values`, all within low..high (scalars, or one per channel: [C, 1, 1]); RangeError otherwise."""
    if np.any(values < low) or np.any(values > high):
        raise RangeError(
            f"Node {name!r} gives {values.min()} to {values.max()}, outside {np.min(low)} to {np.max(high)}"
        )
    return values


def products(node: Node, columns: np.ndarray) -> np.ndarray:
    """Sums of w*a as int32 [N, Co, P] for columns [N, K*K*Ci or Ci, P] of codes in (c, ky, kx) order."""
    w = node_weights(node).reshape(len(node.tensors["weight"]), -1)
    bound = int(np.abs(w).sum(1).max()) * (2 ** node["act_bits"] - 1)
    assert bound < EXACT_FLOAT64
    exact = np.float32 if bound < EXACT_FLOAT32 else np.float64
    low, high = (limit[:, None] for limit in accumulator_range(node))
    sums = np.matmul(w.astype(exact), columns.astype(exact, copy=False)).astype(np.int32)
    return check_range(sums, low, high, node.name)


def entry(node: Node, images: np.ndarray) -> np.ndarray:
    """The codes of an input node of what enters: itself, or what its table makes of pixels (R29)."""
    return rows(node.tensors["table"], images) if "table" in node.tensors else images


def conv(node: Node, codes: np.ndarray) -> np.ndarray:
    """acc[n, o, y, x] = sum over (c, ky, kx) of w[o, c, ky, kx] * code[n, c, s y + ky - p, s x + kx - p] (R3, R28)."""
    k, s, p = node["kernel"], node["stride"], node["padding"]
    n, c, h, w = codes.shape
    padded = np.full((n, c, h + 2 * p, w + 2 * p), node["pad_code"], np.float32)
    padded[:, :, p : p + h, p : p + w] = codes
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::s, ::s]
    rows, cols = windows.shape[2:4]
    columns = np.ascontiguousarray(windows.transpose(0, 1, 4, 5, 2, 3)).reshape(n, c * k * k, rows * cols)
    return products(node, columns).reshape(n, -1, rows, cols)


def threshold(node: Node, x: np.ndarray) -> np.ndarray:
    """code[n, c, y, x] = #{j : x[n, c, y, x] >= T[c, j]} (R4)."""
    t = node.tensors["thresholds"]
    if t.shape[1] <= FEW_THRESHOLDS:
        codes = np.zeros(x.shape, np.uint8)
        for j in range(t.shape[1]):
            codes += x >= t[:, j, None, None]
        return codes
    columns = [np.searchsorted(t[c], x[:, c], side="right") for c in range(len(t))]  # counts t <= x
    return np.stack(columns, axis=1).astype(np.uint8)


def nearest(x: np.ndarray, shift: int, ties: str) -> np.ndarray:
    """x / 2^shift to the nearest integer, of two equally near the greater ("up") or the even one (R25); x changes."""
    if shift:
        x += 2 ** (shift - 1) - 1 + (x >> shift & 1) if ties == "even" else 2 ** (shift - 1)
    x >>= shift
    return x


def saturate(node: Node, total: np.ndarray) -> np.ndarray:
    """R6 and, where the node says so, R7."""
    limit = 2 ** (node["stream_bits"] - 1)
    return np.clip(total, 0 if node["relu"] else -limit, limit - 1).astype(np.int32)


def requant(node: Node, acc: np.ndarray, skip: np.ndarray | None = None) -> np.ndarray:
    """r = saturate(skip + ((acc M[c] + B[c] + 2^(F-1)) >> F)), then ReLU if asked (R5, R6, R7, R25)."""
    m, b = (node.tensors[key].astype(np.int64) for key in ("multiplier", "bias"))
    shift = node["shift"]
    small, large = (int(np.abs(limit).max(initial=0)) for limit in (m, b + 2 ** (shift - 1)))
    reach = int(max(acc.max(), -int(acc.min()))) * small + large
    whole: Any = np.int32 if reach < 2**30 else np.int64  # the same integers, sooner
    y = acc.astype(whole) * m.astype(whole)[:, None, None]
    y += b.astype(whole)[:, None, None]
    y = nearest(y, shift, node["ties"])
    return saturate(node, y if skip is None else y + skip)


def rows(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """table[c, code], or table[0, code] where there is one row for all channels."""
    channel = np.arange(codes.shape[1]) if len(table) > 1 else np.zeros(codes.shape[1], np.int64)
    return table[channel[:, None, None], codes]


def dequantize(node: Node, codes: np.ndarray) -> np.ndarray:
    """r = T[c, code] (R27)."""
    return rows(node.tensors["table"], codes)


def add(node: Node, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """r = saturate(first + second), then ReLU if asked (R26)."""
    return saturate(node, first + second)


def prelu(node: Node, x: np.ndarray) -> np.ndarray:
    """RPReLU on the stream with the slope S / 2^F below the shift G, and the shift Z after it (R12)."""
    below, slope, after = (
        node.tensors[key].astype(np.int64)[:, None, None] for key in ("shift_in", "slope", "shift_out")
    )
    d = x - below
    p = np.where(d < 0, (d * slope + 2 ** (node["shift"] - 1)) >> node["shift"], d)
    limit = 2 ** (node["stream_bits"] - 1)
    return np.clip(p + after, -limit, limit - 1).astype(np.int32)


def shortcut(node: Node, x: np.ndarray) -> np.ndarray:
    """Every second pixel or 2x2 means for stride 2 (R8, R9), then zero channels before and after."""
    if node["stride"] == 2 and node["reduce"] == "average":
        x = (x[:, :, ::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, ::2] + x[:, :, 1::2, 1::2] + 2) >> 2
    elif node["stride"] == 2:
        x = x[:, :, ::2, ::2]
    n, c, h, w = x.shape
    out = np.zeros((n, node["out_channels"], h, w), np.int32)
    out[:, node["pad_front"] : node["pad_front"] + c] = x
    return out


def maxpool(node: Node, codes: np.ndarray) -> np.ndarray:
    """code[n, c, y, x] = the largest of codes[n, c, K y + i, K x + j], i and j below K (R13)."""
    size = node["size"]
    n, c, h, w = codes.shape
    squares = codes[:, :, : h // size * size, : w // size * size].reshape(n, c, h // size, size, w // size, size)
    return squares.max(axis=(3, 5))


def pool(node: Node, x: np.ndarray) -> np.ndarray:
    """code[n, c, 0, 0] of the sum over all pixels, of a stream or of codes (R10, R25)."""
    total = nearest(x.sum(axis=(2, 3), keepdims=True, dtype=np.int64), node["shift"], node["ties"])
    return np.clip(total, 0, 2 ** node["bits"] - 1).astype(np.uint8)


def linear(node: Node, codes: np.ndarray) -> np.ndarray:
    """logits[n, o, 0, 0] = sum over c of w[o, c] * code[n, c] + bias[o]."""
    sums = products(node, codes.reshape(*codes.shape[:2], 1)).astype(np.int64)
    sums += node.tensors["bias"][:, None]
    return check_range(sums, *INT32, node.name).astype(np.int32)[..., None]


FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "conv": conv,
    "threshold": threshold,
    "requant": requant,
    "dequantize": dequantize,
    "add": add,
    "prelu": prelu,
    "shortcut": shortcut,
    "maxpool": maxpool,
    "pool": pool,
    "linear": linear,
}


def node_function(node: Node, *inputs: np.ndarray) -> np.ndarray:
    """The output of one node, [N, C, H, W], for its inputs [N, C, H, W]; only attributes and tensors are used."""
    if node.op not in FUNCTIONS:
        raise ValueError(f"Op must be one of {', '.join(FUNCTIONS)}, not {node.op!r}")
    return FUNCTIONS[node.op](node, *inputs)
