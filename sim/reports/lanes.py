"""What the lanes of a running accelerator did: busy, starved and blocked, over time and in steady state."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from popstream.sim.driver.driver import Answer

__all__ = ["BIN", "SHOWN", "Occupancy", "TooFewImagesError"]

BIN = 64  # cycles
SHOWN = 6  # results that are shown over time


class TooFewImagesError(ValueError):
    """The pipeline was not full for long enough."""


@dataclass(frozen=True, eq=False)
class Occupancy:
    """Counts int64 [bins, 2, units]: cycles, of each `BIN`, in which a unit is busy and in which it is blocked.

    units: name and fold of each, in topological order. answer: results and their cycles. predicted: the interval by the
    hardware's own account. TooFewImagesError if there is no steady state.
    """

    units: Mapping[str, Any]
    counts: np.ndarray
    answer: Answer
    predicted: int

    def __post_init__(self) -> None:
        if self.span[0] >= self.span[1]:
            raise TooFewImagesError(
                f"{len(self.answer.emitted)} images are too few for a steady state: the last goes in before the second "
                f"result comes out, or soon after; give more (N=)"
            )

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last result between which the pipeline is full; the later half of them."""
        last = int(np.searchsorted(self.answer.emitted, self.answer.accepted[-1], side="right")) - 1
        return max(0, (last + 1) // 2), last

    @property
    def cycles(self) -> tuple[int, int]:
        """The cycles of these results."""
        first, last = self.span
        return int(self.answer.emitted[first]), int(self.answer.emitted[last])

    @property
    def interval(self) -> float:
        """Cycles an image in steady state."""
        first, last = self.span
        return (self.cycles[1] - self.cycles[0]) / (last - first)

    @property
    def latency(self) -> int:
        """Cycles from the first image's first beat to its result."""
        return int(self.answer.emitted[0] - self.answer.accepted[0])

    @property
    def shares(self) -> np.ndarray:
        """[3, units]: the share of the cycles in which each is busy, starved and blocked, in steady state."""
        begin, end = (round(cycle / BIN) for cycle in self.cycles)
        busy, blocked = self.counts[begin:end].sum(axis=0) / ((end - begin) * BIN)
        return np.stack([busy, 1 - busy - blocked, blocked])

    def over_time(self, columns: int) -> tuple[int, np.ndarray]:
        """Cycles a column, and the shares [columns, 2, units] of them in which each unit is busy and blocked.

        From reset to the result `SHOWN`, in at most so many columns.
        """
        last = int(self.answer.emitted[:SHOWN][-1])
        bins = min(len(self.counts), last // BIN + 1)
        merged = -(-bins // columns)
        counts = self.counts[: bins // merged * merged].reshape(-1, merged, 2, len(self.units)).sum(axis=1)
        return merged * BIN, counts / (merged * BIN)

    @property
    def lanes(self) -> np.ndarray:
        """[units]: one-bit lanes of each; 0 of a unit of multipliers."""
        return np.array([fold.lanes if fold.arithmetic == "lanes" else 0 for fold in self.units.values()])

    @property
    def busy(self) -> float:
        """Percent of all cycles in which a one-bit lane works, averaged over the lanes."""
        return 100.0 * float(self.shares[0] @ self.lanes) / max(1, int(self.lanes.sum()))
