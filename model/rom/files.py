"""ROM images as files: .bin for a flash, .mem for $readmemh; and the folding that orders one, from its JSON."""

import json
import re
from pathlib import Path

import numpy as np

from popstream.model.files import write_whole

TITLE = "// popstream ROM image, {} words of 32 bits"
LINE = re.compile(r"[0-9a-f]{8}")


class RomError(ValueError):
    """A ROM image is damaged or does not belong to the network; one line that names the file."""


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
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RomError(f"{path}: cannot be read ({error.strerror})") from None
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
    try:
        content = json.loads(path.read_text())
        folding = {name: (entry["simd"], entry["pe"]) for name, entry in content.items()}
    except OSError as error:
        raise RomError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise RomError(f"{path}: not a folding ({type(error).__name__}: {error})") from None
    for name, pair in folding.items():
        if any(type(value) is not int for value in pair):
            raise RomError(f"{path}: node {name!r}: simd and pe must be integers, not {pair}")
    return folding
