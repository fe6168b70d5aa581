"""`popstream boards`: every board and its device at once; on demand, at which interval each network fits it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table
from tqdm import tqdm

from popstream.boards.board.board import Board
from popstream.boards.fitting.kept import kept_fit
from popstream.boards.known import boards
from popstream.model.manifest import Network

__all__ = ["fit_text", "table"]

TIGHT = ", tight"  # it may not route, or not at the board's clock


def fit_text(board: Board, network: Network, root: Path) -> str:
    """The interval of the fastest folding that fits and the share of LUTs it is estimated to take, or "-"."""
    found = kept_fit(board, network, root)
    if found is None:
        return "-"
    share = f"{100 * found.needed['lut'] / board.device.capacity['lut']:.0f} % LUT"
    return f"{found.interval:,} ({share}{'' if found.roomy else TIGHT})"


def table(networks: Sequence[Network], root: Path) -> Table:
    """A row a board, a column for each network; shows its progress where there are any."""
    shown = Table(title="boards; of each network the least cycles an image that fit, by the cost estimate")
    if not networks:
        shown.title = "boards"
    for column in ("board", "device", "LUT", "EBR", "DSP", "MHz"):
        shown.add_column(column, justify="left" if column in ("board", "device") else "right", no_wrap=True)
    for network in networks:
        shown.add_column(network.name, no_wrap=True)
    every: Iterable[Board] = boards().values()
    if networks:
        every = tqdm(every, desc="fitting", unit="board", leave=False, disable=None)
    for board in every:
        capacity = board.device.capacity
        fits = [fit_text(board, network, root) for network in networks]
        numbers = [f"{capacity[resource]:,}" for resource in ("lut", "ebr", "dsp")]
        shown.add_row(board.name, board.part, *numbers, f"{board.mhz:g}", *fits)
    return shown
