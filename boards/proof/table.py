"""What is proven: every block with streams, and why the others are not in the table."""

from __future__ import annotations

from collections.abc import Iterable

from popstream.boards.proof import buffers, frames, images, link, pipeline, units, values
from popstream.boards.proof.proofs import Proof

__all__ = ["LEFT_OUT", "PROOFS", "chosen", "names"]

PROOFS: tuple[Proof, ...] = (
    *buffers.PROOFS,
    *frames.PROOFS,
    *values.PROOFS,
    *images.PROOFS,
    *units.PROOFS,
    *pipeline.PROOFS,
    *link.PROOFS,
)

PLAIN = "no stream: numbers in, a number out some cycles later; compared with its model in simulation"
LEFT_OUT = {
    "AdderTree": PLAIN,
    "PopCount": PLAIN,
    "Multiplier": PLAIN,
    "XnorTerm": PLAIN,
    "AndTerm": PLAIN,
    "MacTerm": PLAIN,
    "Table": PLAIN,
    "TablePair": PLAIN,
    "WeightMemory": PLAIN,
    "Buffer": "no stream: a memory whose word comes some cycles later; compared with its model in simulation",
    "Registers": "no stream: a Wishbone slave; compared with its model in simulation",
    "Alone": "no block of a design: a unit with what feeds it, to be placed and routed by itself",
    "Harness": "no block of a design: it gives a unit pins, to be placed and routed by itself",
    "Wrapper": "made of Entry, Words, LastStage and an accelerator",
    **dict.fromkeys(
        (
            "CodeMemory",
            "Emit",
            "Encode",
            "Enter",
            "Finish",
            "Issue",
            "Load",
            "Program",
            "Retire",
            "Squares",
            "StreamMemory",
        ),
        "a part of SharedStage, which is proven whole; its order of reads and writes is checked when it is made",
    ),
    "Watch": "taps of SharedStage for simulation: it drives nothing in it",
    "_LaneTerm": "what XnorTerm and AndTerm have in common, none of which has a stream",
    "_Split": "a half of Repack, whose proofs name its registers",
    "_Join": "a half of Repack, whose proofs name its registers",
}


def names() -> list[str]:
    """Blocks that something is proven of, each once."""
    return list(dict.fromkeys(proof.block for proof in PROOFS))


def chosen(blocks: Iterable[str] = (), quick: bool = False) -> list[Proof]:
    """The proofs of `blocks` (all), or only the quick ones of them."""
    wanted = set(blocks)
    return [proof for proof in PROOFS if (not wanted or proof.block in wanted) and (proof.quick or not quick)]
