"""A shared stage in a folding: which layers share a unit, and the unit's size."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from msgspec import Meta

from popstream.hw.folding.fold import MOST_LEVELS, Count, FoldingError
from popstream.model.checked import convert, strict

__all__ = ["Share", "read_share"]


@dataclass(frozen=True)
class Share:
    """Consecutive conv nodes, by name, on one unit of slice x kernel x pe x pixels x planes lanes (hw.shared.stage).

    slice : input channels of a chunk, which is a row of the kernel. pe : output channels at once. pixels : neighbouring
    pixels at once, a power of two. planes : code planes at once. beat : channels of a pixel that are requantized at
    once. apart : whether the input's memory is used for nothing else, so that the next image may come in from the
    second layer on. levels : of adders between two registers of a population count.
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
