"""Training: the seeds' grids beside the published ones, its speed, and how long commands take."""

from typing import Any

from docs import records
from docs.tables.markdown import count, measured, percent, table
from popstream.model.published import FLOAT
from popstream.model.sweeping.published import ACCURACY

__all__ = ["grids", "speed", "times"]

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
