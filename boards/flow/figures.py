"""bitstream.json, the figures of a build, read back: what is built upon is checked, the rest is as it stands."""

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from popstream.boards.board.board import BoardError
from popstream.model.checked import convert, read_json

__all__ = ["FIGURES", "read_figures"]

FIGURES = "bitstream.json"


class Figures(Struct, frozen=True):
    """The keys that later builds, measurements and programming go by, where they are there."""

    network: str = ""
    network_hash: str = ""
    bitstream_sha256: str = ""
    design_sha256: str = ""
    seed: Annotated[int, Meta(ge=0)] = 0
    seeds: dict[str, float] = {}
    target_mhz: Annotated[float, Meta(gt=0)] = 1.0
    timing_met: bool = True
    folding: dict[str, dict[str, Any] | list[dict[str, Any]]] = {}


def read_figures(path: Path) -> dict[str, Any]:
    """All that stands in bitstream.json; BoardError names the file, the key, and what to do where it is damaged."""
    try:
        content = read_json(path, BoardError)
        convert(content, Figures, path, BoardError)
    except BoardError as error:
        raise BoardError(f"{error}; remove it and run make bitstream again") from error
    return content
