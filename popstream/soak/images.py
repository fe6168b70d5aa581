"""Mutated ROM images: refused in one line, unless every tensor is still that of the network."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from popstream.hw.folding.drawn import random_folding
from popstream.model import manifest
from popstream.model.rom import image as rom
from popstream.soak.draw import mutate, pick, tiny_network
from popstream.soak.kinds import GiB, Kind, WrongError, one_by_one

__all__ = ["KIND"]

LONGEST = 4000  # characters of a message
HEADER = rom.HEADER_WORDS * rom.WORD


def signed(data: bytes) -> bytes:
    """An image with the CRC-32 that its bytes have."""
    at = rom.CRC_WORD * rom.WORD
    if len(data) < at + rom.WORD:
        return data
    return (
        data[:at] + zlib.crc32(data[:at] + bytes(rom.WORD) + data[at + rom.WORD :]).to_bytes(4, "big") + data[at + 4 :]
    )


def change_fields(rng: np.random.Generator, data: bytes, sections: int) -> bytes:
    """Other words in the header or in the table of sections, with a right CRC: what only a forger makes."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        word = int(rng.integers(0, rom.HEADER_WORDS + rom.SECTION_WORDS * sections))
        value = pick(rng, (0, 1, 2, 3, 32, 255, 65_535, 2**31, 2**32 - 1, int(rng.integers(2**32))))
        changed[4 * word : 4 * word + 4] = value.to_bytes(4, "big")
    return signed(bytes(changed))


def draw(rng: np.random.Generator, place: Path) -> None:
    """A small network, and its image (.bin or .mem) with one mutation."""
    network = tiny_network(rng)
    manifest.save(network, place / "net")
    folding = {name: (fold.simd, fold.pe) for name, fold in random_folding(network, int(rng.integers(2**31))).items()}
    data = rom.pack(network, folding)
    path = place / ("rom.bin" if rng.random() < 0.7 else "rom.mem")
    way = rng.integers(4)
    if way == 0:
        data = change_fields(rng, data, len(rom.sections(data)[1]))
    elif way == 1:
        data = signed(mutate(rng, data))
        data += bytes(-len(data) % rom.WORD)  # a .mem has whole words
    rom.write(data, path)
    if way > 1:
        path.write_bytes(mutate(rng, path.read_bytes()))


def check(place: Path, root: Path) -> Mapping[str, int]:
    """Read it and compare every tensor."""
    network = manifest.load(place / "net")
    (path,) = place.glob("rom.*")
    try:
        tensors = rom.unpack(rom.read(path), network, str(path))
        rom.verify(rom.read(path), network, str(path))
    except rom.RomError as error:
        text = str(error)
        if "\n" in text or len(text) > LONGEST or not text.startswith(str(path)):
            raise WrongError(f"not one line that names the file: {text[:300]!r}") from None
        return {"refused": 1}
    for node in network.nodes:
        for key, tensor in node.tensors.items():
            got = tensors[node.name][key]
            if got.dtype != tensor.dtype or not np.array_equal(got, tensor):
                raise WrongError(f"node {node.name!r}, tensor {key!r}: read without a word, but differs")
    return {"equal": 1}


KIND = Kind(
    "images", "ROM images, mutated; refused in one line, or every tensor right", draw, one_by_one(check), batch=100,
    seconds=60, memory=4 * GiB,
)  # fmt: skip
