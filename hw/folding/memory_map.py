"""Where the values of a shared stage lie in a memory: areas of words, which later values may take over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = ["Area", "place"]


@dataclass(frozen=True)
class Area:
    """`size` words of `name`, written in layer `first` (-1: they come from outside) and read until layer `last`.

    over : an area of the same form whose last readers are this one's writers, word by word: they may share a place.
    at : its first word.
    """

    name: str
    size: int
    first: int
    last: int
    over: str | None = None
    at: int = 0


def place(areas: Sequence[Area], apart: bool) -> tuple[dict[str, Area], int]:
    """The areas with their places, by name, and the words of the whole memory.

    The first area is the input's. One after another goes where the memory grows least, then where least of the
    input's words are taken, so that the next input may come early; with `apart` none of them ever is.
    """
    placed: dict[str, Area] = {}
    words = 0
    for area in areas:
        entry = next(iter(placed.values()), area)
        taken = [other for other in placed.values() if area.first <= other.last and other.first <= area.last]
        edges = {0, words} | {edge for other in placed.values() for edge in (other.at, other.at + other.size)}
        best: tuple[tuple[int, int, int], int] | None = None
        for at in sorted(edges | {edge - area.size for edge in edges if edge >= area.size}):
            if any(_meet(at, area.size, other) and not _may_share(area, at, other) for other in taken):
                continue
            common = _meet(at, area.size, entry) if placed else 0
            if common and apart:
                continue
            rank = (max(words, at + area.size), common, -at if common else at)
            if best is None or rank < best[0]:
                best = rank, at
        assert best is not None  # behind all others there is always room
        words = best[0][0]
        placed[area.name] = replace(area, at=best[1])
    return placed, words


def _meet(at: int, size: int, other: Area) -> int:
    """Words that both take."""
    return max(0, min(at + size, other.at + other.size) - max(at, other.at))


def _may_share(area: Area, at: int, other: Area) -> bool:
    """Whether what is in the other's place is written over it word by word."""
    return area.over == other.name and at == other.at and area.size == other.size
