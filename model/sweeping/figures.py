"""Figures of a sweep: heat maps over W and A beside the published, training curves, accuracy against bits and LUTs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model.files import write_figure
from popstream.model.sweeping.published import ACCURACY, BITS, Grid
from popstream.model.sweeping.tables import Rows, measured, points

OURS = "ours (integers; float if W or A is 32)"
MARKS = {1: "o", 2: "s", 4: "^", 8: "D", 32: "*"}


@contextmanager
def drawing(path: Path, columns: int, width: float, height: float) -> Iterator[list[Any]]:
    """Axes side by side; the figure is written to `path`, whole, at the end."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=(width, height), constrained_layout=True, squeeze=False)
    yield list(axes[0])
    write_figure(figure, path, 120)


def heat_maps(rows: Rows, activation: str, path: Path) -> None:
    """Published, ours and the difference over W (down) and A (across), top-1 in percent; points not run stay empty."""
    ours = measured(rows, f"grid-{activation}", "top1")
    published = ACCURACY[activation]
    difference = {point: ours[point] - published[point] for point in ours}
    reach = max(1.0, max(abs(value) for value in difference.values()))
    panels: list[tuple[str, Grid, str, float, float]] = [
        ("published", published, "viridis", 10, 95), (OURS, ours, "viridis", 10, 95),
        ("ours - published", difference, "RdBu", -reach, reach),
    ]  # fmt: skip
    with drawing(path, 3, 13.5, 4.2) as axes:
        for where, (title, values, colours, low, high) in zip(axes, panels, strict=True):
            table = np.array([[values.get((w, a), np.nan) for a in BITS] for w in BITS])
            image = where.imshow(table, cmap=colours, vmin=low, vmax=high)
            for (row, column), value in np.ndenumerate(table):
                if np.isfinite(value):
                    red, green, blue, _ = image.cmap(image.norm(value))
                    dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
                    text = f"{value:+.1f}" if low < 0 else f"{value:.1f}"
                    where.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
            where.set(title=title, xlabel="A (bits)", ylabel="W (bits)")
            where.set_xticks(range(len(BITS)), map(str, BITS))
            where.set_yticks(range(len(BITS)), map(str, BITS))
            where.figure.colorbar(image, ax=where, shrink=0.8, label="points" if low < 0 else "top-1 (%)")


def training_curves(rows: Rows, path: Path) -> None:
    """Loss and test top-1 over epochs, mean over the seeds of a point, one line a point."""
    named = points(rows)
    with drawing(path, 2, 14, max(4.5, 0.22 * len(named))) as (left, right):
        for index, (name, chosen) in enumerate(named.items()):
            curve = np.mean([row["curve"] for row in chosen], axis=0)  # [epochs, (loss, train, test)]
            style = {"color": f"C{index % 10}", "linestyle": ("-", "--", ":", "-.")[index // 10 % 4], "marker": "."}
            epochs = np.arange(1, len(curve) + 1)
            left.plot(epochs, curve[:, 0], **style)
            right.plot(epochs, curve[:, 2], label=name, **style)
        left.set(xlabel="epoch", ylabel="loss (mean over the epoch)")
        right.set(xlabel="epoch", ylabel="top-1 on the test images (%)")
        right.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
        for where in (left, right):
            where.grid(alpha=0.3)
            where.xaxis.get_major_locator().set_params(integer=True)


def against_bits(rows: Rows, path: Path) -> None:
    """Top-1 against the bits of activations, one line a number of weight bits, a panel an activation function."""
    groups = [group for group in ("grid-relu", "grid-mish") if any(row["group"] == group for row in rows)]
    with drawing(path, len(groups), 6 * len(groups), 4.5) as axes:
        for where, group in zip(axes, groups, strict=True):
            ours = measured(rows, group, "top1")
            for index, w in enumerate(BITS):
                line = sorted((BITS.index(a), value) for (weights, a), value in ours.items() if weights == w)
                if line:
                    where.plot(*zip(*line, strict=True), marker=MARKS[w], color=f"C{index}", label=f"W = {w}")
            where.set(title=f"{group.removeprefix('grid-')}: {OURS}", xlabel="A (bits)", ylabel="top-1 (%)")
            where.set_xticks(range(len(BITS)), map(str, BITS))
            where.grid(alpha=0.3)
            where.legend()
            where.sharey(axes[0])


def against_luts(found: list[tuple[str, int, float]], title: str, path: Path) -> None:
    """Frozen top-1 against estimated LUTs: (name of the point, LUT4, top-1 in percent)."""
    with drawing(path, 1, 9, 5) as (where,):
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        for index, (name, luts, top1) in enumerate(sorted(found, key=lambda item: item[1])):
            shape = {"marker": "osD^v"[index // 10 % 5], "color": f"C{index % 10}", "linestyle": "none"}
            where.plot(luts, top1, markersize=8, label=name, **shape)
        where.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
        where.set(title=title, xlabel="LUT4 (estimate)", ylabel="top-1 of the frozen integers (%)")
        where.set_xscale("log")
        where.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        where.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        where.xaxis.set_minor_formatter(NullFormatter())
        where.margins(x=0.1)
        where.grid(alpha=0.3)
