# amaranth: UnusedElaboratable=no
"""The blocks that follow a matrix-vector unit, made from their nodes: for the accelerator and for its cost alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from popstream.hw.blocks.head import Classifier, Pool
from popstream.hw.blocks.maxpool import MaxPool
from popstream.hw.blocks.prelu import PReLU
from popstream.hw.blocks.requant import Requant
from popstream.hw.blocks.shortcut import Shortcut
from popstream.hw.blocks.threshold import Threshold
from popstream.hw.folding.folding import shortcut_lanes
from popstream.hw.stages.tap import Values
from popstream.model.manifest import Node

__all__ = ["classifier", "maxpool", "pool", "prelu", "requant", "shortcut", "threshold"]


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
    return Requant(multiplier, bias, shift, bits, relu, acc.shape, acc.lanes, skip, storage)


def prelu(node: Node, lanes: int) -> PReLU:
    below, slope, after = (node.tensors[key] for key in ("shift_in", "slope", "shift_out"))
    return PReLU(below, slope, after, node["shift"], node["stream_bits"], lanes)


def shortcut(node: Node, source: Sequence[int], lanes: int) -> Shortcut:
    """Shortcut of a stream of the shape `source` (C, H, W), which comes in `lanes` lanes."""
    change = (node["stride"], node["reduce"], node["out_channels"], node["pad_front"])
    channels, height, width = source
    return Shortcut(channels, height, width, node.bits, *change, shortcut_lanes(node, lanes))


def maxpool(node: Node, source: Sequence[int], bits: int, lanes: int) -> MaxPool:
    channels, height, width = source
    return MaxPool(channels, height, width, bits, node["size"], lanes)


def pool(node: Node, source: Sequence[int], bits: int, lanes: int) -> Pool:
    channels, height, width = source
    return Pool(channels, height * width, bits, node["bits"], node["shift"], lanes)


def classifier(node: Node, acc: Values, storage: str) -> Classifier:
    assert acc.correction is not None
    return Classifier(node.tensors["bias"].astype(np.int64) - acc.correction, acc.shape, acc.lanes, storage)
