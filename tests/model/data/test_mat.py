"""MATLAB's files as scipy writes them are read as scipy reads them; damage is named."""

import io
import struct

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from popstream.model.data.mat import MatError, arrays


def written(compressed=False, **content) -> bytes:
    file = io.BytesIO()
    savemat(file, content, do_compression=compressed)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i1", "<u2", "<i4", "<i8", "<f4", "<f8"])
def test_as_scipy_reads_them(compressed, kind):
    values = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(kind)
    data = written(compressed, X=values, y=np.array([[1], [2]], kind), z="text", long_name_of_eleven=values[0])
    found, wanted = arrays(data, ("X", "y", "long_name_of_eleven")), loadmat(io.BytesIO(data))
    assert set(found) == {"X", "y", "long_name_of_eleven"}
    for name, array in found.items():
        assert array.dtype == wanted[name].dtype
        np.testing.assert_array_equal(array, wanted[name])


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def forged(shape=(2, 2), values=b"abcd", flags=9, kind=2) -> bytes:
    """A file with one matrix."""
    parts = (6, struct.pack("<II", flags, 0)), (5, struct.pack(f"<{len(shape)}i", *shape)), (1, b"X"), (kind, values)
    return bytes(124) + b"\x00\x01IM" + element(14, b"".join(element(*part) for part in parts))


def test_a_forged_one_is_good():
    np.testing.assert_array_equal(arrays(forged(), "X")["X"], [[97, 99], [98, 100]])


@pytest.mark.parametrize(("data", "message"), [
    (b"", "no MATLAB 5 file"),
    (bytes(200), "no MATLAB 5 file"),
    (forged(shape=(2**30, 2**30)), r"a matrix of \(1073741824, 1073741824\) in 4 bytes"),
    (forged(shape=(-2, -2)), r"a matrix of \(-2, -2\) in 4 bytes"),
    (forged(shape=(0, 2**30)), r"a matrix of \(0, 1073741824\) in 4 bytes"),
    (forged(flags=9 | 0x800), "no array of real numbers"),
    (forged(flags=1), "no array of real numbers"),
    (forged(kind=99), "no array of real numbers"),
    (forged()[:-8], "cut short: an element of"),
    (forged()[:-3], "cut short"),
    (forged() + b"abc", "cut short"),
    (bytes(124) + b"\x00\x01IM" + element(15, b"no stream"), "cannot be unpacked"),
    (bytes(124) + b"\x00\x01IM" + element(14, element(1, b"x") * 4), "without flags, shape and name"),
])  # fmt: skip
def test_damage(data, message):
    with pytest.raises(MatError, match=message):
        arrays(data, "X")


def test_what_unpacks_to_too_much(monkeypatch):
    monkeypatch.setattr("popstream.model.data.mat.MOST", 1000)
    with pytest.raises(MatError, match="cut short, or more than 1,000 bytes"):
        arrays(written(True, X=np.zeros(5000)), "X")
