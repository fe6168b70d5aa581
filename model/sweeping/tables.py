"""Tables of a sweep beside the published ones: Markdown from build/sweeps/<spec>/runs.json."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from popstream.model.sweeping.published import ACCURACY, BITS, ENDS, MINUTES, MODELS, PURE, TABLE, Grid

Rows = list[dict[str, Any]]


ENDS_NOTE = "Top-1 % of DoReFa-Net's models, evaluated in floating point. Published: SVHN; ours: CIFAR-10.\n\n"


class TableError(RuntimeError):
    """There is nothing to tabulate; the message says what to run."""


def load_runs(folder: Path) -> dict[str, Any]:
    """runs.json of a sweep's folder; TableError where it is missing or damaged.

    Each run gets `top1`, the figure to show: of the frozen integers, or in float where the network has none.
    """
    path = folder / "runs.json"
    if not path.exists():
        raise TableError(f"No {path}; run `make sweep SPEC={folder.name}` first")
    try:
        content = json.loads(path.read_text())
        content["runs"] = [row for row in content["runs"] if "error" not in row]
        for row in content["runs"]:
            row["top1"] = row["top1_float"] if row["top1_frozen"] is None else row["top1_frozen"]
    except (ValueError, KeyError, TypeError) as error:
        raise TableError(f"{path} is damaged ({error}); remove it and run `make sweep SPEC={folder.name}`") from error
    if not content["runs"]:
        raise TableError(f"{path} has no finished run; run `make sweep SPEC={folder.name}`")
    return content


def points(rows: Rows) -> dict[str, Rows]:
    """The seeds of each point: runs by their name without the seed, in order."""
    result: dict[str, Rows] = defaultdict(list)
    for row in rows:
        result[row["run"].removesuffix(f"-seed{row['seed']}")].append(row)
    return dict(result)


def mean(rows: Rows, key: str) -> float | None:
    """Mean over seeds of what every run of a point has; None where one has it not."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return fmean(values) if values and len(values) == len(rows) else None


def spread(rows: Rows, key: str) -> str:
    """Mean and sample deviation over seeds as text, "-" where there is none."""
    value = mean(rows, key)
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" ± {stdev(row[key] for row in rows):.2f}" if len(rows) > 1 else "")


def measured(rows: Rows, group: str, key: str) -> Grid:
    """{(W, A): mean over seeds} of a grid's runs that have it."""
    found: dict[tuple[int, int], Rows] = defaultdict(list)
    for row in rows:
        if row["group"] == group:
            options = {name.rsplit(".", 1)[-1]: value for name, value in row["options"].items()}
            found[options["weight_bits"], options["act_bits"]].append(row)
    return {point: value for point, chosen in found.items() if (value := mean(chosen, key)) is not None}


def markdown(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *lines)) + "\n"


def grid_table(published: Grid, ours: Grid, digits: int) -> str:
    """W down, A across; a cell has the published value and ours."""

    def cell(point: tuple[int, int]) -> str:
        return f"{published[point]:.2f} / " + (f"{ours[point]:.{digits}f}" if point in ours else "-")

    return markdown(["", *(f"A = {a}" for a in BITS)], [[f"W = {w}", *(cell((w, a)) for a in BITS)] for w in BITS])


def section(title: str, body: str, note: str = "") -> str:
    return f"## {title}\n\n{note}{body}\n"


def tables(content: dict[str, Any]) -> str:
    """Every table that the sweep has runs for, as one Markdown page; a cell is "published / ours"."""
    rows, named = content["runs"], points(content["runs"])
    seeds = sorted({row["seed"] for row in rows})
    page = f"# {content['title']}\n\nSweep `{content['spec']}`, {len(rows)} runs, seeds {', '.join(map(str, seeds))}. "
    page += (
        "Published figures of ResNet-20 are smoothed over epochs (60 %), ours of the last epoch, mean over seeds.\n\n"
    )
    if pure := [name for name in PURE if f"pure-{name}" in named]:
        lines = [[name, *beside(PURE[name], named[f"pure-{name}"])] for name in pure]
        page += section("Float, 50 epochs", markdown(["network", "top-1 %", "minutes"], lines))
    for activation, name in (("relu", "DoReFa"), ("mish", "DoReFa and Mish")):
        group = f"grid-{activation}"
        if any(row["group"] == group for row in rows):
            for key, what in (("top1_float", "evaluated in floating point"), ("top1_frozen", "frozen integers")):
                ours = measured(rows, group, key)
                page += section(f"{name}: top-1 %, {what}", grid_table(ACCURACY[activation], ours, 2))
            page += section(f"{name}: minutes", grid_table(MINUTES[activation], measured(rows, group, "minutes"), 1))
    if any(run in named for run, *_ in TABLE.values()):
        lines = [[name, *beside((top1, minutes), named.get(run, []))] for name, (run, top1, minutes) in TABLE.items()]
        page += section("Seven networks", markdown(["network", "top-1 %", "minutes"], lines))
    if any(row["group"].startswith("ends-") for row in rows):
        page += section("First and last layer in few bits", ends_table(rows), ENDS_NOTE)
    shown = ("grid-", "pure-", "table-", "ends-")
    if others := {name: chosen for name, chosen in named.items() if not name.startswith(shown)}:
        header = ["network", "float %", "frozen %", "epochs", "minutes", "seeds"]
        lines = [[name, spread(chosen, "top1_float"), spread(chosen, "top1_frozen"), str(chosen[0]["epochs"]),
                  f"{mean(chosen, 'minutes'):.1f}", str(len(chosen))] for name, chosen in others.items()]  # fmt: skip
        page += section("Networks", markdown(header, lines))
    return page


def beside(published: tuple[float, float], rows: Rows) -> list[str]:
    """Cells "published / ours" of top-1 (float) and minutes."""
    ours = [spread(rows, "top1_float"), f"{mean(rows, 'minutes'):.1f}" if rows else "-"]
    return [f"{value:.2f} / {own}" for value, own in zip(published, ours, strict=True)]


def ends_table(rows: Rows) -> str:
    """First and last layer: schemes down, models across."""
    lines = []
    for scheme, (group, values) in ENDS.items():
        cells = []
        for model, value in zip(MODELS, values, strict=True):
            chosen = [r for r in rows if r["group"] == group and r["options"]["network.model"] == model]
            cells.append(f"{value:.1f} / {spread(chosen, 'top1_float')}")
        lines.append([scheme, *cells])
    return markdown(["scheme", *(f"model {model}" for model in MODELS)], lines)
