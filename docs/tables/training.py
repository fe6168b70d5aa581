"""Training: the seeds' grids beside the published ones, its speed, and how long commands take."""

from statistics import fmean
from typing import Any

from docs import records
from docs.tables.markdown import count, measured, percent, table
from popstream.model.published import FLOAT
from popstream.model.sweeping.published import ACCURACY

__all__ = ["grids", "speed", "times", "trials"]

Cells = dict[tuple[int, int], dict[str, Any]]


def bits(number: int) -> str:
    return "float" if number == FLOAT else str(number)


def points(rows: list[dict[str, Any]], group: str) -> Cells:
    """The runs of a grid by (W, A)."""
    found = {}
    for row in rows:
        if row["group"] == group and "error" not in row:
            options = {name.rsplit(".", 1)[-1]: value for name, value in row["options"].items()}
            found[options["weight_bits"], options["act_bits"]] = row
    return found


def grids() -> str:
    """ResNet-20 by DoReFa's quantizers at few epochs, beside Hao and Li's at 50."""
    found = [record for record in records.load("runs") if record["result"]["spec"] == "seeds-cpu"]
    rows = found[0]["result"]["runs"]
    relu, mish = points(rows, "grid-relu"), points(rows, "grid-mish")
    lines = []
    for point in relu | mish:
        line = [f"{bits(point[0])}, {bits(point[1])}"]
        for activation, cells in (("relu", relu), ("mish", mish)):
            row = cells.get(point, {})
            top1 = row.get("top1_float") if row.get("top1_frozen") is None else row["top1_frozen"]
            line += [percent(ACCURACY[activation][point]), percent(top1), count(row.get("minutes"), 1)]
        lines.append(line)
    ours = ("ours, 2 epochs>", "minutes>")
    columns = ("W, A", "ReLU: published, 50 epochs>", *ours, "Mish: published, 50 epochs>", *ours)
    return table(columns, lines) + "\n\n" + measured(found)


TRIALS = {
    "base": "a teacher, asked about every batch; no decay; one cosine; batches of 128 at 0.05",
    "taught-once": "the teacher is asked once about each image and its mirror image",
    "ema": "a running average of the weights, 0.998 a step",
    "decay": "weight decay 1e-4",
    "decay-to-zero": "weight decay 1e-4, falling to 0",
    "batch": "batches of 256 at 0.1",
    "restarts": "the cosine begun anew once",
    "crops": "the first five epochs on pieces of 24 x 24 pixels",
    "labels": "labels alone, no teacher",
    "smoothing": "labels alone, smoothed by 0.1",
    "wide-teacher": "a float teacher of 32-64-128 channels",
    "float-teacher": "a float teacher of 16-32-64 channels",
    "activations-first": "from float: two epochs at A2, then six at W1A2",
    "at-once": "from float: eight epochs at W1A2",
}


def trials() -> str:
    """What was tried at W1A2 in 8 epochs, one thing changed at a time, beside the spread of its seeds."""
    found = [record for record in records.load("runs") if record["result"]["spec"] == "better-epochs"]
    if not found:
        return "*Not measured yet.*"
    groups: dict[str, list[float]] = {}
    for row in found[0]["result"]["runs"]:
        if row.get("top1_frozen") is not None:
            groups.setdefault(row["group"], []).append(row["top1_frozen"])
    base, lines = groups["base"], []
    for name, seeds in groups.items():
        gain = "" if name == "base" else f"{fmean(seeds) - fmean(base):+.2f}"
        each = ", ".join(percent(value) for value in seeds)
        lines.append([TRIALS[name], percent(fmean(seeds)), each, gain])
    return table(("what", "top-1, mean>", "of each seed", "against the first>"), lines) + "\n\n" + measured(found)


def speed() -> str:
    """Training images a second beside a plain PyTorch loop."""
    found, lines = records.load("speed"), []
    for record in found:
        result = record["result"]
        where = result.get("hardware") if result["device"] != "cpu" else f"CPU, {result['threads']} thread"
        if result["device"] == "cpu" and result["threads"] > 1:
            where += "s"
        for row in result["rows"]:
            lines.append([
                f"`{result['network']}`, {row['phase']}", f"{where}", row.get("precision") or "-",
                count(row["plain_images_per_s"]), count(row["images_per_s"]), f"{row['ratio']:.2f}",
            ])  # fmt: skip
    columns = ("recipe, phase", "device", "precision", "plain loop, images/s>", "popstream, images/s>", "ratio>")
    return table(columns, lines) + "\n\n" + measured(found)


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"


def times() -> str:
    """How long commands took."""
    found = records.load("times")
    if not found:
        return "*Not measured yet.*"
    lines = [
        [f"`{r['command']}`", duration(r["result"]["seconds"]), duration(r["result"]["cpu_seconds"]), r["machine"],
         r.get("note", "")] for r in found
    ]  # fmt: skip
    return table(("command", "took>", "of processors>", "machine", "note"), lines)
