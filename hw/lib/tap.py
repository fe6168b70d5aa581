"""What an accelerator's blocks hand on: value streams, their names in Verilog, and their taps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Shape

__all__ = ["Tap", "Values", "flat_name"]


@dataclass(frozen=True)
class Tap:
    """A node's values on a port pair: beats of `lanes` values, `width` bits each; acc = value - correction[channel].

    A pixel's channels come in `beats` beats; the last of them may hold channels that there are not. Within a shared
    stage a beat holds the lanes of `pixels` neighbours, of which `kept` count, and a row begins with `ahead` pixels
    that are not the image's. Where half of them count, these are the first half of a row's first group, the second half
    of the next one, and so on.
    """

    node: str
    lanes: int
    width: int
    signed: bool
    correction: np.ndarray | None
    beats: int
    pixels: int = 1
    kept: int = 1
    ahead: int = 0

    @property
    def bits(self) -> int:
        """Of a beat."""
        return self.pixels * self.lanes * self.width

    @property
    def port(self) -> str:
        """The ports are this name with _valid and _data appended."""
        return f"tap_{flat_name(self.node)}"


@dataclass(frozen=True)
class Values:
    """A value stream: its port, the shape of a lane, lanes a beat, and the offset that raw accumulators carry."""

    port: Any
    shape: Shape
    lanes: int
    correction: np.ndarray | None = None


def flat_name(name: str) -> str:
    """A node's name as part of a Verilog name."""
    return name.replace(".", "_")
