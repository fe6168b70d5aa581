"""Arrays [images, channels, height, width] to the payloads of a value stream, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.hw.stream_bench import pack, unpack

STALLS = [(0.0, 0.0), (0.4, 0.4), (0.0, 0.7), (0.7, 0.0)]
"""Chances of a stall at the inputs and at the outputs."""


def to_beats(array: np.ndarray, width: int, lanes: int) -> list[int]:
    """Payloads in stream order (image, row, column, channel group) of values of `width` bits."""
    return [pack(row, width) for row in array.transpose(0, 2, 3, 1).reshape(-1, lanes).tolist()]


def from_beats(
    words: Sequence[int], shape: tuple[int, ...], width: int, lanes: int, signed: bool = False
) -> np.ndarray:
    """Inverse of `to_beats`, for an array of `shape` [images, channels, height, width]."""
    images, channels, height, columns = shape
    values = [unpack(word, width, lanes, signed) for word in words]
    return np.array(values).reshape(images, height, columns, channels).transpose(0, 3, 1, 2)
