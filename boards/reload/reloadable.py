"""A bitstream whose network can be exchanged later (boards/reload/reload.py): `popstream bitstream --reloadable`.

Every lane has tables of its own, each a block RAM, so that INTERVAL cycles an image are a folding that fits.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from popstream.boards.board.board import Board, BoardError
from popstream.boards.flow import build
from popstream.boards.flow.place import KEPT
from popstream.boards.link.link import HostLink
from popstream.boards.reload.reload import FAMILIES, ReloadError, record
from popstream.hw.folding.folding import Folding
from popstream.hw.reloading import difference, made_for, shape_of
from popstream.model.manifest import Network

__all__ = ["INTERVAL", "build_reloadable", "check_family"]

INTERVAL = 50_000


def check_family(board: Board) -> None:
    """BoardError for a board whose configuration cannot be changed afterwards."""
    if board.family not in FAMILIES:
        raise BoardError(f"Reloading knows the configurations of {', '.join(FAMILIES)}, not of {board.family}")


def build_reloadable(
    board: Board, network: Network, folding: Folding, mhz: float, seeds: range, folder: Path, console: Console,
    others: Sequence[Network] = (),
) -> dict[str, Any]:  # fmt: skip
    """As boards.flow.build.build, with everything trained in block RAM and reload.json beside it, and with room for
    `others`. ReloadError for a network that has no place in it.
    """
    made, shape = made_for([network, *others], folding), shape_of(network, folding)
    for one in (network, *others):
        said = difference(shape, made, one, folding)
        if said is not None:
            raise ReloadError(f"{one.name} cannot be built to be reloaded: {said}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / KEPT).write_text("{}\n")  # placement is kept where this file is

    def make_link(network: Network, folding: Folding, clock_hz: float, baud: float) -> HostLink:
        return HostLink(network, folding, clock_hz, baud, reload=made)

    figures = build.build(board, network, folding, mhz, seeds, folder, console, make_link)
    with build.stage(console, "memories: where each of them lies"):
        record(board, network, folding, made, folder, {**figures, "mhz": mhz})
    return figures
