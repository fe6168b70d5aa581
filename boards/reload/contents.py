"""Contents of block RAMs, by cell: in a netlist of yosys', and in the configuration that nextpnr writes as text.

    ECP5    parameters INITVAL_00 to INITVAL_3F of 320 bits, 16 words of 18 bits with 2 of padding each;
            configuration ".bram_init WID", 2048 words of 9 bits, the lower half of a word of 18 first
    iCE40   parameters INIT_0 to INIT_F of 256 bits; configuration ".ram_data X Y", a line of 64 hex digits each

The word a bit belongs to, and the RAMs that a memory is split into, are yosys' affair: nothing here knows of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ContentError", "Ram", "fill", "lines_of", "patch", "places", "rams", "sections"]

TYPES = {"ecp5": ("DP16KD", "PDPW16KD"), "ice40": ("SB_RAM40_4K", "SB_RAM40_4KNR", "SB_RAM40_4KNW", "SB_RAM40_4KNRNW")}
INIT = {"ecp5": [f"INITVAL_{row:02X}" for row in range(64)], "ice40": [f"INIT_{row:X}" for row in range(16)]}
BITS = {"ecp5": 320, "ice40": 256}
SUFFIX = {"ecp5": "", "ice40": "_RAM"}  # of a cell's name, which nextpnr appends
HEADER = {"ecp5": r"\.bram_init \d+", "ice40": r"\.ram_data \d+ \d+"}
SETTLED = "GSR"  # "AUTO" until yosys' ecp5_gsr, behind the mapping of memories, says what that is
WORD, HALF, PITCH, ROW_WORDS = 18, 9, 20, 16  # of an ECP5's INITVAL


class ContentError(RuntimeError):
    """A netlist or configuration that is not as expected; one line."""


@dataclass(frozen=True)
class Ram:
    """A block RAM of a netlist: its type, its contents as bits by parameter, most significant bit first, and the other
    parameters.
    """

    type: str
    init: Mapping[str, str]
    other: Mapping[str, str]


def rams(netlist: Mapping[str, Any], family: str) -> dict[str, Ram]:
    """The block RAMs of module `top` of a JSON of yosys', by name."""
    found = {}
    for name, cell in netlist["modules"]["top"]["cells"].items():
        if cell["type"] in TYPES[family]:
            given = cell["parameters"]
            init = {key: given.get(key, "") for key in INIT[family]}
            kept = {key: value for key, value in given.items() if key not in init and key != SETTLED}
            found[name] = Ram(cell["type"], init, kept)
    return found


def fill(netlist: dict[str, Any], contents: Mapping[str, Ram]) -> None:
    """Put these contents into the block RAMs of a netlist."""
    for name, ram in contents.items():
        netlist["modules"]["top"]["cells"][name]["parameters"].update(ram.init)


def lines_of(family: str, init: Mapping[str, str]) -> list[str]:
    """The configuration's lines of these contents; bits that are x or not given are 0."""
    rows = [init[key].replace("x", "0").rjust(BITS[family], "0") for key in INIT[family]]
    if family == "ice40":
        return [f"{int(row, 2):064x}" for row in rows]
    words = []
    for row in rows:
        value = int(row, 2)
        for place in range(ROW_WORDS):
            word = value >> PITCH * place & (1 << WORD) - 1
            words += [word & (1 << HALF) - 1, word >> HALF]
    return [" ".join(f"{word:03x}" for word in words[start : start + 8]) for start in range(0, len(words), 8)]


def places(routed: Mapping[str, Any], family: str, names: Mapping[str, Ram]) -> dict[str, str]:
    """The configuration's header of each RAM, from the JSON that nextpnr writes. ContentError if one is missing."""
    cells = routed["modules"]["top"]["cells"]
    found = {}
    for name in names:
        cell = cells.get(f"{name}{SUFFIX[family]}")
        if cell is None:
            raise ContentError(f"The placed design has no block RAM {name}")
        if family == "ecp5":
            found[name] = f".bram_init {int(cell['attributes']['WID'], 2)}"
        else:
            bel = cell["attributes"]["NEXTPNR_BEL"]
            place = re.match(r"X(\d+)/Y(\d+)/", bel)
            if place is None:
                raise ContentError(f"Block RAM {name} is placed at {bel}, which is no tile")
            found[name] = f".ram_data {place[1]} {place[2]}"
    if len(set(found.values())) < len(found):
        raise ContentError("Two block RAMs have the same place")
    return found


def sections(text: str, family: str) -> dict[str, list[str]]:
    """The lines of every block RAM's section of a configuration, by header."""
    return {
        match[1]: match[2].split("\n")[:-1]
        for match in re.finditer(rf"^({HEADER[family]})\n((?:[0-9a-f ]+\n)+)", text, re.MULTILINE)
    }


def patch(text: str, family: str, contents: Mapping[str, list[str]]) -> str:
    """The configuration with these sections exchanged. ContentError for one that it has not, or of another length."""
    known = sections(text, family)
    for header, lines in contents.items():
        if header not in known or len(known[header]) != len(lines):
            raise ContentError(f"The configuration has no section {header!r} of {len(lines)} lines")

    def exchange(match: re.Match[str]) -> str:
        return "\n".join([match[1], *contents.get(match[1], known[match[1]]), ""])

    return re.sub(rf"^({HEADER[family]})\n((?:[0-9a-f ]+\n)+)", exchange, text, flags=re.MULTILINE)
