# amaranth: UnusedElaboratable=no
"""The blocks that follow a matrix-vector unit, made from their nodes: for the accelerator and for its cost alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from amaranth.hdl import Shape, signed, unsigned

from popstream.hw.blocks.add import Add
from popstream.hw.blocks.head import Classifier, Pool
from popstream.hw.blocks.lookup import Lookup
from popstream.hw.blocks.maxpool import MaxPool
from popstream.hw.blocks.prelu import PReLU
from popstream.hw.blocks.requant import Requant
from popstream.hw.blocks.shortcut import Shortcut
from popstream.hw.blocks.threshold import Threshold
from popstream.hw.folding.folding import shortcut_lanes
from popstream.hw.lib.tap import Values
from popstream.model.manifest import Node

__all__ = ["add", "classifier", "entry", "follower", "requant"]


def threshold(node: Node, values: Values, storage: str) -> Threshold:
    """Thresholds on `values`, raised by the correction of raw accumulators."""
    thresholds = node.tensors["thresholds"].astype(np.int64)
    if values.correction is not None:
        thresholds = thresholds + values.correction[:, None]
    return Threshold(thresholds, values.shape, values.lanes, storage)


def requant(node: Node, acc: Values, storage: str, shift: int | None = None) -> Requant:
    """Requantization of `acc`, its correction in the bias; `shift` is at least the node's own, and by default that."""
    shift = node["shift"] if shift is None else shift
    up = shift - node["shift"]
    multiplier, bias = (node.tensors[key].astype(np.int64) << up for key in ("multiplier", "bias"))
    if acc.correction is not None:
        bias = bias - multiplier * acc.correction
    bits, relu, skip = node["stream_bits"], node["relu"], len(node.inputs) == 2
    return Requant(multiplier, bias, shift, bits, relu, acc.shape, acc.lanes, skip, storage, node["ties"])


def prelu(node: Node, lanes: int) -> PReLU:
    below, slope, after = (node.tensors[key] for key in ("shift_in", "slope", "shift_out"))
    return PReLU(below, slope, after, node["shift"], node["stream_bits"], lanes)


def shortcut(node: Node, source: Sequence[int], lanes: int) -> Shortcut:
    """Shortcut of a stream of the shape `source` (C, H, W), which comes in `lanes` lanes."""
    change = (node["stride"], node["reduce"], node["out_channels"], node["pad_front"])
    channels, height, width = source
    return Shortcut(channels, height, width, node.bits, *change, shortcut_lanes(node, lanes))


def add(node: Node, first: Values, second: Values) -> Add:
    return Add((first.shape.width, second.shape.width), node["stream_bits"], node["relu"], first.lanes)


def entry(node: Node, lanes: int, storage: str) -> Lookup:
    """The table of an input node, which makes its codes of pixels (rule R29)."""
    return Lookup(_rows(node, node.shape[0]), unsigned(node["bits"]), lanes, storage)


def _rows(node: Node, channels: int) -> np.ndarray:
    """A row of the node's table for each channel."""
    table = node.tensors["table"]
    return np.broadcast_to(table, (channels, table.shape[1]))


def follower(
    node: Node, source: Sequence[int], values: Values, storage: str, shift: int | None = None
) -> tuple[Any, Shape]:
    """The block of a node of one input that is neither folded nor a requant, which reads `values` of the shape `source`
    (C, H, W), in `lanes` of its own; and the shape of what it gives. shift : that a pool is built with, see there.
    """
    channels, height, width = source
    shape, lanes = values.shape, values.lanes
    codes, stream = Shape.cast(unsigned(node.bits)), Shape.cast(signed(node.bits))
    if node.op == "threshold":
        return threshold(node, values, storage), codes
    if node.op == "dequantize":
        return Lookup(_rows(node, channels), stream, lanes, storage), stream
    if node.op == "prelu":
        return prelu(node, lanes), shape
    if node.op == "shortcut":
        return shortcut(node, source, lanes), shape
    if node.op == "maxpool":
        return MaxPool(channels, height, width, shape.width, node["size"], lanes), shape
    return Pool(channels, height * width, shape, node["bits"], node["shift"], lanes, node["ties"], shift), codes


def classifier(node: Node, acc: Values, storage: str) -> Classifier:
    assert acc.correction is not None
    return Classifier(node.tensors["bias"].astype(np.int64) - acc.correction, acc.shape, acc.lanes, storage)
