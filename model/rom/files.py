"""ROM images as files: .bin for a flash, .mem for $readmemh; and the folding that orders one, from its JSON."""

import re
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from popstream.model.checked import InputError, convert, read_bytes, read_json
from popstream.model.files import write_whole

TITLE = "// popstream ROM image, {} words of 32 bits"
MOST_BYTES = 2**28  # of a file that is read at all
LINE = re.compile(r"[0-9a-f]{8}")


class RomError(InputError):
    """A ROM image is damaged or does not belong to the network; one line that names the file."""


class Lanes(Struct, frozen=True):
    """What a ROM image needs of a layer's fold."""

    simd: Annotated[int, Meta(ge=1)]
    pe: Annotated[int, Meta(ge=1)]


def write(data: bytes, path: Path | str) -> None:
    """Write an image as .bin (bytes) or .mem ($readmemh text, one word of 32 bits a line), beside and then renamed."""
    path = Path(path)
    if path.suffix not in (".bin", ".mem"):
        raise RomError(f"{path}: a ROM image's file name must end in .bin or .mem")
    if path.suffix == ".mem":
        words = np.frombuffer(data, ">u4")
        text = TITLE.format(len(words)) + "\n" + "".join(f"{word:08x}\n" for word in words)
    content = data if path.suffix == ".bin" else text.encode()
    write_whole(path, content)


def read(path: Path | str) -> bytes:
    """The bytes of an image written by `write`; `unpack` checks them. RomError names the file."""
    path = Path(path)
    data = read_bytes(path, MOST_BYTES, RomError)
    if path.suffix != ".mem":
        return data
    title, *lines = data.decode("ascii", "replace").split("\n")
    if not lines or lines.pop() != "":
        raise RomError(f"{path}: cut short: it must end with a newline")
    if title != TITLE.format(len(lines)):
        raise RomError(f"{path}: cut short or damaged: line 1 must be {TITLE.format(len(lines))!r}, not {title[:60]!r}")
    for number, line in enumerate(lines, 2):
        if not LINE.fullmatch(line):
            raise RomError(f"{path}: damaged: line {number} must be 8 hex digits, not {line[:40]!r}")
    return bytes.fromhex("".join(lines))


def read_folding(path: Path) -> dict[str, tuple[int, int]]:
    """(simd, pe) by node name from a folding's JSON: {name: {"simd": ..., "pe": ..., ...}}."""
    content = read_json(path, RomError)
    if not isinstance(content, dict):
        raise RomError(f"{path}: not a folding: must be a table of folds by node name, not {type(content).__name__}")
    folds = {name: convert(entry, Lanes, f"{path}: node {name!r}", RomError, "it") for name, entry in content.items()}
    return {name: (fold.simd, fold.pe) for name, fold in folds.items()}
