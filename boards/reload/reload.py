# amaranth: UnusedElaboratable=no
"""`popstream reload BOARD --net NET`: another trained network in an existing bitstream, without place and route.

    make bitstream BOARD=ulx3s-25f NET=one RELOADABLE=1     builds build/one/ulx3s-25f-reloadable/
    make reload BOARD=ulx3s-25f NET=two                     writes build/two/ulx3s-25f/top.bit from it

A reloadable build holds all that was trained (weights, thresholds, multipliers, biases, the link's identity) in block
RAM of widths that suit any network of the shape (storage "reload", hw/lib/table.py), and of its shared stages the
layers, too (hw/reloading.py). Reloading exchanges the block RAMs' contents in the configuration that nextpnr wrote,
and packs it again.

Why patching, and not a ROM image in the board's flash read at start-up: it costs no logic, no time at start-up and no
flash interface, of which every board has another; the device cannot run with half of the weights; and SRAM loads work.
Why not ecpbram or icebram: they find a memory by its present contents, which must be unique in every column, and
thresholds of a few entries are not. Here the contents come from yosys itself, which maps the new network's memories
(synthesis up to there, no logic) to the same cells, and each cell's place from nextpnr's own account of the placement.
Before anything is written it is checked that the two designs are one but for block RAM contents; when it was built,
that the configuration held just what the netlist's cells hold.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from popstream.boards.board.board import Board
from popstream.boards.board.top import Top, clock_plan
from popstream.boards.flow.build import folder_of
from popstream.boards.flow.figures import FIGURES, read_figures
from popstream.boards.flow.place import BITSTREAM, FLOWS, KEPT, pack, write_design
from popstream.boards.flow.toolchain import run
from popstream.boards.link.link import HostLink
from popstream.boards.reload.contents import ContentError, Ram, lines_of, patch, places, rams, sections
from popstream.hw.folding.fold import read_folds
from popstream.hw.folding.folding import Folding
from popstream.hw.folding.room import Reload
from popstream.hw.reloading import adapted, difference, shape_of
from popstream.model.files import write_json
from popstream.model.manifest import Network

__all__ = [
    "MAPPED",
    "Base",
    "ReloadError",
    "check_same",
    "record",
    "reload",
    "reload_folder",
]

RAM_TYPES = ("DP16KD", "PDPW16KD", "SB_RAM40")
FOUND, MAPPED = "memories.json", "mapped.json"
FAMILIES = ("ecp5", "ice40")


class ReloadError(RuntimeError):
    """The network does not go into the bitstream; the message is one line."""


def reload_folder(board: Board, network: str) -> Path:
    """Where a reloadable build lies."""
    folder = folder_of(board, network)
    return folder.with_name(f"{folder.name}-reloadable")


@dataclass(frozen=True)
class Mapped:
    """A design with its memories found (cells `before`: type, connections, parameters) and then mapped (`rams`)."""

    before: Mapping[str, Any]
    rams: Mapping[str, Ram]

    @classmethod
    def load(cls, folder: Path, family: str) -> "Mapped":
        """What map_memories wrote into `folder`."""
        found = json.loads((folder / FOUND).read_text())["modules"]["top"]["cells"]
        keys = ("type", "connections", "parameters")
        before = {name: {key: cell[key] for key in keys} for name, cell in found.items()}
        return cls(before, rams(json.loads((folder / MAPPED).read_text()), family))


def map_memories(family: str, synthesis: str, folder: Path) -> Mapped:
    """Synthesise `folder`/top.il (module top) as far as its memories are mapped to block RAM; logic is not."""
    script = (
        f"read_rtlil top.il; rename -hide */w:*; {synthesis} -top top -run begin:map_ram; select top; "
        f"write_json -selected {FOUND}; select -clear; {synthesis} -top top -run map_ram:map_ffram; select top; "
        f"write_json -selected {MAPPED}"
    )
    run("yosys", ["-q", "-l", "memories.log", "-p", script], folder, "memories.log")
    return Mapped.load(folder, family)


def contentless(cell: Mapping[str, Any] | None) -> Any:
    """A cell without the contents of a memory, found or given as a block RAM."""
    if cell is None or (cell["type"] != "$mem_v2" and not cell["type"].startswith(RAM_TYPES)):
        return cell
    return {**cell, "parameters": {k: value for k, value in cell["parameters"].items() if not k.startswith("INIT")}}


def check_same(base: Mapped, other: Mapped) -> None:
    """ReloadError if two designs differ in anything but the contents of block RAMs."""
    wrong = [
        name
        for name in {**base.before, **other.before}
        if (ours := base.before.get(name)) != (theirs := other.before.get(name))
        and (
            contentless(ours) != contentless(theirs)
            or not any(ram == name or ram.startswith(f"{name}.") for ram in base.rams)
        )
    ]
    for name in {**base.rams, **other.rams}:
        mine, yours = base.rams.get(name), other.rams.get(name)
        if mine is None or yours is None or (mine.type, mine.other) != (yours.type, yours.other):
            wrong.append(name)
    if wrong:
        raise ReloadError(f"Not all that differs lies in block RAM: cell {wrong[0]}; build again with RELOADABLE=1")


@dataclass(frozen=True)
class Base:
    """A reloadable build, as record left it in `folder`/reload.json."""

    folder: Path
    content: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "Base":
        """ReloadError if there is none."""
        try:
            content = json.loads((folder / KEPT).read_text())
        except (OSError, ValueError):
            content = {}
        if "places" not in content:
            raise ReloadError(f"No reloadable build in {folder}; make bitstream RELOADABLE=1 makes one")
        return cls(folder, content)

    @property
    def folding(self) -> Folding:
        """That of the network which it was built for."""
        path = self.folder / "folding.json"
        return Folding.from_dict(read_folds(path), path)

    @property
    def made(self) -> Reload:
        """What it was made for."""
        return Reload.from_dict(self.content)

    def lacks(self, network: Network) -> str | None:
        """The first thing in a network for which it has no place; None if there is none."""
        return difference(self.content["shape"], self.made, network, self.folding)


def record(
    board: Board, network: Network, folding: Folding, made: Reload, folder: Path, figures: Mapping[str, Any]
) -> None:
    """Write reload.json for the build in `folder`. ContentError unless its configuration holds its netlist's words."""
    family, seed = board.family, figures["seed"]
    mapped = map_memories(family, board.device.synthesis, folder)
    netlist = json.loads((folder / "top.json").read_text())
    built = rams(netlist, family)
    if mapped.rams != built:
        raise ContentError("Yosys maps the memories otherwise when it maps them alone")
    where = places(json.loads((folder / f"seed{seed}" / "routed.json").read_text()), family, built)
    present = sections((folder / f"seed{seed}" / FLOWS[family].routed).read_text(), family)
    for name, header in where.items():
        if present.get(header) != lines_of(family, built[name].init):
            raise ContentError(f"The configuration's {header} is not what the netlist's {name} holds")
    content: dict[str, Any] = {"network": network.name, "network_hash": network.hash, "places": where}
    content |= {"shape": shape_of(network, folding), **made.to_dict()}
    content |= {key: figures[key] for key in ("mhz", "baud", "seed")}
    write_json(folder / KEPT, content)


def reload(board: Board, network: Network, base: Base, folder: Path) -> dict[str, Any]:
    """Write the bitstream of `base` with `network` in it into `folder`, and bitstream.json; returns its figures.

    ReloadError if the network is of another shape, ContentError if the build is not as it was recorded.
    """
    began, family, content = time.time(), board.family, base.content
    said = base.lacks(network)
    if said is not None:
        raise ReloadError(f"{network.name} does not go into the bitstream of {content['network']}: {said}")
    pll = clock_plan(board, content["mhz"])
    clock = (board.mhz_in if pll is None else pll.mhz) * 1e6
    link = HostLink(network, adapted(base.folding, network), clock, content["baud"], reload=base.made)
    routed = f"seed{content['seed']}/{FLOWS[family].routed}"
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".reload-", dir=folder))
    try:
        write_design(Top(board, pll, link), scratch)
        new = map_memories(family, board.device.synthesis, scratch)
        check_same(Mapped.load(base.folder, family), new)
        contents = {header: lines_of(family, new.rams[name].init) for name, header in content["places"].items()}
        (scratch / routed).parent.mkdir()
        (scratch / routed).write_text(patch((base.folder / routed).read_text(), family, contents))
        packed = pack(board, scratch, content["seed"])
        before = sections((base.folder / routed).read_text(), family)
        figures = read_figures(base.folder / FIGURES)
        figures |= {"network": network.name, "network_hash": network.hash, "reloaded_from": content["network"]}
        figures |= {"block_rams_exchanged": sum(before[header] != lines for header, lines in contents.items())}
        figures |= {"minutes": round((time.time() - began) / 60, 2)}
        figures |= {"bitstream_sha256": hashlib.sha256(packed.read_bytes()).hexdigest()}
        (folder / BITSTREAM[family]).unlink(missing_ok=True)
        write_json(folder / FIGURES, figures)
        packed.replace(folder / BITSTREAM[family])
        for made in (routed, MAPPED):
            (scratch / made).replace(folder / Path(made).name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return figures


def choose(board: Board, network: Network, root: Path = Path("build")) -> Base:
    """The reloadable build for `board` that has this network's shape. ReloadError with what the nearest lacks."""
    found = [Base.load(path.parent) for path in sorted(root.glob(f"*/{board.name}-reloadable/{KEPT}"))]
    refused = []
    for base in found:
        said = base.lacks(network)
        if said is None:
            return base
        refused.append(f"{network.name} does not go into the bitstream of {base.content['network']}: {said}")
    if refused:
        raise ReloadError("; ".join(refused))
    raise ReloadError(f"No reloadable build for {board.name}; make bitstream BOARD={board.name} RELOADABLE=1 makes one")
