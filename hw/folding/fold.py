"""A layer's own hardware, a fold, and what layers share, a Share; and both as they stand in files."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from popstream.model.checked import InputError, convert, read_json, strict

__all__ = [
    "MOST_LEVELS", "Count", "Fold", "FoldingError", "Share", "divisors", "read_fold", "read_folds", "read_share",
]  # fmt: skip

MOST_LEVELS = 4
Count = Annotated[int, Meta(ge=1)]


class FoldingError(InputError):
    """A folding that the network's geometry does not allow; the message is one line."""


def divisors(value: int) -> list[int]:
    """What divides a number, from 1 up."""
    return [d for d in range(1, value + 1) if value % d == 0]


@dataclass(frozen=True)
class Fold:
    """One layer's share: `simd` products of `pe` channels and `planes` activation planes at once.

    Results leave `out` channels a beat, by default all `pe`; fewer make all that follows smaller. `storage` of the
    weights is "logic", "registered" (logic that ends in a register), "block" (block RAM) or "auto", by depth.
    `prefetch` shifts the next window in while the current one is used; without it the window turns in
    front of its lanes (hw/blocks/window.py), and they wait while it is loaded. `buffer` pixels of input wait in a FIFO
    ahead of the window, so that the producer need not stop while the window works without input (bottom padding,
    the rows that a stride skips). The window takes `feed` channels a beat, by default as many as come: where a row
    begins its lanes wait for a column, which wide beats make short. Of the adders of a population count, `levels` lie
    between two registers: the more, the fewer flip-flops and the lower the clock.
    """

    simd: Count
    pe: Count
    arithmetic: str = "lanes"
    prefetch: bool = True
    buffer: Annotated[int, Meta(ge=0)] = 0
    planes: Count = 1
    out: Count | None = None
    storage: str = "auto"
    feed: Count | None = None
    levels: Annotated[int, Meta(ge=1, le=MOST_LEVELS)] = 1

    @property
    def lanes(self) -> int:
        """One-bit lanes, or multipliers."""
        return self.simd * self.pe * self.planes

    @property
    def beat(self) -> int:
        """Channels in a beat of the results."""
        return self.pe if self.out is None else self.out


def read_fold(name: str, entry: Any, source: object = None) -> Fold:
    """A node's fold from its JSON object; FoldingError for a key that a fold has not, or a value of another type."""
    where = f"Node {name!r}" if source is None else f"{source}: Node {name!r}"
    checked = convert(entry, strict(Fold), where, FoldingError, "it")
    return Fold(**{key: getattr(checked, key) for key in checked.__struct_fields__})


def read_folds(path: Path) -> dict[str, Any]:
    """The entries of a file of folds, by node name, not looked at any closer; FoldingError names the file."""
    content = read_json(path, FoldingError)
    if not isinstance(content, dict):
        raise FoldingError(f"{path}: must be a table of folds by node name, not {type(content).__name__}")
    return content


@dataclass(frozen=True)
class Share:
    """Consecutive conv nodes, by name, on one unit of slice x kernel x pe x pixels x planes lanes (hw.shared.stage).

    slice : input channels of a chunk, which is a row of the kernel. pe : output channels at once. pixels : neighbouring
    pixels at once, a power of two. planes : code planes at once. beat : channels of a pixel that are requantized at
    once. apart : whether the input has memory of its own, so that the next image may come in from the second layer
    on, beside all others' results. levels : of adders between two registers of a population count.
    """

    layers: tuple[str, ...]
    slice: Count
    pe: Count
    pixels: Count
    planes: Count = 1
    beat: Count = 1
    apart: bool = False
    levels: Annotated[int, Meta(ge=1, le=MOST_LEVELS)] = 1

    def lanes(self, kernel: int) -> int:
        """One-bit lanes."""
        return self.slice * kernel * self.pe * self.pixels * self.planes

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "layers": list(self.layers)}


def read_share(entry: Any, source: object = None) -> Share:
    """A shared stage from its JSON object; FoldingError for a key that it has not, or a value of another type."""
    where = "A shared stage" if source is None else f"{source}: A shared stage"
    checked = convert(entry, strict(Share), where, FoldingError, "it")
    return Share(**{key: getattr(checked, key) for key in checked.__struct_fields__})
