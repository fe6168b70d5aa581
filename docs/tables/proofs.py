"""What is proven of the blocks, as `make prove` found it."""

from docs import records
from docs.tables.markdown import count, measured, table

__all__ = ["proofs"]


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
