"""`popstream bitstreams --net NET`: NET on every board that the open tools build, one after the other.

A board whose bitstream is there and would come out the same is not built again, so that the command goes on where it
was stopped. Writes build/<net>/bitstreams.json after each board, and prints the table of them all.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from popstream.boards.board.board import Board
from popstream.boards.fitting.capacity import FILL, fold, lacking, need
from popstream.boards.flow.build import ERRORS, build, discard
from popstream.hw.folding.folding import Folding, FoldingError
from popstream.model.files import write_json
from popstream.model.manifest import Network

__all__ = ["build_each", "table"]

MARGINS = " *"  # there are cells that nextpnr does not time
COLUMNS = ("board", "device", "LUT", "FF", "EBR", "DSP", "MHz wanted", "reached", "cycles an image", "seed", "minutes")


def folding_for(board: Board, network: Network, target: int | None) -> Folding:
    """The folding for at most `target` cycles an image; the board's fastest without one, or where it is too large."""
    if target is not None:
        with suppress(FoldingError):  # a board whose foldings are lean may have none so fast
            folding = fold(board, network, target)
            if not lacking(board, need(board, network, folding), FILL[board.family]):
                return folding
    return fold(board, network, None)


def build_one(
    board: Board, network: Network, target: int | None, seeds: range, folder: Path, console: Console
) -> dict[str, Any]:
    """Figures of the board's bitstream, {"error": one line} where there is none."""
    try:
        folding = folding_for(board, network, target)
        return build(board, network, folding, board.mhz, seeds, folder, console, reuse=True)
    except ERRORS as error:
        discard(board, folder)
        console.print(f"error: {error}", highlight=False, soft_wrap=True)
        return {"error": str(error)}


def build_each(
    chosen: list[Board], network: Network, target: int | None, seeds: range, root: Path, console: Console
) -> dict[str, Any]:
    """{board: figures or error} of the chosen boards; `root`/bitstreams.json is complete after each."""
    results: dict[str, Any] = {}
    for board in chosen:
        results[board.name] = build_one(board, network, target, seeds, root / board.name, console)
        write_json(root / "bitstreams.json", {"network": network.name, "boards": results})
    return results


def table(results: dict[str, Any]) -> Table:
    """In Markdown."""
    shown = Table(box=box.MARKDOWN)
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name in COLUMNS[:2] else "right", no_wrap=True)
    for name, figures in results.items():
        if "error" in figures:
            shown.add_row(name, "-", *["-"] * (len(COLUMNS) - 3), "failed")
            continue
        used = [f"{figures[key]:,} of {figures[f'{key}_total']:,}" for key in ("lut", "ff", "ebr", "dsp")]
        clocks = [
            f"{figures['target_mhz']:g}",
            f"{figures['fmax_mhz']:.2f}" + (MARGINS if figures.get("untimed_cells") else ""),
        ]
        rest = [f"{figures['interval_cycles']:,}", str(figures["seed"]), f"{figures['minutes']:.1f}"]
        shown.add_row(name, figures["device"], *used, *clocks, *rest)
    return shown
