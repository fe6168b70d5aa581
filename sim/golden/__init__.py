"""The integer network in NumPy: the specification that training, RTL and netlist are compared with, bit for bit.

    logits, taps = run(network, codes, taps=["stem"])      # codes uint8 [N, C, H, W]
    logits = run_batches(network, codes, workers=2)        # many images

Everything is an integer; `>>` is the arithmetic shift, floor(x / 2^n). The rounding and tie rules, once:

| rule | where | definition | ties and edges |
|---|---|---|---|
| R1 pixels | input codes | floor((2^A - 1) x / 255 + 1/2), x in 0..255 | halves go up; model.data.quantize_pixels |
| R2 weights | conv, linear | w = 2q - (2^W - 1), q in 0..2^W - 1 | W = 1: q = [weight >= 0]: zero is +1; but R24 |
| R3 padding | conv | code 0 outside the image | so w * 0 = 0, whatever w is |
| R4 threshold | codes of acc or stream | code = #{j : x >= T[c, j]} | x = T counts, equal thresholds all; never <= |
| R5 requantize | acc to stream | y = (acc M[c] + B[c] + 2^(F-1)) >> F | halves go up, also below zero |
| R6 saturate | stream | r = min(max(skip + y, -2^(R-1)), 2^(R-1) - 1) | skip is 0 without one; y is not saturated |
| R7 ReLU | stream | max(r, 0) after R6 | |
| R8 average | shortcut, stride 2 | (x00 + x01 + x10 + x11 + 2) >> 2 | halves go up; cannot leave R bits |
| R9 sample | shortcut, stride 2 | x[2i, 2j], ceil(H/2) x ceil(W/2) | odd sizes keep the last row and column |
| R10 pool | stream to codes | min(max((sum + h) >> s, 0), 2^A - 1) | sum: all pixels of c; h = 2^(s-1), or 0 if s = 0 |
| R11 label | logits | the index of the largest | the lowest index among equals |
| R12 PReLU | stream | d = r - G[c]; p = d if d >= 0, else (d S[c] + 2^(F-1)) >> F; then p + Z[c] by R6 | halves go up |
| R13 max-pool | codes | the largest of each K x K square | stride K; what is left of a whole square is dropped |
| R14 convolution | codes to acc | sum over c, i, j of w[o, c, i, j] code[c, s y + i - P, s x + j - P] | not flipped |
| R15 its size | codes to acc | floor((H + 2P - K) / s) + 1 rows, columns likewise | the last may be in no window |
| R16 shortcut | stream | stride 2: R8 or R9 first; then channels: pad_front zeros, the C of x, zeros | out_channels |
| R17 linear | codes to logits | sum over c of w[o, c] code[c] + bias[o] | exact in 32 bits; not scaled, not clipped |
| R18 digits | images | x = floor(255 v / 16 + 1/2) of scikit-learn's v in 0..16, then R1 | halves go up |
| R19 their split | images | order = default_rng(0).permutation(1797): test order[::5], training the rest | 360 test |
| R20 pictures | image files | 16 bits: floor(255 v / 65535 + 1/2); floats of 0 to 1: floor(255 v + 1/2) | upright |
| R21 grey | of colours | (19595 R + 38470 G + 7471 B + 2^15) >> 16 for a network of one channel | after R20 |
| R22 data files | images | CIFAR-10: planes R, G, B, rows from the top; SVHN: label 10 is 0 | folders: by name |
| R23 two inputs | requant | the first is acc, of M, B and F; the second the skip of R6 | never the other way round |
| R24 signed weights | of `weights` "signed" | w = q - 2^W [q >= 2^(W-1)] | two's complement; W = 1: 0 and -1 |

F of R5 and R12 is the node's attribute `shift`, K, s and P are `kernel` (of R13 `size`), `stride` and `padding`. A
stream's `fraction_bits` f is not computed with: it says what an integer stands for, r 2^-f, and must be equal where two
are added. R4 knows no falling comparison: a channel with negative gain has its filter negated when it is frozen, which
odd weights allow (R2), and signed ones (R24) but the least of them, so that T rises with j and `x >= T` is all there
is. Where an op has a stride, H and W are its input's.

Values: codes are uint8, acc, stream and logits int32. Products are summed in float32 where the worst case stays
below 2^24, else in float64 (below 2^53): exact either way.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from popstream.model.manifest import Network, Node, accumulator_range, node_weights

EXACT_FLOAT32 = 2**24
EXACT_FLOAT64 = 2**53
INT32 = (-(2**31), 2**31 - 1)
FEW_THRESHOLDS = 3  # up to here comparing with each is faster than searching
BATCH = 8  # images at a time: their columns stay near the cache


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


def conv(node: Node, codes: np.ndarray) -> np.ndarray:
    """acc[n, o, y, x] = sum over (c, ky, kx) of w[o, c, ky, kx] * code[n, c, s y + ky - p, s x + kx - p] (R2, R3)."""
    k, s, p = node["kernel"], node["stride"], node["padding"]
    n, c, h, w = codes.shape
    padded = np.zeros((n, c, h + 2 * p, w + 2 * p), np.float32)
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


def requant(node: Node, acc: np.ndarray, skip: np.ndarray | None = None) -> np.ndarray:
    """r = saturate(skip + ((acc M[c] + B[c] + 2^(F-1)) >> F)), then ReLU if asked (R5, R6, R7)."""
    m, b = (node.tensors[key].astype(np.int64) for key in ("multiplier", "bias"))
    shift, bits = node["shift"], node["stream_bits"]
    b = b + 2 ** (shift - 1)
    small, large = (int(np.abs(limit).max(initial=0)) for limit in (m, b))
    reach = int(max(acc.max(), -int(acc.min()))) * small + large
    whole: Any = np.int32 if reach < 2**30 else np.int64  # the same integers, sooner
    y = acc.astype(whole) * m.astype(whole)[:, None, None]
    y += b.astype(whole)[:, None, None]
    y >>= shift
    if skip is not None:
        y += skip
    low = 0 if node["relu"] else -(2 ** (bits - 1))
    return np.clip(y, low, 2 ** (bits - 1) - 1).astype(np.int32)


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
    """code[n, c, 0, 0] of the sum over all pixels (R10)."""
    shift = node["shift"]
    half = 2 ** (shift - 1) if shift else 0
    total = x.sum(axis=(2, 3), keepdims=True, dtype=np.int64)
    return np.clip((total + half) >> shift, 0, 2 ** node["bits"] - 1).astype(np.uint8)


def linear(node: Node, codes: np.ndarray) -> np.ndarray:
    """logits[n, o, 0, 0] = sum over c of w[o, c] * code[n, c] + bias[o]."""
    sums = products(node, codes.reshape(*codes.shape[:2], 1)).astype(np.int64)
    sums += node.tensors["bias"][:, None]
    return check_range(sums, *INT32, node.name).astype(np.int32)[..., None]


FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "conv": conv,
    "threshold": threshold,
    "requant": requant,
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


def _ranges(node: Node) -> tuple[int, int]:
    if node.kind == "codes":
        return 0, 2**node.bits - 1
    return -(2 ** (node.bits - 1)), 2 ** (node.bits - 1) - 1


def check_images(network: Network, images: np.ndarray) -> None:
    """Raise ValueError unless `images` are uint8 codes [N, C, H, W] of the network's input."""
    shape = network.input.shape
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        raise ValueError(f"Images must be uint8 [N, {', '.join(map(str, shape))}], not {images.dtype} {images.shape}")
    if images.size and images.max() >= 2**network.input.bits:
        raise ValueError(f"Input codes must be 0 to {2**network.input.bits - 1}, not {images.max()}")


def run(network: Network, images: np.ndarray, taps: Iterable[str] = ()) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits int32 [N, O] of input codes uint8 [N, C, H, W], and the outputs of the nodes named in `taps`.

    Raises ValueError for images of another shape or range or an unknown tap, RangeError if a value leaves its range.
    """
    check_images(network, images)
    wanted = set(taps)
    unknown = wanted - {node.name for node in network.nodes}
    if unknown:
        raise ValueError(f"Taps must be nodes of {network.name!r}, not {sorted(unknown)}")
    unread = {node.name: len(network.consumers(node.name)) for node in network.nodes}
    values: dict[str, np.ndarray] = {}
    tapped: dict[str, np.ndarray] = {}
    for node in network.nodes:
        values[node.name] = value = (
            images if node.op == "input" else node_function(node, *(values[name] for name in node.inputs))
        )
        assert value.shape[1:] == node.shape, f"{node.name}: {value.shape}, not {node.shape}"
        check_range(value, *_ranges(node), node.name)
        if node.name in wanted:
            tapped[node.name] = value
        for name in node.inputs:
            unread[name] -= 1
            if not unread[name]:
                del values[name]
    return values[network.output.name][:, :, 0, 0], tapped


def run_batches(
    network: Network,
    images: np.ndarray,
    batch: int = BATCH,
    workers: int = 1,
    progress: Callable[..., Any] | None = None,
) -> np.ndarray:
    """Logits int32 [N, O] of many images, `batch` at a time in `workers` threads (NumPy computes in parallel).

    `progress` is tqdm or alike: called with total and unit, it gives a context manager with update(n).
    """
    check_images(network, images)
    if batch < 1 or workers < 1:
        raise ValueError(f"Batch and workers must be at least 1, not {batch} and {workers}")
    logits = np.zeros((len(images), network.output.shape[0]), np.int32)
    parts = [slice(start, min(start + batch, len(images))) for start in range(0, len(images), batch)]

    def work(part: slice) -> int:
        logits[part] = run(network, images[part])[0]
        return part.stop - part.start

    with threadpool_limits(1), ThreadPoolExecutor(workers) as pool_of_threads:
        done = pool_of_threads.map(work, parts)
        if progress is None:
            for _ in done:
                pass
        else:
            with progress(total=len(images), unit="image") as bar:
                for count in done:
                    bar.update(count)
    return logits


def labels(logits: np.ndarray) -> np.ndarray:
    """Rule R11: the index of the largest logit of each row, the lowest among equals; int64 [N]."""
    return np.argmax(logits, axis=1)
