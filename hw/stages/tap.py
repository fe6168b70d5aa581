"""What an accelerator's blocks hand on: value streams, their names in Verilog, and their taps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Shape

__all__ = ["Tap", "Values", "flat_name"]


@dataclass(frozen=True)
class Tap:
    """A node's values on a port pair: beats of `lanes` values, `width` bits each; acc = value - correction[channel]."""

    node: str
    lanes: int
    width: int
    signed: bool
    correction: np.ndarray | None

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
