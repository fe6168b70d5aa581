"""What is proven of the blocks by `make prove`, planted faults that `make mutate` noticed, cases of `make soak`."""

from docs import records
from docs.tables.markdown import count, measured, table
from popstream.soak.report import seen

__all__ = ["proofs", "soak", "survivors"]


def proofs() -> str:
    """Every proof of the last complete run."""
    found = records.load("prove")
    rows = [
        [
            ", ".join(part for part in (f"`{row['block']}`", row["what"]) if part), row["properties"], row["method"],
            count(row["depth"]), row["status"], count(row["seconds"], 1),
        ]
        for record in found for row in record["result"]["rows"]
    ]  # fmt: skip
    columns = ("block", "properties", "method", "cycles>", "result", "seconds>")
    return table(columns, rows) + "\n\n" + measured(found)


def survivors() -> str:
    """How many faults in the netlist were noticed, and what the others are."""
    found = records.load("mutate")
    if not found:
        return "*Not measured yet.*"
    lines = []
    for record in found:
        result = record["result"]
        first, *later = result["by_step"]
        lines.append([
            f"`{result['network']}`", count(result["mutants"]), count(first), count(sum(later)), count(result["hung"]),
            count(len(result["survivors"])), f"{100 * result['noticed'] / result['mutants']:.1f}\u00a0%",
        ])  # fmt: skip
    columns = ("network", "faults>", "on two images>", "on more, with pauses>", "of them as a hang>", "survivors>")
    rows = [[f"`{row['mutant']}`", f"{row['slower']} times" if row["slower"] else "the same", row.get("why", "")]
            for record in found for row in record["result"]["survivors"]]  # fmt: skip
    told = table(("survivor", "cycles an image>", "why"), rows)
    return f"{table((*columns, 'noticed>'), lines)}\n\n{told}\n\n{measured(found)}"


def soak() -> str:
    """Random cases of each kind, and how many were not as they must be."""
    found = records.load("soak")
    rows = [
        [
            row["kind"], count(record["result"]["seed"]), count(row["units"]), count(row["failed"]),
            count(row["minutes"]), seen(row["counts"], row["kind"]),
        ]
        for record in found for row in record["result"]["kinds"]
    ]  # fmt: skip
    columns = ("kind", "seed>", "done>", "failed>", "minutes of a process>", "of them, or in them")
    return table(columns, rows) + "\n\n" + measured(found)
