"""Plots of a pipeline: what each stage's lanes do over time, and what each stage costs. Needs matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from popstream.model.files import write_figure
from popstream.sim.reports.lanes import SHOWN, Occupancy

matplotlib.use("Agg")  # no display

__all__ = ["bits_chart", "cost_chart", "occupancy_chart"]

COLORS = {"busy": (0.13, 0.40, 0.67), "starved": (0.93, 0.93, 0.93), "blocked": (0.90, 0.45, 0.10)}
COLUMNS = 1000  # of the occupancy plot
DPI = 140
RESOURCES = {"lut": "LUT4", "ff": "flip-flops", "ebr": "EBR", "dsp": "DSP"}


def occupancy_chart(path: Path, name: str, occupancy: Occupancy) -> None:
    """Stages from top to bottom, time to the right: each point mixes the colors of the three states by their shares."""
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    emitted = occupancy.answer.emitted[:SHOWN]
    column, over_time = occupancy.over_time(COLUMNS)
    busy, blocked = over_time.transpose(1, 2, 0)  # [units, time]
    shares = {"busy": busy, "starved": 1 - busy - blocked, "blocked": blocked}
    picture = sum(share[..., None] * np.array(COLORS[state]) for state, share in shares.items())
    names = list(occupancy.units)
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + 0.24 * len(names)), layout="constrained")
    end = len(over_time) * column / 1000
    axes.imshow(np.clip(picture, 0, 1), aspect="auto", interpolation="nearest", extent=(0, end, len(names) - 0.5, -0.5))
    for cycle in emitted:
        axes.axvline(cycle / 1000, color="black", linewidth=0.8, linestyle=":")
    for row in range(1, len(names)):
        axes.axhline(row - 0.5, color="white", linewidth=1.5)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlim(0, end)
    axes.set_xlabel("thousand cycles; dotted: a result leaves")
    axes.set_title(f"{name}: what the lanes of each stage do, {occupancy.interval:,.0f} cycles an image", fontsize=10)
    patches = [Patch(facecolor=color, edgecolor="gray", label=state) for state, color in COLORS.items()]
    figure.legend(handles=patches, loc="outside lower right", ncols=3, fontsize=8, frameon=False)
    write_figure(figure, path, DPI)


def cost_chart(path: Path, name: str, stages: Sequence[Mapping[str, Any]]) -> None:
    """A panel for each resource, a bar for each stage."""
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    names = [stage["node"] for stage in stages]
    figure, panels = pyplot.subplots(1, 4, sharey=True, figsize=(11, 1.4 + 0.24 * len(names)), layout="constrained")
    for panel, (what, title) in zip(panels, RESOURCES.items(), strict=True):
        values = [stage["cost"][what] for stage in stages]
        panel.barh(range(len(names)), values, color=COLORS["busy"])
        panel.set_title(f"{title}: {sum(values):,}", fontsize=9)
        panel.tick_params(labelsize=7)
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.set_xlim(0, max(1, 1.05 * max(values)))
    panels[0].set_yticks(range(len(names)), names, fontsize=8)
    panels[0].invert_yaxis()
    figure.suptitle(f"{name}: estimated cost of each stage", fontsize=10)
    write_figure(figure, path, DPI)


def bits_chart(path: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Cycles times LUT over W*A, beside what is proportional to the first row; and the LUTs of each kind of block."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    bits = np.array([row["weight_bits"] * row["act_bits"] for row in rows])
    products = np.array([row["product"] for row in rows]) / 1e6
    line = np.array([bits.min(), bits.max()])
    left.loglog(line, products[0] * line / bits[0], color="grey", linestyle=":", label="proportional to W*A")
    for weight_bits, mark in zip(sorted({row["weight_bits"] for row in rows}), "osD^vP*X", strict=False):
        for kind, fill in (("odd", "full"), ("signed", "none")):
            which = (weight_bits, kind)
            some = [index for index, row in enumerate(rows) if (row["weight_bits"], row["weights"]) == which]
            if some:
                label = f"W = {weight_bits}{', signed' * (kind == 'signed')}"
                left.loglog(bits[some], products[some], mark, fillstyle=fill, label=label)
    left.set_xlabel("W*A")
    left.set_ylabel("million cycles x LUT4 an image")
    left.set_xticks(sorted(set(bits)), sorted(set(bits)))
    left.minorticks_off()
    left.legend(fontsize=8)
    signed = [" signed" if row["weights"] == "signed" else "" for row in rows]
    names = [f"W{row['weight_bits']}A{row['act_bits']}{kind}" for row, kind in zip(rows, signed, strict=True)]
    bottom = np.zeros(len(rows))
    for kind in rows[0]["lut_by_kind"]:
        values = np.array([row["lut_by_kind"][kind] for row in rows])
        right.bar(names, values, bottom=bottom, label=kind)
        bottom += values
    right.set_ylabel("LUT4")
    right.tick_params(axis="x", labelsize=8, rotation=90)
    right.legend(fontsize=8)
    figure.suptitle(f"{name}: one folding, all W and A", fontsize=10)
    write_figure(figure, path, DPI)
