"""Places of multipliers: nextpnr's static placer leaves them scattered over a device, and their products' wires long.

It moves the multipliers, few and large, onto sites before the logic has settled, and never again. Of ResNet-20 on an
LFE5U-85F a sixth of all wire led from the first layer's multipliers to their adders. So such a design is placed twice:
after the first time its multipliers are dealt anew to the sites that they have, as the logic now lies, those of one
adder tree side by side and in its order, and the logic is placed around them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from popstream.boards.flow.places import Cells, with_bels
from popstream.boards.flow.toolchain import Progress

__all__ = ["DEALT", "RULE", "deal", "deal_multipliers", "many"]

MULTIPLIER = "MULT18X18D"
MANY = 64
RULE = f"multipliers dealt anew, from {MANY}"  # told to whoever asks whether two builds are alike
DEALT = "dealt.json"
TOGETHER = 0.7  # of what draws a multiplier is its block's middle; the rest are the cells it is wired to
TREE = 8  # multipliers of a block that lie in its order
WIDE = 60  # readers of a net that draws nobody


def many(cells: Mapping[str, int]) -> bool:
    """Whether a synthesised design of `cells` is worth placing twice."""
    return cells.get(MULTIPLIER, 0) >= MANY


def deal_multipliers(
    tool: str, folder: Path, out: Path, netlist: str, arguments: Sequence[str],
    progress: Progress = lambda text: None,
) -> str:  # fmt: skip
    """`folder`/`netlist` with places for its multipliers, as `out`/dealt.json; returns that name within `folder`.

    `arguments` are nextpnr's for the device, placer, clock and seed. NeverPlaced where the placement does not end.
    """
    return with_bels(tool, folder, out, netlist, arguments, MULTIPLIER, deal, "first", DEALT, progress)


def deal(cells: Cells) -> dict[str, str]:
    """A site for each multiplier of a placed design, among those that they have: the shortest wires in all, by linear
    assignment.
    """
    from scipy.optimize import linear_sum_assignment  # slow to load, and few builds need it

    dealt = [name for name, cell in cells.items() if cell["type"] == MULTIPLIER]
    sites = [cells[name]["attributes"]["NEXTPNR_BEL"] for name in dealt]
    at = np.array([place(site) for site in sites], float)
    middles, neighbours = middles_of(cells, {block_of(name) for name in dealt}), Neighbours(cells)
    cost = np.zeros((len(dealt), len(sites)))
    for row, name in enumerate(dealt):
        drawn = np.array(list(neighbours.of(name)), float).reshape(-1, 2)
        middle, share = middles.get(block_of(name)), 1.0
        if middle is not None:
            share = 1 - TOGETHER
            cost[row] = TOGETHER * len(drawn) * np.abs(at - middle).sum(axis=1)
        cost[row] += share * np.abs(at[:, None] - drawn).sum(axis=(1, 2))
    result = {dealt[row]: sites[column] for row, column in zip(*linear_sum_assignment(cost), strict=True)}
    blocks = defaultdict[str, list[str]](list)
    for name in dealt:
        blocks[block_of(name)].append(name)
    for names in blocks.values():
        if len(names) >= TREE:
            taken = along([result[name] for name in names])
            result |= zip(sorted(names, key=numbers), taken, strict=True)
    return result


def place(site: str) -> tuple[int, int]:
    """Column and row of a site's name."""
    found = re.match(r"X(\d+)/Y(\d+)/", site)
    assert found is not None, site
    return int(found[1]), int(found[2])


def numbers(name: str) -> list[int]:
    """The numbers in a multiplier's own name, which tell its place in the tree behind it."""
    return [int(number) for number in re.findall(r"\d+", name.rsplit(".", 2)[-2])]


def block_of(name: str) -> str:
    """The block around a multiplier's: whose adders its product goes to."""
    return name.rsplit(".", 2)[0]


def along(sites: Sequence[str]) -> list[str]:
    """Sites row by row, to and fro."""
    rows = defaultdict[int, list[str]](list)
    for site in sorted(sites, key=lambda site: (place(site)[0], site)):
        rows[place(site)[1]].append(site)
    return [site for turn, y in enumerate(sorted(rows)) for site in (rows[y][::-1] if turn % 2 else rows[y])]


def middles_of(cells: Cells, blocks: set[str]) -> dict[str, np.ndarray]:
    """Where the LUTs of each block lie in the mean."""
    found = defaultdict[str, list[tuple[int, int]]](list)
    for name, cell in cells.items():
        if cell["type"] == "TRELLIS_COMB":
            parts = name.split(".")
            for length in range(1, len(parts)):
                if (block := ".".join(parts[:length])) in blocks:
                    found[block].append(place(cell["attributes"]["NEXTPNR_BEL"]))
    return {block: np.mean(places, axis=0) for block, places in found.items()}


class Neighbours:
    """What draws a multiplier, wire by wire; where it leads to a flip-flop alone, that is what lies behind."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.drivers: dict[int, str] = {}
        self.readers = defaultdict[int, list[str]](list)
        for name, cell in cells.items():
            for port, bits in cell["connections"].items():
                for bit in bits:
                    if isinstance(bit, int) and cell["port_directions"][port] == "output":
                        self.drivers[bit] = name
                    elif isinstance(bit, int):
                        self.readers[bit].append(name)

    def of(self, name: str) -> Iterator[np.ndarray]:
        """Places, one for each wire."""
        cell = self.cells[name]
        for port, bits in cell["connections"].items():
            if port.startswith(("CLK", "CE", "RST")):
                continue
            for bit in bits:
                if not isinstance(bit, int) or len(self.readers[bit]) > WIDE:
                    continue
                outwards = cell["port_directions"][port] == "output"
                places = self._of(self._behind(bit) if outwards else [self.drivers[bit]])
                if places:
                    yield np.mean(places, axis=0)

    def _behind(self, bit: int) -> Iterator[str]:
        for name in self.readers[bit]:
            cell = self.cells[name]
            if cell["type"] == "TRELLIS_FF":
                yield from (reader for q in cell["connections"].get("Q", []) for reader in self.readers[q])
            else:
                yield name

    def _of(self, names: Iterable[str]) -> list[tuple[int, int]]:
        """Places of those that are no multipliers."""
        some = [self.cells[name] for name in names]
        return [
            place(cell["attributes"]["NEXTPNR_BEL"])
            for cell in some
            if cell["type"] != MULTIPLIER and "NEXTPNR_BEL" in cell["attributes"]
        ]
