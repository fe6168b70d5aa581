"""The headers that stand in for liblz4 and zlib: what they write is read by zlib, and by LZ4's rules."""

import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

import popstream
from popstream.sim.bench.build import STANDINS

SIZES = (0, 1, 14, 15, 16, 269, 270, 271, 525, 65534, 65535, 65536, 200_000)
PROGRAM = """
#include <lz4.h>
#include <zlib.h>
#include <cstdio>
#include <vector>
int main(int, char** names) {  // data, where LZ4 goes, where zlib goes
    std::FILE* file = std::fopen(names[1], "rb");
    std::vector<char> data(1 << 20);
    const int size = std::fread(data.data(), 1, data.size(), file);
    std::vector<char> out(LZ4_compressBound(size));
    const int packed = LZ4_compress_default(data.data(), out.data(), size, out.size());
    std::fwrite(out.data(), 1, packed, std::fopen(names[2], "wb"));
    uLongf room = compressBound(size);
    out.resize(room);
    if (compress2((Bytef*)out.data(), &room, (const Bytef*)data.data(), size, 4) != Z_OK) return 1;
    std::fwrite(out.data(), 1, room, std::fopen(names[3], "wb"));
    room = compressBound(size) - 1;
    if (compress2((Bytef*)out.data(), &room, (const Bytef*)data.data(), size, 4) != Z_BUF_ERROR) return 2;
    return LZ4_compress_default(data.data(), out.data(), size, LZ4_compressBound(size) - 1) ? 3 : 0;
}
"""


def literals(block: bytes) -> bytes:
    """The data of an LZ4 block that holds no match."""
    length, start = block[0] >> 4, 1
    assert block[0] & 15 == 0
    if length == 15:
        while True:
            length, start = length + block[start], start + 1
            if block[start - 1] != 255:
                break
    assert start + length == len(block)
    return block[start:]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("standins")
    (folder / "main.cpp").write_text(PROGRAM)
    headers = Path(popstream.__file__).parent / "sim" / "bench" / "fst"
    assert sorted(path.name for path in headers.iterdir()) == sorted(STANDINS)
    flags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", f"-I{headers}"]
    subprocess.run(["g++", *flags, "main.cpp", "-o", "main"], cwd=folder, check=True)
    return folder / "main"


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(program, tmp_path, size):
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    (tmp_path / "data").write_bytes(data)
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    subprocess.run([program, "data", "lz4", "zlib"], cwd=tmp_path, check=True, env=environment)
    assert literals((tmp_path / "lz4").read_bytes()) == data
    assert zlib.decompress((tmp_path / "zlib").read_bytes()) == data
