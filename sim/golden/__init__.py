"""The integer network in NumPy: the specification that training, RTL and netlist are compared with, bit for bit.

    logits, taps = run(network, codes, taps=["stem"])      # codes, or pixels for a table (R29), uint8 [N, C, H, W]
    logits = run_batches(network, codes, workers=2)        # many images

Everything is an integer; `>>` is the arithmetic shift, floor(x / 2^n). The rounding and tie rules, once:

| rule | where | definition | ties and edges |
|---|---|---|---|
| R1 pixels | input codes | floor((2^A - 1) x / 255 + 1/2), x in 0..255 | halves go up; quantize_pixels; but R29 |
| R2 weights | conv, linear | w = 2q - (2^W - 1), q in 0..2^W - 1 | W = 1: q = [weight >= 0]: zero is +1; but R24 |
| R3 padding | conv | code 0 outside the image | so w * 0 = 0, whatever w is; but R28 |
| R4 threshold | codes of acc or stream | code = #{j : x >= T[c, j]} | x = T counts, equal thresholds all; never <= |
| R5 requantize | acc to stream | y = (acc M[c] + B[c] + 2^(F-1)) >> F | halves go up, also below zero; but R25 |
| R6 saturate | stream | r = min(max(skip + y, -2^(R-1)), 2^(R-1) - 1) | skip is 0 without one; y is not saturated |
| R7 ReLU | stream | max(r, 0) after R6 | |
| R8 average | shortcut, stride 2 | (x00 + x01 + x10 + x11 + 2) >> 2 | halves go up; cannot leave R bits |
| R9 sample | shortcut, stride 2 | x[2i, 2j], ceil(H/2) x ceil(W/2) | odd sizes keep the last row and column |
| R10 pool | stream or codes | code = min(max((sum + h) >> s, 0), 2^A - 1) | all of c; h = 2^(s-1), s = 0: 0; but R25 |
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
| R25 ties | of `ties` "even" | (x + 2^(n-1) - 1 + (x >> n & 1)) >> n, n: F of R5, s of R10 | halves to even; 0: x |
| R26 add | two streams to stream | a + b by R6, then R7 if asked | R is the node's own, whatever those of a and b are |
| R27 dequantize | codes to stream | r = T[c, code] | T of one row: the same for all c |
| R28 pad code | conv | `pad_code` outside the image, not R3's 0 | a zero point z: the code of the value 0 |
| R29 input table | pixels to codes | code = T[c, x], x in 0..255, not R1 | T of one row: the same for all c |

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

from popstream.model.manifest import Network, Node
from popstream.sim.golden.ops import FUNCTIONS, INT32, RangeError, check_range, entry, node_function

__all__ = ["BATCH", "FUNCTIONS", "INT32", "RangeError", "check_images", "labels", "node_function", "run", "run_batches"]

BATCH = 8  # images at a time: their columns stay near the cache


def _ranges(node: Node) -> tuple[int, int]:
    if node.kind == "codes":
        return 0, 2**node.bits - 1
    return -(2 ** (node.bits - 1)), 2 ** (node.bits - 1) - 1


def check_images(network: Network, images: np.ndarray) -> None:
    """Raise ValueError unless `images` are uint8 [N, C, H, W] as they enter the network: codes, or pixels (R29)."""
    shape = network.input.shape
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        raise ValueError(f"Images must be uint8 [N, {', '.join(map(str, shape))}], not {images.dtype} {images.shape}")
    if images.size and images.max() >= 2**network.entry_bits:
        raise ValueError(f"Input codes must be 0 to {2**network.entry_bits - 1}, not {images.max()}")


def run(network: Network, images: np.ndarray, taps: Iterable[str] = ()) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits int32 [N, O] of images uint8 [N, C, H, W] as they enter, and the outputs of the nodes named in `taps`.

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
            entry(node, images) if node.op == "input" else node_function(node, *(values[name] for name in node.inputs))
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
