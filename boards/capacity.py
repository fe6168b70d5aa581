"""Whether a network fits a board, from the cost estimate: by how much it does not, and what would.

An estimate refuses early and picks a folding; what counts is the synthesised and packed design, which is checked again.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import ceil

from boards.board import Board, BoardError, boards
from hw.cost import Cost, network_cost
from hw.folding import Fold, Folding, FoldingError
from hw.folding import interval as cycles_of
from hw.solve import UNPAIRED, smallest, solve
from model.manifest import Network

__all__ = ["INTERVALS", "MARGIN", "check_fit", "fastest", "fold", "lacking", "need", "refusal", "shortage"]

INTERVALS = (5_000, 10_000, 20_000, 30_000, 40_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000)
MARGIN = 1.1  # an estimate refuses only what is larger than the device by more than its own error
LINK = Cost(lut=900, ff=900, ebr=2)  # the host link around the accelerator
FILL = {  # share of a device that `fastest` takes, so that it routes at speed
    "ecp5": {"lut": 0.7, "ff": 0.7, "ebr": 0.9, "dsp": 1.0},
    "ice40": {"lut": 0.99, "ff": 0.9, "ebr": 0.9, "dsp": 1.0},
    "gowin": {"lut": 0.7, "ff": 0.7, "ebr": 0.9, "dsp": 1.0},
    "xilinx": {"lut": 0.7, "ff": 0.7, "ebr": 0.9, "dsp": 1.0},
}
ICE40_EBR = 2  # block RAMs of 4 kbit for one of 18 kbit, which a small network leaves nearly empty (measured)


class Content:
    """A network as a cache key: by its content."""

    def __init__(self, network: Network):
        self.network = network

    def __hash__(self) -> int:
        return hash(self.network.hash)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and other.network.hash == self.network.hash


@lru_cache(maxsize=256)
def solved(family: str, content: Content, target: int) -> Folding | None:
    """The folding for at most `target` cycles that suits the family; None if there is none."""
    try:
        return (smallest if family == "ice40" else solve)(content.network, target)
    except FoldingError:
        return None


def need(board: Board, network: Network, folding: Mapping[str, Fold]) -> dict[str, int]:
    """What `network` in `folding` with its host link is estimated to take; "lut" counts logic cells on an iCE40.

    The estimate is of an ECP5. Gowin's devices have the same LUTs; the 7 series' of six inputs make do with fewer.
    """
    cost = sum(network_cost(network, folding).values(), LINK)
    if board.family != "ice40":
        return {"lut": cost.lut, "ff": cost.ff, "ebr": cost.ebr, "dsp": cost.dsp}
    cells = cost.lut + ceil(UNPAIRED * cost.ff)
    return {"lut": cells, "ff": cost.ff, "ebr": ceil(cost.ebr * ICE40_EBR), "dsp": cost.dsp}


def lacking(board: Board, needed: Mapping[str, int], share: Mapping[str, float] | None = None) -> dict[str, int]:
    """How many of each resource are missing; empty if it fits (into `share` of the device, all of it by default)."""
    room = {
        resource: int(total * (share or {}).get(resource, 1.0)) for resource, total in board.device.capacity.items()
    }
    return {resource: needed[resource] - room[resource] for resource in room if needed[resource] > room[resource]}


def fastest(board: Board, network: Network) -> tuple[int, Folding] | None:
    """The least of INTERVALS whose folding fits the board with room to route, and that folding; None if none does."""
    for target in INTERVALS:
        folding = solved(board.family, Content(network), target)
        if folding is not None and not lacking(board, need(board, network, folding), FILL[board.family]):
            return target, folding
    return None


def fold(board: Board, network: Network, target: int | None) -> Folding:
    """The folding for at most `target` cycles an image that suits the board's device, or the fastest that fits.

    A network that fits at no interval gets its slowest folding, for a refusal to count. FoldingError if there is none.
    """
    found = fastest(board, network) if target is None else None
    if found is not None:
        return found[1]
    return (smallest if board.family == "ice40" else solve)(network, INTERVALS[-1] if target is None else target)


def shortage(board: Board, needed: Mapping[str, int]) -> str:
    """What is missing, in words: "LUT 9,000 of 5,280 (3,720 too many)"."""
    total = board.device.capacity
    return ", ".join(
        f"{resource.upper()} {needed[resource]:,} of {total[resource]:,} ({missing:,} too many)"
        for resource, missing in lacking(board, needed).items()
    )


def refusal(
    board: Board, network: Network, needed: Mapping[str, int], interval: int, others: Iterable[Board], how: str
) -> str:
    """One line: by how much `network` does not fit, and what would (a larger interval, else other boards)."""
    slower = [target for target in INTERVALS if target > interval]
    found = fastest(board, network)
    if found is not None and max(cycles_of(network, found[1]).values()) > interval:
        would = f"--interval {found[0]} would fit (ARGUMENTS='--interval {found[0]}')"
    elif found is not None and slower:
        would = f"a larger interval may fit (ARGUMENTS='--interval {slower[0]}')"
    else:
        fitting = [other.name for other in others if other.name != board.name and fastest(other, network)]
        would = f"of the boards, {', '.join(fitting)} would take it" if fitting else "it fits no board (make boards)"
    return (
        f"{network.name} at {interval:,} cycles an image does not fit {board.name} ({board.device.name}), {how}: "
        f"{shortage(board, needed)}; {would}"
    )


def check_fit(
    board: Board, network: Network, needed: Mapping[str, int], cycles: int, how: str, margin: float = 1.0
) -> None:
    """BoardError, in one line, if `needed` is more than `margin` times what the device has."""
    if lacking(board, needed, dict.fromkeys(needed, margin)):
        raise BoardError(refusal(board, network, needed, cycles, boards().values(), how))
