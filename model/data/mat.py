"""Arrays of numbers in a MATLAB 5 .mat file, little endian; each size is checked before it is believed.

A file is a header of 128 bytes and elements: type u32, size u32, content, filled up to 8 bytes; or, up to 4 bytes of
content, type u16, size u16, content. A matrix is an element of elements: flags with its class, shape, name, values,
which may be stored in a smaller type than the class's. It may stand in another element, compressed by zlib.
"""

import math
import struct
import zlib
from collections.abc import Container, Iterator

import numpy as np

__all__ = ["MatError", "arrays"]

HEADER = 128
MOST = 2**29  # bytes that an element is unpacked to
TYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
CLASSES = {6: "<f8", 7: "<f4", 8: "i1", 9: "u1", 10: "<i2", 11: "<u2", 12: "<i4", 13: "<u4", 14: "<i8", 15: "<u8"}
NAME, SHAPE, FLAGS, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
COMPLEX = 0x0800


class MatError(ValueError):
    """The file is none of MATLAB 5, or damaged; one line."""


def arrays(content: bytes, wanted: Container[str]) -> dict[str, np.ndarray]:
    """The matrices of these names in a file, read only; MatError where one is no plain array, or there is damage."""
    if len(content) < HEADER or content[124:128] != b"\x00\x01IM":
        raise MatError("no MATLAB 5 file of a little-endian machine")
    found = {}
    for kind, data in elements(memoryview(content)[HEADER:]):
        if kind == COMPRESSED:
            ((kind, data),) = elements(unpacked(data))
        if kind != MATRIX:
            continue
        (flags_kind, flags), (shape_kind, sizes), (name_kind, name), *values = elements(data)
        if (flags_kind, shape_kind, name_kind) != (FLAGS, SHAPE, NAME) or len(flags) != 8 or len(sizes) % 4:
            raise MatError("a matrix without flags, shape and name")
        if bytes(name).decode("latin1") in wanted:
            found[bytes(name).decode("latin1")] = matrix(struct.unpack("<II", flags)[0], sizes, values)
    return found


def unpacked(data: memoryview) -> memoryview:
    """What zlib compressed, if it is no more than MOST."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, MOST)
    except zlib.error as error:
        raise MatError(f"cannot be unpacked ({error})") from None
    if not stream.eof:
        raise MatError(f"cut short, or more than {MOST:,} bytes")
    return memoryview(content)


def elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and content of the elements that follow each other in `data`."""
    while data:
        if len(data) < 8:
            raise MatError("cut short")
        kind, size = struct.unpack_from("<II", data)
        start = 8
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, 4
        if size > len(data) - start or (start == 4 and size > 4):
            raise MatError(f"cut short: an element of {size} bytes where {len(data) - start} are left")
        yield kind, data[start : start + size]
        end = start + size
        data = data[end if kind == COMPRESSED else -(-end // 8) * 8 :]


def matrix(flags: int, sizes: memoryview, values: list[tuple[int, memoryview]]) -> np.ndarray:
    """The array of a matrix, whose first index runs fastest."""
    shape = struct.unpack(f"<{len(sizes) // 4}i", sizes)
    if flags & 0xFF not in CLASSES or flags & COMPLEX or len(values) != 1 or values[0][0] not in TYPES:
        raise MatError("a matrix that is no array of real numbers")
    stored = np.dtype(TYPES[values[0][0]])
    if min(shape, default=0) < 0 or math.prod(shape) * stored.itemsize != len(values[0][1]):
        raise MatError(f"a matrix of {shape} in {len(values[0][1])} bytes")
    return np.frombuffer(values[0][1], stored).astype(CLASSES[flags & 0xFF], copy=False).reshape(shape, order="F")
