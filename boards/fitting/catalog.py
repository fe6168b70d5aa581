"""`popstream boards`: every board, its device, and at which interval each network of the zoo fits."""

import argparse
import sys
from pathlib import Path

from rich.table import Table
from tqdm import tqdm

from popstream.boards.board.board import Board
from popstream.boards.fitting.capacity import fastest, need
from popstream.boards.known import boards
from popstream.model.console import table_console
from popstream.model.manifest import ManifestError, Network, load, zoo

__all__ = ["fit_text", "main"]


def fit_text(board: Board, network: Network) -> str:
    """The interval of the fastest folding that fits and the share of LUTs it is estimated to take, or "-"."""
    found = fastest(board, network)
    if found is None:
        return "-"
    needed = need(board, network, found[1])
    return f"{found[0]:,} ({100 * needed['lut'] / board.device.capacity['lut']:.0f} % LUT)"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="popstream boards", description="List the boards.")
    parser.add_argument("nets", nargs="*", help="manifests to check for (every network of model/zoo)")
    options = parser.parse_args(arguments)
    try:
        names = options.nets or zoo()
        networks = [load(Path(name)) for name in names]
    except (ManifestError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    table = Table(title="boards; of each network the least cycles an image that fit, by the cost estimate")
    for column in ("board", "device", "LUT", "EBR", "DSP", "MHz", *(network.name for network in networks)):
        table.add_column(column, justify="right" if column in ("LUT", "EBR", "DSP", "MHz") else "left")
    notes = []
    for board in tqdm(boards().values(), desc="fitting", unit="board", leave=False, disable=None):
        capacity = board.device.capacity
        fits = [fit_text(board, network) for network in networks]
        numbers = [f"{capacity[resource]:,}" for resource in ("lut", "ebr", "dsp")]
        table.add_row(board.name, board.part, *numbers, f"{board.mhz:g}", *fits)
        if board.note:
            notes.append(f"{board.name}: {board.note}")
    console = table_console()
    console.print(table)
    for note in notes:
        print(note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
