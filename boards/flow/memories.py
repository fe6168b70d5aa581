"""Places for the block RAMs of an ECP5 before all else is placed: where few are left, or it never ends otherwise.

nextpnr's static placer spreads a design best, and designs route that otherwise do not. But it pushes all cells apart at
once, and where nearly every block RAM is taken, or several hang on the same wires, it may never get them onto places of
their own (its log then says RAM overlap for ever). The heap placer does, so its places are kept.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from popstream.boards.flow.places import Cells, with_bels
from popstream.boards.flow.toolchain import Progress

__all__ = ["FIXED", "FULL", "RULE", "fix_memories", "nearly_full"]

FULL = 0.9  # of the block RAMs: designs of less were placed by the static placer alone, of 0.94 not
RULE = (
    f"block RAMs first, from {FULL} or where placement never ends"  # told to whoever asks whether two builds are alike
)
MEMORY = "DP16KD"
FIXED = "fixed.json"


def nearly_full(cells: Mapping[str, int], total: int) -> bool:
    """Whether a synthesised design of `cells` takes nearly all of a device's `total` block RAMs."""
    return cells.get(MEMORY, 0) >= FULL * total


def fix_memories(
    tool: str, folder: Path, out: Path, arguments: Sequence[str], progress: Progress = lambda text: None
) -> str:
    """`folder`/top.json with places for its block RAMs, as `out`/fixed.json; returns that name within `folder`.

    `arguments` are nextpnr's for the device, clock and seed. ToolError where there are not enough block RAMs.
    """

    def places(cells: Cells) -> dict[str, str]:
        return {name: cell["attributes"]["NEXTPNR_BEL"] for name, cell in cells.items() if cell["type"] == MEMORY}

    told = [*arguments, "--placer", "heap"]
    return with_bels(tool, folder, out, "top.json", told, MEMORY, places, "memories", FIXED, progress)
