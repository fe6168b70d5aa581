"""How long the lanes of each stage work, starve and are blocked, as a table and as plots: `popstream occupancy`.

In each cycle a compute unit is busy (its lanes work), starved (it has no window) or blocked (it has one, but no room
behind). Averages are over whole images in steady state: from one result to another, no later than the last image goes
in. Writes build/<net>/occupancy.json (make report draws it), occupancy.png (stages over time) and cost.png (estimated
cost of each stage).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from popstream.hw.folding.outline import units
from popstream.model.files import write_json
from popstream.model.manifest import Network
from popstream.sim.driver.driver import arguments_for, beats, read_answer
from popstream.sim.driver.farm import DriverModel
from popstream.sim.driver.worker import run
from popstream.sim.reports.lanes import BIN, SHOWN, Occupancy
from popstream.sim.rtl.images import ROOT

__all__ = ["IMAGES", "measure", "table", "write_all"]

IMAGES = 12
COLUMNS = 240  # of the shares over time in occupancy.json


def measure(
    network: Network, folding: Mapping[str, Any], codes: np.ndarray, root: Path = ROOT, optimize: int = 1
) -> Occupancy:
    """Simulate the accelerator on codes uint8 [N, C, H, W] and count. ProgramError after a hang, BuildError."""
    model = DriverModel(network, folding, counters=True, optimize=optimize, root=root)
    arguments = arguments_for(model.top, len(codes), expected=model.predicted)
    data = beats(codes, model.top.bits)
    output, _, _, counts = run(model.program.read_bytes(), arguments, data, bin_cycles=BIN)
    found = np.frombuffer(counts, "<u4").reshape(-1, 2, len(model.counted)).astype(np.int64)
    return Occupancy(units(network, folding), found, read_answer(model.top, len(codes), output), model.predicted)


def figures(network: Network, folding: Mapping[str, Any], occupancy: Occupancy, mismatches: int) -> dict[str, Any]:
    """The content of occupancy.json."""
    from popstream.hw.cost.network import network_cost

    costs = network_cost(network, folding)
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


def write_all(
    network: Network, folding: Mapping[str, Any], occupancy: Occupancy, mismatches: int, folder: Path
) -> dict[str, Any]:
    """Write occupancy.json, occupancy.png and cost.png; returns the figures."""
    from popstream.sim.reports.charts import cost_chart, occupancy_chart  # matplotlib takes a second

    content = figures(network, folding, occupancy, mismatches)
    write_json(folder / "occupancy.json", content)
    occupancy_chart(folder / "occupancy.png", network.name, occupancy)
    cost_chart(folder / "cost.png", network.name, content["stages"])
    return content
