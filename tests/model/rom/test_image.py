"""The ROM image: same tensors back, the order of its bits, every flipped bit found."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from popstream.model.manifest import Network
from popstream.model.rom import image as rom
from popstream.model.rom.planes import geometry, weight_codes, weight_words
from tests.networks import random_network


@pytest.fixture(scope="module")
def small() -> Network:
    return random_network(5, weight_bits=2, channels=(2,), strides=(1,), convs_per_block=1, height=4, width=4)


def assert_equal(tensors: rom.Tensors, network: Network) -> None:
    assert {name: set(t) for name, t in tensors.items()} == {n.name: set(n.tensors) for n in network.nodes if n.tensors}
    for node in network.nodes:
        for key, tensor in node.tensors.items():
            got = tensors[node.name][key]
            assert got.dtype == tensor.dtype
            np.testing.assert_array_equal(got, tensor)


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


@pytest.mark.parametrize("weight_bits", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", range(4))
def test_round_trip_with_random_foldings(weight_bits: int, seed: int):
    rng = np.random.default_rng(seed)
    network = random_network(seed, weight_bits=weight_bits, act_bits=seed + 1, channels=(4, 6), shortcut="B")
    folding = {}
    for node in network.nodes:
        if "weight" in node.tensors and rng.random() < 0.8:
            n, out = geometry(node)
            folding[node.name] = (int(rng.choice(divisors(n))), int(rng.choice(divisors(out))))
    assert folding
    data = rom.pack(network, folding)
    assert_equal(rom.unpack(data, network), network)
    rom.verify(data, network)
    assert_equal(rom.unpack(rom.pack(network), network), network)


def test_weight_words_by_definition():
    network = random_network(1, weight_bits=3, channels=(4, 6))
    node = network.node("group1.conv1.conv")
    q, simd, pe = node.tensors["weight"], 9, 2
    words = weight_words(node, simd, pe)
    assert words.shape == (3 * 6 * 3, simd * pe)
    address = 0
    for group in range(6 // pe):
        for plane in range(3):
            for chunk in range(54 // simd):
                for lane in range(pe):
                    for s in range(simd):
                        (ky, kx), c = divmod((chunk * simd + s) // 6, 3), (chunk * simd + s) % 6
                        bit = q[group * pe + lane, c, ky, kx] >> plane & 1
                        assert words[address, lane * simd + s] == bit
                address += 1
    np.testing.assert_array_equal(weight_codes(node, words, simd, pe), q)


def test_image_by_hand(small: Network):
    """Header, and the first section's words as bits: most significant first."""
    data = rom.pack(small, {"stem.conv": (9, 2)})
    words = [int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4)]
    sections = sum(len(node.tensors) for node in small.nodes)
    assert data[:4] == b"POPS"
    assert words[1:3] == [1 << 16 | sections, len(words)]
    assert words[3] == zlib.crc32(data[:12] + bytes(4) + data[16:])
    assert data[16:48].hex() == small.hash
    elements = small.node("stem.conv").tensors["weight"].size * 8
    assert words[12:17] == [1 << 16 | 0 << 8 | 1, 9, 2, 12 + 6 * sections, elements]
    first = weight_words(small.node("stem.conv"), 9, 2)[0]
    start = (12 + 6 * sections) * 4
    bits = "".join(f"{byte:08b}" for byte in data[start : start + 4])
    assert bits[:18] == "".join(str(bit) for bit in first[::-1])


def test_widths_are_the_smallest(small: Network):
    _, found = rom.sections(rom.pack(small))
    for section in found:
        if section.tensor != "weight":
            tensor = small.nodes[section.node].tensors[section.tensor].astype(np.int64)
            low, high = -(2 ** (section.width - 1)), 2 ** (section.width - 1) - 1
            assert low <= tensor.min()
            assert tensor.max() <= high
            assert section.width == 1 or tensor.min() < low // 2 or tensor.max() > high // 2


@pytest.mark.parametrize("suffix", [".bin", ".mem"])
def test_files_round_trip(small: Network, tmp_path: Path, suffix: str):
    data = rom.pack(small)
    rom.write(data, tmp_path / f"x{suffix}")
    assert rom.read(tmp_path / f"x{suffix}") == data
    assert [path.name for path in tmp_path.iterdir()] == [f"x{suffix}"]


def test_mem_is_what_readmemh_reads(small: Network, tmp_path: Path):
    data = rom.pack(small)
    rom.write(data, tmp_path / "x.mem")
    title, *lines = (tmp_path / "x.mem").read_text().splitlines()
    assert title == f"// popstream ROM image, {len(data) // 4} words of 32 bits"
    assert [int(line, 16).to_bytes(4, "big") for line in lines] == [data[i : i + 4] for i in range(0, len(data), 4)]


def refused(path: Path, network: Network) -> str:
    with pytest.raises(rom.RomError) as caught:
        rom.unpack(rom.read(path), network, str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".bin", ".mem"])
def test_every_flipped_bit_is_found(small: Network, tmp_path: Path, suffix: str):
    """All bits of the beginning (of a .bin: the header and two sections), and every 61st after that."""
    path = tmp_path / f"x{suffix}"
    rom.write(rom.pack(small), path)
    whole = bytearray(path.read_bytes())
    dense = 8 * (48 + 24 * 2)
    for bit in [*range(dense), *range(dense, 8 * len(whole), 61)]:
        whole[bit // 8] ^= 1 << bit % 8
        path.write_bytes(whole)
        refused(path, small)
        whole[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("suffix", [".bin", ".mem"])
def test_every_truncation_is_found(small: Network, tmp_path: Path, suffix: str):
    path = tmp_path / f"x{suffix}"
    rom.write(rom.pack(small), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert "cut short" in refused(path, small)
    path.write_bytes(whole + whole[-8:])
    assert "cut short or damaged" in refused(path, small)


def test_messages(small: Network, tmp_path: Path):
    data = rom.pack(small)
    path = tmp_path / "x.bin"
    assert "cannot be read (No such file or directory)" in refused(path, small)
    for change, message in (
        ((0, b"ELF!"), "not a ROM image, or damaged: begins with b'ELF!', not b'POPS'"),
        ((60, b"\x55"), "node 'stem.conv', tensor 'weight': damaged: CRC-32 is "),
        ((16, b"\x55"), "x.bin: header damaged: CRC-32 is "),
    ):
        at, value = change
        path.write_bytes(data[:at] + value + data[at + len(value) :])
        assert message in refused(path, small)
    path.write_bytes(resign(data[:4] + b"\0\2" + data[6:]))
    assert "version must be 1, not 2" in refused(path, small)
    path.write_bytes(data)
    assert "packed from another network: its hash is " in refused(path, random_network(6))
    path.with_suffix(".mem").write_text("// popstream ROM image, 2 words of 32 bits\n01234567\n0123456g\n")
    assert "damaged: line 3 must be 8 hex digits, not '0123456g'" in refused(path.with_suffix(".mem"), small)
    with pytest.raises(rom.RomError, match=r"x\.hex: a ROM image's file name must end in \.bin or \.mem"):
        rom.write(data, tmp_path / "x.hex")


def resign(data: bytes) -> bytes:
    return data[:12] + zlib.crc32(data[:12] + bytes(4) + data[16:]).to_bytes(4, "big") + data[16:]


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        (1, 1 << 16 | 9999, "section .* of 9999 cannot be read|its sections are not those of"),
        (12, 7 << 16 | 1, "its sections are not those of 'random'"),
        (12, 1 << 16 | 9 << 8 | 1, "damaged: section 0 of .* cannot be read"),
        (13, 5, "node 'stem.conv', tensor 'weight': .* does not fit"),
        (13, 0, "node 'stem.conv', tensor 'weight': .* does not fit"),
        (15, 10**6, "node 'stem.conv', tensor 'weight': cannot be read"),
        (16, 3, "node 'stem.conv', tensor 'weight': .* does not fit"),
        (18, 2 << 16 | 2 << 8 | 0, "node 'stem.requant', tensor 'multiplier': cannot be read"),
    ],
)
def test_wrong_sections_with_a_good_crc(small: Network, word: int, value: int, message: str):
    data = rom.pack(small)
    data = resign(data[: word * 4] + value.to_bytes(4, "big") + data[word * 4 + 4 :])
    with pytest.raises(rom.RomError, match=rf"^x: .*{message}"):
        rom.unpack(data, small, "x")


@pytest.mark.parametrize("fold", [(2, 1), (27, 4), (0, 1), (9, 0)])
def test_folding_must_divide(small: Network, fold: tuple[int, int]):
    message = (
        rf"Node 'stem\.conv': simd must divide 27 products and pe 2 channels, but they are {fold[0]} and {fold[1]}"
    )
    with pytest.raises(rom.RomError, match=message):
        rom.pack(small, {"stem.conv": fold})


def test_folding_of_an_unknown_node(small: Network):
    with pytest.raises(rom.RomError, match=r"Folding names 'pool', which is no conv or linear node of 'random'"):
        rom.pack(small, {"pool": (1, 1)})


def test_verify_finds_a_changed_tensor(small: Network):
    """A valid image whose first weight bit differs."""
    data = rom.pack(small)
    at = rom.sections(data)[1][0].start * 4
    changed = resign(data[:at] + bytes([data[at] ^ 128]) + data[at + 1 :])
    with pytest.raises(rom.RomError, match=r"^x: node 'stem\.conv', tensor 'weight': differs from the manifest$"):
        rom.verify(changed, small, "x")
