"""`popstream boards`: every board, its device, and at which interval each network of the zoo fits."""

from rich.table import Table
from tqdm import tqdm

from popstream.boards.board.board import Board
from popstream.boards.fitting.capacity import fastest, need
from popstream.boards.known import boards
from popstream.model.manifest import Network

__all__ = ["fit_text", "table"]


def fit_text(board: Board, network: Network) -> str:
    """The interval of the fastest folding that fits and the share of LUTs it is estimated to take, or "-"."""
    found = fastest(board, network)
    if found is None:
        return "-"
    needed = need(board, network, found[1])
    return f"{found[0]:,} ({100 * needed['lut'] / board.device.capacity['lut']:.0f} % LUT)"


def table(networks: list[Network]) -> Table:
    """A row a board, a column for each network; shows its progress."""
    shown = Table(title="boards; of each network the least cycles an image that fit, by the cost estimate")
    for column in ("board", "device", "LUT", "EBR", "DSP", "MHz", *(network.name for network in networks)):
        shown.add_column(column, justify="right" if column in ("LUT", "EBR", "DSP", "MHz") else "left")
    for board in tqdm(boards().values(), desc="fitting", unit="board", leave=False, disable=None):
        capacity = board.device.capacity
        fits = [fit_text(board, network) for network in networks]
        numbers = [f"{capacity[resource]:,}" for resource in ("lut", "ebr", "dsp")]
        shown.add_row(board.name, board.part, *numbers, f"{board.mhz:g}", *fits)
    return shown
