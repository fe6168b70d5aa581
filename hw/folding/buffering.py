"""Depths of the FIFOs where two paths meet, from what each path needs before it can give its next pixel.

A requant with skip, or an add, sums two chains that part at one fork. Its output pixel j needs input pixels up to N(j)
of the fork along the first chain, the conv chain. Of the pixels up to n the skip chain makes P(n) outputs, j of which
are used up when pixel j is due. So the FIFO at the skip's end must hold

    max over j of P(N(j)) - j                        pixels, or the fork blocks and nothing moves (deadlock bound)
    max over j of P(N'(j)) - j                       pixels, so that the fork never blocks the conv chain

where N' looks as far ahead as the chain's latencies and buffers reach. The same holds for the conv chain's end where
the skip is the path that waits (a 1x1 conv beside 2x2 means). A first chain without a conv, which takes in all of a
pixel before it gives any of it, always ends in a FIFO of a pixel at least.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from popstream.hw.folding.folding import Fold, cycles, stream_lanes
from popstream.hw.folding.outline import STAGE, outline
from popstream.model.manifest import Network, Node, fork

__all__ = ["Buffer", "Buffers", "buffers", "last_input"]


@dataclass(frozen=True)
class Buffer:
    """Pixels that a FIFO holds, and the `minimum` below which the pipeline can stop for good."""

    pixels: int
    minimum: int


@dataclass(frozen=True)
class Buffers:
    """FIFOs ahead of a requant with skip, or of an add: `skip` always, `main` only where the skip lags."""

    fork: str
    skip: Buffer
    main: Buffer | None


def last_input(node: Node, source: Node, pixel: np.ndarray) -> np.ndarray:
    """Index of the last input pixel that the hardware takes in before output pixel `pixel`; both count over images.

    Indices are int64 in the order image, row, column; `source` is the node that `node` reads.
    """
    _, height, width = source.shape
    _, out_height, out_width = node.shape
    image, place = np.divmod(pixel, out_height * out_width)
    row, column = np.divmod(place, out_width)
    if node.op == "conv":
        reach = node["kernel"] - 1 - node["padding"]
        row, column = row * node["stride"] + reach, np.minimum(column * node["stride"] + reach, width - 1)
        column = np.where(row >= height, width - 1, column)  # rows below the image come after all of it
        row = np.minimum(row, height - 1)
    elif node.op == "shortcut" and node["stride"] == 2:
        reach = 1 if node["reduce"] == "average" else 0
        row, column = 2 * row + reach, 2 * column + reach
    elif node.op == "maxpool":
        row, column = row * node["size"] + node["size"] - 1, column * node["size"] + node["size"] - 1
    elif node.op == STAGE:  # the image is in its memory before the first pixel leaves
        row, column = np.full_like(row, height - 1), np.full_like(column, width - 1)
    elif source.shape[1:] != node.shape[1:]:
        raise ValueError(f"Op {node.op!r} of node {node.name!r} cannot lie between a fork and a requant")
    return (image * height + row) * width + column


def ahead(node: Node, folding: Mapping[str, Fold], latency: int, beats: int) -> int:
    """Output pixels that `node` can be at work on beyond the one it gives, at full speed."""
    if node.op == "conv":
        fold = folding[node.name]
        return -(-latency // cycles(node, fold)) + (2 if fold.prefetch else 1)
    return -(-latency // beats)


def reach(
    chain: Sequence[Node], network: Network, pixel: np.ndarray, steps: Mapping[str, tuple[int, int]]
) -> np.ndarray:
    """Last pixel of the fork that `chain` takes in before output `pixel`.

    `steps` gives for some nodes (output pixels in flight, input pixels buffered), by which they look ahead.
    """
    for node in reversed(chain):
        flight, buffered = steps.get(node.name, (0, 0))
        pixel = last_input(node, network.node(node.inputs[0]), pixel + flight) + buffered
    return pixel


def depth(
    network: Network,
    waiting: Sequence[Node],
    storing: Sequence[Node],
    out_pixels: int,
    fork_pixels: int,
    steps: Mapping[str, tuple[int, int]],
    first: int,
) -> int:
    """Pixels to store at the end of chain `storing` while chain `waiting` takes in what its next output needs."""
    outputs = np.arange(2 * out_pixels)
    needed = reach(waiting, network, outputs + first, steps)
    images = int(needed.max()) // fork_pixels + 1
    given = reach(storing, network, np.arange(images * out_pixels), {})
    return int((np.searchsorted(given, needed, side="right") - outputs).max())


def whole(network: Network, main: Sequence[Node], skip: Sequence[Node], out_pixels: int) -> bool:
    """Whether a conv of `main` has taken in, before it gives a pixel, all that `skip` needs for the same one."""
    outputs = np.arange(out_pixels)
    ahead_of_it = reach(main, network, outputs, {}) >= reach(skip, network, outputs, {})
    return any(node.op == "conv" for node in main) and bool(ahead_of_it.all())


def buffers(network: Network, folding: Mapping[str, Fold], latencies: Mapping[str, int]) -> dict[str, Buffers]:
    """FIFOs of every requant with skip and every add, by its name; `latencies` in cycles by node name, else 0."""
    lanes, network = stream_lanes(network, folding), outline(network, folding)
    result = {}
    for node in network.nodes:
        if len(node.inputs) != 2:
            continue
        source, main, skip = fork(network, node)
        steps = {}
        for step in (*main, *skip, node):
            beats = step.shape[0] // lanes[step.name]
            flight = ahead(step, folding, latencies.get(step.name, 0), beats)
            buffered = folding[step.name].buffer if step.op == "conv" else 0
            if step.op == STAGE:  # the next image comes in meanwhile
                buffered = math.prod(network.node(step.inputs[0]).shape[1:])
            steps[step.name] = (flight, buffered)
        first = max(1, steps[node.name][0])
        sizes = (node.shape[1] * node.shape[2], source.shape[1] * source.shape[2])
        bound = max(1, depth(network, main, skip, *sizes, {}, 0))
        full = max(bound, depth(network, main, skip, *sizes, steps, first))
        lag = depth(network, skip, main, *sizes, {}, 0)
        late = None
        if lag > 1 or not whole(network, main, skip, sizes[0]):
            lag = max(1, lag)
            late = Buffer(max(lag, depth(network, skip, main, *sizes, steps, first)), lag)
        result[node.name] = Buffers(source.name, Buffer(full, bound), late)
    return result
