"""What each layer of a shared stage does to its sums, in numbers that one multiplier and a few shifts serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from popstream.hw.folding.fold import FoldingError
from popstream.hw.folding.walk import Walk, lane_range
from popstream.hw.lib.multiply import MULTIPLIER_BITS

__all__ = ["Affine", "affine_of", "bend_of", "common_shifts", "scaled"]

DIRECT = 1  # factor of sums that go on as they are
WHOLE_BITS = 62  # of a bias that is still shifted up


@dataclass(frozen=True)
class Affine:
    """y = (x * factor + bias) >> shift of one layer; factors and biases by channel."""

    factor: np.ndarray
    bias: np.ndarray
    shift: int

    @property
    def most(self) -> int:
        """The largest shift for which factor and bias have room."""
        room = MULTIPLIER_BITS - 1 - int(np.abs(self.factor).max()).bit_length()
        return self.shift + min(room, WHOLE_BITS - int(np.abs(self.bias).max()).bit_length())


def affine_of(walk: Walk, signed: bool) -> Affine:
    """Of a layer's raw sums: the requantization, or nothing but their correction; a copy's are not used."""
    layer, channels = walk.layer, walk.layer.made[0]
    if layer.conv is None:
        return Affine(np.zeros(channels, np.int64), np.zeros(channels, np.int64), 0)
    _, _, correction = lane_range(layer, walk.bits[1], signed)
    if layer.requant is None:
        factor = np.full(channels, DIRECT, np.int64)
        return Affine(factor, -factor * correction, 0)
    shift = layer.requant["shift"]
    factor = layer.requant.tensors["multiplier"].astype(np.int64)
    bias = layer.requant.tensors["bias"].astype(np.int64) + (1 << shift - 1) - factor * correction
    return _fits(Affine(factor, bias, shift), layer.requant.name, "multipliers")


def bend_of(walk: Walk) -> Affine | None:
    """Of a PReLU's values below zero: the slope, and its rounding."""
    node = walk.layer.prelu
    if node is None:
        return None
    slope = node.tensors["slope"].astype(np.int64)
    return _fits(Affine(slope, np.zeros(len(slope), np.int64), node["shift"]), node.name, "slopes")


def _fits(affine: Affine, name: str, what: str) -> Affine:
    limit = 1 << MULTIPLIER_BITS - 1
    most = int(np.abs(affine.factor).max())
    if most >= limit:
        raise FoldingError(
            f"Node {name!r}: {what} of a shared stage are below {limit:,}, as hardware's take {MULTIPLIER_BITS} bits, "
            f"not {most:,}; fold the layer on its own, or freeze it with a smaller shift"
        )
    return affine


def common_shifts(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """As few shifts as serve all layers, each of which may take any from its own up to `most`: of those ranges."""
    found: list[int] = []
    for least, most in sorted(ranges, key=lambda one: one[1]):
        if not any(least <= shift <= most for shift in found):
            found.append(most)
    return sorted(found)


def scaled(one: Affine, shifts: Sequence[int]) -> Affine:
    """The same with the largest of the shifts that it may take."""
    shift = max(shift for shift in shifts if shift <= one.most)
    by = shift - one.shift
    return Affine(one.factor << by, one.bias << by, shift)
