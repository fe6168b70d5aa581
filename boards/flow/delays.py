"""nextpnr's delays of a routed design, from the SDF file that it writes: all wires, and the cells that it knows."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["CLOCK", "Cell", "Delays", "Pin", "read_delays"]

CLOCK = re.compile(r"[RW]?CLK[AB0-3]?|WCK")  # a pin that is a clock
INTERCONNECT = re.compile(r"\s*\(INTERCONNECT (\S+) (\S+) \(\S*?:(\d+)\) \(\S*?:(\d+)\)\)")
IOPATH = re.compile(r"\s*\(IOPATH (\S+) (\S+) \(\S*?:(\d+)\) \(\S*?:(\d+)\)\)")
CHECK = re.compile(r"\s*\(SETUPHOLD \(\w+ (\S+)\) \(\w+ (\S+)\) \(\S*?:(-?\d+)\)")
NAMED = re.compile(r"\s*\((CELLTYPE|INSTANCE) ?(.*)\)")

Pin = tuple[str, str]  # of a cell, by its instance's name


@dataclass
class Cell:
    """paths: (from, to) in ps, from a clock or an input. checks: setup of inputs in ps."""

    kind: str
    paths: dict[tuple[str, str], int] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=dict)


class Delays(NamedTuple):
    """wires: (driver, reader, ps). cells: by instance."""

    wires: list[tuple[Pin, Pin, int]]
    cells: dict[str, Cell]


def pin(text: str) -> Pin:
    """Of `instance/port`."""
    instance, _, port = text.rpartition("/")
    return plain(instance), plain(port)


def plain(name: str) -> str:
    """A name without SDF's marks before its special characters."""
    return name.replace("\\", "") if "\\" in name else name


def read_delays(path: Path) -> Delays:
    """An SDF file of nextpnr's."""
    wires, cells, cell = [], {}, Cell("")
    with path.open() as file:
        for line in file:
            if found := IOPATH.match(line):
                cell.paths[plain(found[1]), plain(found[2])] = max(int(found[3]), int(found[4]))
            elif found := CHECK.match(line):
                port = plain(found[1])
                cell.checks[port] = max(int(found[3]), cell.checks.get(port, 0))
            elif found := INTERCONNECT.match(line):
                wires.append((pin(found[1]), pin(found[2]), max(int(found[3]), int(found[4]))))
            elif found := NAMED.match(line):
                if found[1] == "CELLTYPE":
                    cell = Cell(found[2].strip('"'))
                else:
                    cells[plain(found[2])] = cell
    return Delays(wires, cells)
