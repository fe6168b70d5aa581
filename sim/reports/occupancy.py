"""How long the lanes of each stage work, starve and are blocked, as a table and as plots: `popstream occupancy`.

In each cycle a compute unit is busy (its lanes work), starved (it has no window) or blocked (it has one, but no room
behind). Averages are over whole images in steady state: from one result to another, no later than the last image goes
in. Writes build/<net>/occupancy.json (make report draws it), occupancy.png (stages over time) and cost.png (estimated
cost of each stage).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from popstream.model.files import write_json
from popstream.model.manifest import Network
from popstream.sim.driver.driver import Answer, arguments_for, beats, read_answer
from popstream.sim.driver.farm import DriverModel
from popstream.sim.driver.worker import run
from popstream.sim.rtl.images import ROOT

__all__ = ["IMAGES", "Occupancy", "TooFewImagesError", "measure", "table", "write_all"]

IMAGES = 12
BIN = 64  # cycles
SHOWN = 6  # results that are shown over time
COLUMNS = 240  # of the shares over time in occupancy.json


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


def measure(
    network: Network, folding: Mapping[str, Any], codes: np.ndarray, root: Path = ROOT, optimize: int = 2
) -> Occupancy:
    """Simulate the accelerator on codes uint8 [N, C, H, W] and count. ProgramError after a hang, BuildError."""
    model = DriverModel(network, folding, counters=True, optimize=optimize, root=root)
    arguments = arguments_for(model.top, len(codes), expected=model.predicted)
    data = beats(codes, model.top.bits)
    output, _, _, counts = run(model.program.read_bytes(), arguments, data, bin_cycles=BIN)
    units = {name: folding[name] for name in model.counted}
    found = np.frombuffer(counts, "<u4").reshape(-1, 2, len(units)).astype(np.int64)
    return Occupancy(units, found, read_answer(model.top, len(codes), output), model.predicted)


def figures(network: Network, occupancy: Occupancy, mismatches: int) -> dict[str, Any]:
    """The content of occupancy.json."""
    from popstream.hw.cost.network import network_cost

    costs = network_cost(network, occupancy.units)
    column, over_time = occupancy.over_time(COLUMNS)
    stages = []
    states = ("busy", "starved", "blocked")
    for index, (name, fold) in enumerate(occupancy.units.items()):
        shares = occupancy.shares[:, index].tolist()
        percent = {state: round(100 * share, 2) for state, share in zip(states, shares, strict=True)}
        cost = {what: getattr(costs[name], what) for what in ("lut", "ff", "ebr", "dsp")}
        shape = dict(
            simd=fold.simd,
            pe=fold.pe,
            planes=fold.planes,
            arithmetic=fold.arithmetic,
            lanes=int(occupancy.lanes[index]),
        )
        columns = (100 * over_time[:, :, index]).round().astype(int).T.tolist()
        time = dict(zip(("busy_over_time", "blocked_over_time"), columns, strict=True))
        stages.append(dict(node=name, **shape, **percent, cost=cost, **time))
    return {
        "network": network.name,
        "network_hash": network.hash,
        "images": len(occupancy.answer.labels),
        "mismatches": mismatches,
        "interval_cycles": occupancy.interval,
        "predicted_interval_cycles": occupancy.predicted,
        "latency_cycles": occupancy.latency,
        "steady_cycles": list(occupancy.cycles),
        "column_cycles": column,
        "result_cycles": occupancy.answer.emitted[:SHOWN].tolist(),
        "lanes": int(occupancy.lanes.sum()),
        "busy": round(occupancy.busy, 2),
        "stages": stages,
    }


def table(content: Mapping[str, Any]) -> Table:
    """What the figures say, for a person."""
    title = f"{content['network']}: {content['interval_cycles']:,.0f} cycles an image; percent of them, in steady state"
    shown = Table(title=title)
    for column in ("stage", "SIMD x PE x planes", "busy", "starved", "blocked", "LUT", "FF", "EBR", "DSP"):
        shown.add_column(column, justify="left" if column == "stage" else "right", no_wrap=True)
    for stage in content["stages"]:
        shape = f"{stage['simd']} x {stage['pe']} x {stage['planes']}"
        shape = f"{stage['simd']} x {stage['pe']} DSP" if stage["arithmetic"] == "mac" else shape
        numbers = [f"{stage[what]:.1f}" for what in ("busy", "starved", "blocked")]
        shown.add_row(stage["node"], shape, *numbers, *(f"{value:,}" for value in stage["cost"].values()))
    busy = f"busy {content['busy']:.1f} % of all cycles on average"
    shown.caption = f"{content['lanes']:,} one-bit lanes, {busy}; LUT to DSP are estimates"
    return shown


def write_all(network: Network, occupancy: Occupancy, mismatches: int, folder: Path) -> dict[str, Any]:
    """Write occupancy.json, occupancy.png and cost.png; returns the figures."""
    from popstream.sim.reports.charts import cost_chart, occupancy_chart

    content = figures(network, occupancy, mismatches)
    write_json(folder / "occupancy.json", content)
    occupancy_chart(folder / "occupancy.png", network.name, occupancy)
    cost_chart(folder / "cost.png", network.name, content["stages"])
    return content
