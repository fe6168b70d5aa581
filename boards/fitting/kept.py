"""Which boards hold a network, worked out once: build/fits/<key>, where the key covers sources, network and device."""

from pathlib import Path

from msgspec import Struct

from popstream.boards.board.board import Board, BoardError
from popstream.boards.fitting import capacity
from popstream.boards.fitting.capacity import Fit, fit, need, room, routable
from popstream.hw.folding.folding import Folding, interval
from popstream.model.cache import key, once
from popstream.model.checked import convert, read_json
from popstream.model.files import write_json
from popstream.model.manifest import Network
from popstream.model.sources import sources

__all__ = ["kept_fit"]

ROOT = Path("build")
ANSWER, FOLDING = "fit.json", "folding.json"


class Answer(Struct, frozen=True):
    """fit.json: whether room is left; None where the board does not hold the network."""

    roomy: bool | None


def place(board: Board, network: Network, root: Path) -> Path:
    """Where the answer lies."""
    texts = (path.read_text() for path in sources(capacity.__name__))
    device = [board.family, *(str(entry) for entry in (routable(board), sorted(room(board).items())))]
    return root / "fits" / key(network.hash, *device, *texts)


def kept_fit(board: Board, network: Network, root: Path = ROOT) -> Fit | None:
    """capacity.fit(board, network), kept in `root`."""

    def work(folder: Path) -> None:
        found = fit(board, network)
        write_json(folder / ANSWER, {"network": network.name, "board": board.name, "roomy": found and found.roomy})
        if found:
            found.folding.save(folder / FOLDING)

    return read(once(place(board, network, root), [ANSWER], work), board, network)


def read(folder: Path, board: Board, network: Network) -> Fit | None:
    """The answer in `folder`."""
    path = folder / ANSWER
    try:
        answer = convert(read_json(path, BoardError), Answer, path, BoardError)
    except BoardError as error:
        raise BoardError(f"{error}; remove {folder}, and it is worked out anew") from None
    if answer.roomy is None:
        return None
    folding = Folding.load(folder / FOLDING, network)
    return Fit(max(interval(network, folding).values()), folding, need(board, network, folding), answer.roomy)
