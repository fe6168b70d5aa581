"""A campaign's figures as a table."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

__all__ = ["fuzzed", "seen", "table"]


def seen(counts: Mapping[str, int], units: str) -> str:
    """What was seen, in words, without the units themselves."""
    return ", ".join(f"{name} {number:,}" for name, number in counts.items() if name != units)


def table(content: Mapping[str, Any]) -> Table:
    """A line for each kind."""
    shown = Table("kind", "what", title=f"Soak, seed {content['seed']}")
    for name in ("done", "failed", "minutes"):
        shown.add_column(name, justify="right")
    shown.add_column("seen")
    for row in content["kinds"]:
        figures = f"{row['units']:,}", str(row["failed"]), f"{row['minutes']:.1f}"
        shown.add_row(row["kind"], row["text"], *figures, seen(row["counts"], row["kind"]))
    return shown


def fuzzed(content: Mapping[str, Any]) -> Table:
    """A line for each reader of hostile input."""
    bounds = content["bounds"]
    title = f"Hostile input, seed {content['seed']}; at most {bounds['seconds']} s, {bounds['mib']:,} MiB more"
    shown = Table("reader", "of", title=title)
    for name in ("inputs", "taken", "branches", "minutes", "MiB", "found"):
        shown.add_column(name, justify="right")
    for row in content["targets"]:
        numbers = (f"{row[name]:,}" for name in ("inputs", "taken", "edges", "minutes", "peak_mib", "found"))
        shown.add_row(row["target"], row["text"], *numbers)
    return shown
