"""A bitstream whose network can be exchanged later (boards/reload/reload.py): `popstream bitstream --reloadable`.

Takes the options of boards.flow.build. The folding is by default the one for at most INTERVAL cycles an image, since
every lane has tables of its own, each a block RAM. Writes build/<net>/<board>-reloadable/.
"""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from popstream.boards.board.board import Board, BoardError
from popstream.boards.fitting.capacity import fold
from popstream.boards.flow import build
from popstream.boards.flow.place import BITSTREAM, KEPT
from popstream.boards.known import find
from popstream.boards.link.link import HostLink
from popstream.boards.reload.contents import ContentError
from popstream.boards.reload.reload import FAMILIES, ReloadError, difference, raised, record, reload_folder, shape_of
from popstream.hw.folding.folding import Folding
from popstream.model import manifest
from popstream.model.manifest import Network

__all__ = ["build_reloadable", "main"]

INTERVAL = 50_000


def build_reloadable(
    board: Board, network: Network, folding: Folding, mhz: float, seeds: range, folder: Path, console: Console
) -> dict[str, Any]:
    """As boards.flow.build.build, with everything trained in block RAM and reload.json beside it."""
    shifts = raised(network)
    said = difference(shape_of(network), shifts, network)
    if said is not None:
        raise ReloadError(f"{network.name} cannot be built to be reloaded: {said}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / KEPT).write_text("{}\n")  # placement is kept where this file is

    def make_link(network: Network, folding: Folding, clock_hz: float, baud: float) -> HostLink:
        return HostLink(network, folding, clock_hz, baud, reload=shifts)

    figures = build.build(board, network, folding, mhz, seeds, folder, console, make_link)
    with build.stage(console, "memories: where each of them lies"):
        record(board, network, shifts, folder, {**figures, "mhz": mhz})
    return figures


def main(given: list[str] | None = None) -> int:
    """0 if the bitstream is written, 1 with one line if not."""
    options, console = build.parse(given), Console()
    try:
        board = find(options.board)
        if board.family not in FAMILIES:
            raise BoardError(f"Reloading knows the configurations of {', '.join(FAMILIES)}, not of {board.family}")
        network = manifest.load(manifest.find(options.net))
        whole = Folding.load(options.folding, network) if options.folding else None
        folding = whole or fold(board, network, options.interval or INTERVAL)
        folder = options.out or reload_folder(board, network.name)
        seeds = range(options.seed, options.seed + options.seeds)
        figures = build_reloadable(board, network, folding, options.freq or board.mhz, seeds, folder, console)
    except (ReloadError, ContentError, *build.ERRORS) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.print(build.report(figures))
    print(f"-> {folder / BITSTREAM[board.family]}  (make reload BOARD={board.name} NET=... exchanges the network)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
