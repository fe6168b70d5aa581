"""The boards: a file each, found by itself. `boards()` gives all of them, `find(name)` one.

A file holds BOARDS, a tuple of `Board`; nothing else has to know of it.
"""

import importlib
import pkgutil

from popstream.boards.board.board import Board, BoardError

__all__ = ["boards", "find"]

FAMILIES = ("ecp5", "ice40", "gowin", "xilinx")  # the order in which boards are listed


def boards() -> dict[str, Board]:
    """Every board by name: by family, then by the name of its file."""
    found: dict[str, Board] = {}
    for module in pkgutil.iter_modules(__path__):
        for board in importlib.import_module(f"{__name__}.{module.name}").BOARDS:
            if board.name in found:
                raise BoardError(f"Board {board.name!r} is defined twice")
            found[board.name] = board
    return dict(sorted(found.items(), key=lambda item: FAMILIES.index(item[1].family)))


def find(name: str) -> Board:
    """The board called `name`; BoardError lists the known ones."""
    known = boards()
    if name not in known:
        raise BoardError(f"Unknown board {name!r}; known are {', '.join(known)} (make boards)")
    return known[name]
