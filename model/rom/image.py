"""ROM image: all weights, thresholds, multipliers and biases of a network, in the order of the hardware's memories.

    popstream rom NET                  # writes build/<net>/rom.bin (flash), rom.mem ($readmemh), reads them back
    popstream rom NET --check FILE     # says whether FILE is whole and NET's, else which node and tensor is not

Words of 32 bits, everything most significant bit first:

| words | field | |
|---|---|---|
| 1 | magic | "POPS" |
| 1 | version, sections | u16, u16 |
| 1 | size of the image in words | u32 |
| 1 | CRC-32 (zlib) of the image with this word 0 | u32 |
| 8 | SHA-256 of the network (Network.hash) | |
| 6 each | section: node index u16, tensor u8 (TENSORS), width u8, then u32: simd, pe, first word, elements, CRC-32 | |
| | the sections, each padded with zeros to a word | |

A weight section holds words of simd * pe bits (width 1, elements = all bits), for channel group in Co/pe, for plane in
W, for chunk in N/simd: the addresses of a matrix-vector unit on one-bit lanes. N = K*K*Ci, and bit lane*simd + s (bit 0
the least significant) is plane k of channel group*pe + lane at input chunk*simd + s = (ky*K + kx)*Ci + c. Planes are
the bits of the codes, of signed weights thus of their two's complement. Other sections hold two's complement integers
of the smallest width that fits them all, in the tensor's own order.
"""

import json
import os
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bitstring import Array, Bits, Reader, ReadError
from bitstring import pack as pack_bits

from popstream.model.manifest import Network, Node, signed_width
from popstream.model.rom.files import RomError, read, write
from popstream.model.rom.planes import geometry, weight_codes, weight_words

__all__ = ["RomError", "Section", "build", "pack", "print_table", "read", "sections", "unpack", "verify", "write"]

MAGIC = b"POPS"
VERSION = 1
TENSORS = ("weight", "thresholds", "multiplier", "bias", "shift_in", "slope", "shift_out", "table")
HEADER = "bytes:4, u:16, u:16, u:32, u:32, bytes:32"
SECTION = "u:16, u:8, u:8, u:32, u:32, u:32, u:32, u:32"
HEADER_WORDS, SECTION_WORDS, CRC_WORD = 12, 6, 3
WORD = 4  # bytes

Tensors = dict[str, dict[str, np.ndarray]]  # by node name, then local tensor name


@dataclass(frozen=True)
class Section:
    """One tensor's place in the image: node index, tensor, bits an element, folding, first word, elements, CRC-32."""

    node: int
    tensor: str
    width: int
    simd: int
    pe: int
    start: int
    elements: int
    crc: int

    @property
    def words(self) -> int:
        return -(-self.elements * self.width // 32)


def _weight_payload(words: np.ndarray) -> Bits:
    packed = np.packbits(words[:, ::-1].reshape(-1))  # each word most significant bit first
    return Bits.from_bytes(packed.tobytes(), length=words.size)


def _weight_bits(payload: Bits, simd: int, pe: int) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(payload.to_bytes(), np.uint8), count=len(payload))
    return bits.reshape(-1, simd * pe)[:, ::-1]


def _tensors(network: Network) -> list[tuple[int, Node, str]]:
    return [(i, node, key) for i, node in enumerate(network.nodes) for key in TENSORS if key in node.tensors]


def pack(network: Network, folding: Mapping[str, tuple[int, int]] | None = None) -> bytes:
    """The image of a network. `folding` maps node names to (simd, pe); nodes left out have (N, 1).

    Raises RomError for a name that has no weight or a folding that does not divide.
    """
    folding = dict(folding or {})
    for name in folding.keys() - {node.name for node in network.nodes if "weight" in node.tensors}:
        raise RomError(f"Folding names {name!r}, which is no conv or linear node of {network.name!r}")
    entries = _tensors(network)
    start = HEADER_WORDS + SECTION_WORDS * len(entries)
    found: list[Section] = []
    payloads: list[Bits] = []
    for index, node, key in entries:
        simd = pe = 0
        if key == "weight":
            simd, pe = folding.get(node.name, (geometry(node)[0], 1))
            try:
                width, payload = 1, _weight_payload(weight_words(node, simd, pe))
            except ValueError as error:
                raise RomError(f"Folding: {error}") from None
        else:
            values = node.tensors[key].ravel().tolist()
            width = signed_width(min(values), max(values))
            payload = Array(f"i{width}", values).data.to_immutable()
        padded = payload + Bits.from_zeros(-len(payload) % 32)
        crc = zlib.crc32(padded.to_bytes())
        section = Section(index, key, width, simd, pe, start, len(payload) // width, crc)
        start += section.words
        found.append(section)
        payloads.append(padded)
    head = [
        pack_bits(SECTION, s.node, TENSORS.index(s.tensor), s.width, s.simd, s.pe, s.start, s.elements, s.crc)
        for s in found
    ]
    header = pack_bits(HEADER, MAGIC, VERSION, len(found), start, 0, bytes.fromhex(network.hash))
    image = Bits.from_joined([header, *head, *payloads]).to_bytes()
    return _with_crc(image, _crc(image))


def _with_crc(image: bytes, crc: int) -> bytes:
    at = CRC_WORD * WORD
    return image[:at] + crc.to_bytes(WORD, "big") + image[at + WORD :]


def _crc(image: bytes) -> int:
    return zlib.crc32(_with_crc(image, 0))


def _read_sections(reader: Reader, count: int, source: str) -> list[Section]:
    found: list[Section] = []
    try:
        for _ in range(count):
            entry: list[Any] = reader.read_list(SECTION)
            found.append(Section(entry[0], TENSORS[entry[1]], *entry[2:]))
    except (ReadError, IndexError) as error:
        raise RomError(f"{source}: damaged: section {len(found)} of {count} cannot be read ({error})") from None
    return found


def _check_crc(data: bytes, crc: int, found: list[Section], source: str, network: Network | None) -> None:
    """RomError where the image's CRC-32 is wrong, naming the first section whose own is wrong too."""
    if _crc(data) == crc:
        return
    for s in found:
        own = zlib.crc32(data[s.start * WORD : (s.start + s.words) * WORD])
        if own != s.crc:
            known = network is not None and s.node < len(network.nodes)
            node = repr(network.nodes[s.node].name) if network is not None and known else str(s.node)
            raise RomError(
                f"{source}: node {node}, tensor {s.tensor!r}: damaged: CRC-32 is {own:08x}, "
                f"but its header says {s.crc:08x}"
            )
    raise RomError(f"{source}: header damaged: CRC-32 is {_crc(data):08x}, but it says {crc:08x}")


def sections(data: bytes, source: str = "ROM image", network: Network | None = None) -> tuple[str, list[Section]]:
    """Check magic, version, size and CRC; the network's hash and the sections.

    RomError begins with `source` and names the damaged node by its name where `network` is given, else by its index.
    """
    if len(data) < HEADER_WORDS * WORD:
        raise RomError(f"{source}: cut short, {len(data)} bytes, but the header alone has {HEADER_WORDS * WORD}")
    reader = Reader(Bits.from_bytes(data))
    fields: list[Any] = reader.read_list(HEADER)
    magic, version, count, size, crc, digest = fields
    if magic != MAGIC:
        raise RomError(f"{source}: not a ROM image, or damaged: begins with {magic!r}, not {MAGIC!r}")
    if len(data) != size * WORD:
        raise RomError(f"{source}: cut short or damaged: {len(data)} bytes, but its header says {size * WORD}")
    found = _read_sections(reader, count, source)
    _check_crc(data, crc, found, source, network)
    if version != VERSION:
        raise RomError(f"{source}: version must be {VERSION}, not {version}")
    return digest.hex(), found


def unpack(data: bytes, network: Network, source: str = "ROM image") -> Tensors:
    """All tensors of an image by node and name, in the shapes and dtypes of `network`, from which it was packed.

    Raises RomError, its message begun by `source`, for a damaged image or one packed from another network.
    """
    digest, found = sections(data, source, network)
    if digest != network.hash:
        raise RomError(
            f"{source}: packed from another network: its hash is {digest[:16]}..., that of {network.name!r} "
            f"{network.hash[:16]}..."
        )
    entries = _tensors(network)
    if [(s.node, s.tensor) for s in found] != [(index, key) for index, _, key in entries]:
        raise RomError(f"{source}: its sections are not those of {network.name!r}")
    tensors: Tensors = {node.name: {} for _, node, _ in entries}
    reader = Reader(Bits.from_bytes(data))
    for section, (_, node, key) in zip(found, entries, strict=True):
        like = node.tensors[key]
        weight = key == "weight"
        elements = like.size * (node["weight_bits"] if weight else 1)
        folds = not weight or (section.simd > 0 and section.pe > 0 and elements % (section.simd * section.pe) == 0)
        if section.elements != elements or not folds:
            raise RomError(f"{source}: node {node.name!r}, tensor {key!r}: {section} does not fit {list(like.shape)}")
        try:
            reader.pos = section.start * 32
            if weight:
                bits = _weight_bits(reader.read_bits(elements), section.simd, section.pe)
                tensors[node.name][key] = weight_codes(node, bits, section.simd, section.pe)
            else:
                values = reader.read_array(f"i{section.width}", elements).to_list()
                tensors[node.name][key] = np.array(values, like.dtype).reshape(like.shape)
        except (ValueError, OverflowError) as error:
            raise RomError(f"{source}: node {node.name!r}, tensor {key!r}: cannot be read ({error})") from None
    return tensors


def verify(data: bytes, network: Network, source: str = "ROM image") -> None:
    """Raise RomError unless the image gives every tensor of `network` back."""
    for name, tensors in unpack(data, network, source).items():
        for key, tensor in tensors.items():
            if not np.array_equal(tensor, network.node(name).tensors[key]):
                raise RomError(f"{source}: node {name!r}, tensor {key!r}: differs from the manifest")


def build(network: Network, folder: Path, folding: Mapping[str, tuple[int, int]] | None = None) -> list[Section]:
    """Write rom.bin, rom.mem and rom.json into `folder`, all read back and compared before they take their names."""
    data = pack(network, folding)
    _, found = sections(data)
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    scratch = folder / f".rom.{os.getpid()}"
    try:
        scratch.mkdir(parents=True)
        for name in ("rom.bin", "rom.mem"):
            write(data, scratch / name)
            verify(read(scratch / name), network, str(folder / name))
        rows = [asdict(s) | {"node": network.nodes[s.node].name, "bits": s.elements * s.width} for s in found]
        report = {"network": network.name, "hash": network.hash, "bytes": len(data), "sections": rows}
        (scratch / "rom.json").write_text(json.dumps(report, indent=1) + "\n")
        for path in sorted(scratch.iterdir()):
            path.replace(folder / path.name)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        for parent in made:  # innermost first; one that holds something else stays
            if parent.exists() and not any(parent.iterdir()):
                parent.rmdir()
        raise
    scratch.rmdir()
    return found


def print_table(network: Network, found: list[Section], folder: Path) -> None:
    """Bits of every layer's tensors."""
    from rich import box
    from rich.table import Table

    from popstream.model.console import plain_console

    table = Table(title=f"ROM image of {network.name}, bits", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("node", no_wrap=True)
    present = [key for key in TENSORS if any(section.tensor == key for section in found)]
    for column in ("SIMD x PE", *present):
        table.add_column(column, justify="right")
    for index, node in enumerate(network.nodes):
        row = {s.tensor: s for s in found if s.node == index}
        if row:
            fold = f"{row['weight'].simd} x {row['weight'].pe}" if "weight" in row else ""
            bits = (f"{row[key].elements * row[key].width:,}" if key in row else "" for key in present)
            table.add_row(node.name, fold, *bits)
    plain_console().print(table)
    words = found[-1].start + found[-1].words
    print(f"{folder / 'rom.bin'} and rom.mem: {words * WORD:,} bytes with header, read back equal to the manifest")
