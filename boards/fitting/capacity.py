"""Whether a network fits a board, from the cost estimate: by how much it does not, and what would.

An estimate refuses early and picks a folding; what counts is the synthesised and packed design, which is checked again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from popstream.boards.board.board import Board, BoardError
from popstream.boards.known import boards
from popstream.hw.cost.network import ECP5_PRICES, ICE40_PRICES, UNPAIRED, Cost, Prices, network_cost
from popstream.hw.folding.folding import Fold, Folding
from popstream.hw.folding.folding import interval as cycles_of
from popstream.hw.solver.candidates import over
from popstream.hw.solver.shared import MOST_STAGES, fastest_shared
from popstream.hw.solver.solve import fastest as fastest_of
from popstream.hw.solver.solve import intervals, solve, within
from popstream.model.manifest import Network

__all__ = [
    *("MARGIN", "Fit", "check_fit", "fastest", "fit", "fold", "holds", "lacking", "need", "refusal", "room"),
    *("routable", "shortage"),
]

MARGIN = 1.1  # an estimate refuses only what is larger than the device by more than its own error
LINK = Cost(lut=900, ff=900, ebr=2)  # the host link around the accelerator
FILL = {  # share of a device that `fastest` takes, so that it routes at speed
    "ecp5": {"lut": 0.62, "ff": 0.65, "ebr": 0.92, "dsp": 0.9},  # 56 k of 84 k LUTs did not route at 105 MHz
    "ice40": {"lut": 0.963, "ff": 0.9, "ebr": 0.9, "dsp": 1.0},  # estimated 14 % too high, with skid buffers
    "gowin": {"lut": 0.6, "ff": 0.5, "ebr": 0.9, "dsp": 1.0},  # beyond it, placement takes ten times as long
    "xilinx": {"lut": 0.7, "ff": 0.7, "ebr": 0.9, "dsp": 1.0},
}
SHARED = {  # the same of a folding whose layers share a stage, for the families on which one was routed
    "ecp5": {"lut": 0.7, "ff": 0.62, "ebr": 0.97, "dsp": 1.0},
}
SHARED_CLOCK = 0.8  # of a pipeline's clock, at which a shared stage routes (90 MHz on a 25F, where pipelines reach 105)
SPARSE_LEVELS = 2  # of adders between two registers of a population count, where flip-flops are short
LEAN = ("ice40", "gowin")  # families short of flip-flops: foldings without prefetch and row FIFOs alone
ICE40_EBR = 2  # block RAMs of 4 kbit for one of 18 kbit, which a small network leaves nearly empty (measured)


def prices(family: str) -> Prices:
    """What the resources of a family's devices are worth."""
    return ICE40_PRICES if family == "ice40" else ECP5_PRICES


@dataclass(frozen=True)
class Fit:
    """A folding that a board holds: cycles an image, what it is estimated to take, and whether it leaves room to route
    at speed; without, only its parts are counted, and it may not route."""

    interval: int
    folding: Folding
    needed: Mapping[str, int]
    roomy: bool


def needed_by(family: str, network: Network, folding: Mapping[str, Fold]) -> dict[str, int]:
    """What `network` in `folding` with its host link is estimated to take; "lut" counts logic cells on an iCE40.

    The estimate is of an ECP5. Gowin's devices have the same LUTs; the 7 series' of six inputs make do with fewer.
    """
    cost = sum(network_cost(network, folding).values(), LINK)
    if family != "ice40":
        return {"lut": cost.lut, "ff": cost.ff, "ebr": cost.ebr, "dsp": cost.dsp}
    cells = cost.lut + ceil(UNPAIRED * cost.ff)
    return {"lut": cells, "ff": cost.ff, "ebr": ceil(cost.ebr * ICE40_EBR), "dsp": cost.dsp}


def need(board: Board, network: Network, folding: Mapping[str, Fold]) -> dict[str, int]:
    """What `network` in `folding` is estimated to take of `board`, its host link included."""
    return needed_by(board.family, network, folding)


def room(board: Board, share: Mapping[str, float] | None = None) -> dict[str, int]:
    """`share` of each of the device's resources, all of them by default."""
    return {
        resource: int(total * (share or {}).get(resource, 1.0)) for resource, total in board.device.capacity.items()
    }


def routable(board: Board, fill: Mapping[str, Mapping[str, float]] = FILL) -> tuple[tuple[str, int], ...]:
    """What a folding may take of the device so that it routes at speed, as a cache key."""
    return tuple(room(board, fill[board.family]).items())


def lacking(board: Board, needed: Mapping[str, int], share: Mapping[str, float] | None = None) -> dict[str, int]:
    """How many of each resource are missing; empty if it fits (into `share` of the device, all of it by default)."""
    return over(needed, room(board, share))


def ways(family: str) -> tuple[tuple[bool, int], ...]:
    """Whether foldings for the family are lean, and the levels of adders from one register to the next, in the order to
    try: fewer registers where a device is short of flip-flops, as each is a wire less, though the clock is lower."""
    return ((True, 1),) if family in LEAN else ((False, 1), (False, SPARSE_LEVELS), (True, 1))


@lru_cache(maxsize=256)
def fitting(family: str, network: Network, target: int, budget: tuple[tuple[str, int], ...]) -> Folding | None:
    """A folding of at most `target` cycles within `budget`, a lean one where no other fits; None if there is none."""

    def needed(folding: Folding) -> dict[str, int]:
        return needed_by(family, network, folding)

    found = (within(network, target, needed, dict(budget), prices(family), *way) for way in ways(family))
    return next(filter(None, found), None)


@lru_cache(maxsize=256)
def fastest_within(family: str, network: Network, budget: tuple[tuple[str, int], ...]) -> tuple[int, Folding] | None:
    return fastest_of(
        intervals(network),
        lambda target: fitting(family, network, target, budget),
        lambda folding: max(cycles_of(network, folding).values()),
    )


@lru_cache(maxsize=256)
def shared_within(
    family: str, network: Network, budget: tuple[tuple[str, int], ...], stages: int
) -> tuple[int, Folding] | None:
    def needed(folding: Folding) -> dict[str, int]:
        return needed_by(family, network, folding)

    return fastest_shared(network, needed, dict(budget), prices(family), stages)


def sharing(board: Board, network: Network, stages: int = MOST_STAGES) -> tuple[int, Folding] | None:
    """The least interval, and its folding, of all layers on at most so many shared stages; None where that fits, or was
    tried, not.
    """
    return shared_within(board.family, network, routable(board, SHARED), stages) if board.family in SHARED else None


def fastest(board: Board, network: Network) -> tuple[int, Folding] | None:
    """The fastest folding that fits the board with room to route, and its interval; None if none does.

    Of a pipeline and a shared stage the one of more images a second, as the stage's clock is lower.
    """
    alone, shared = fastest_within(board.family, network, routable(board)), sharing(board, network)
    if alone is None or shared is None:
        return alone or shared
    return shared if shared[0] < SHARED_CLOCK * alone[0] else alone


def offered(board: Board, network: Network, target: int) -> list[Folding]:
    """The foldings for at most `target` cycles that suit the board's family, whether they fit or not."""
    return [solve(network, target, prices(board.family), *way) for way in ways(board.family)]


def fit(board: Board, network: Network, target: int | None = None) -> Fit | None:
    """Whether the board holds the network, at `target` cycles an image or else at any: how, and None if it does not.

    Without a target the fastest folding that leaves room to route, else the slowest that fits without. FoldingError
    where no folding, however large, is as fast as the target.
    """
    folding = None
    if target is None:
        found = fastest(board, network)
        folding, target = found[1] if found else None, intervals(network)[-1]
    folding = folding or fitting(board.family, network, target, routable(board))
    for stages in (1, MOST_STAGES) if folding is None else ():  # one is found at once
        shared = sharing(board, network, stages)
        if shared and shared[0] <= target:
            folding = shared[1]
            break
    roomy = folding is not None
    if folding is None:
        small = (each for each in offered(board, network, target) if not lacking(board, need(board, network, each)))
        folding = next(small, None)
    if folding is None:
        return None
    return Fit(max(cycles_of(network, folding).values()), folding, need(board, network, folding), roomy)


def holds(board: Board, network: Network) -> bool:
    """Whether any folding fits the board: the one of most cycles, if any."""
    return fit(board, network, intervals(network)[-1]) is not None


def holders(network: Network, among: Iterable[Board]) -> list[str]:
    """The names of the boards that hold the network. A board with as much of everything as one that does, does too:
    nothing is solved for it."""
    holding: list[Board] = []
    for board in sorted(among, key=lambda board: board.device.capacity["lut"]):
        smaller = (each for each in holding if each.family == board.family)
        if any(not lacking(board, each.device.capacity) for each in smaller) or holds(board, network):
            holding.append(board)
    return [board.name for board in holding]


def fold(board: Board, network: Network, target: int | None) -> Folding:
    """The folding of `fit`; where nothing fits, the nearest, for a refusal to count. FoldingError if there is none."""
    found = fit(board, network, target)
    return found.folding if found else offered(board, network, target or intervals(network)[-1])[-1]


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
    slower = [target for target in intervals(network) if target > interval]
    found = fit(board, network)
    if found is not None and found.interval > interval:
        would = f"--interval {found.interval} would fit (ARGUMENTS='--interval {found.interval}')"
    elif found is not None and slower:
        would = f"a larger interval may fit (ARGUMENTS='--interval {slower[0]}')"
    else:
        larger = holders(network, (other for other in others if other.name != board.name))
        would = f"of the boards, {', '.join(larger)} would take it" if larger else "it fits no board (make boards)"
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
