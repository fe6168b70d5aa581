"""Markdown tables, and the line below them that says how they were measured."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["count", "measured", "percent", "table"]

KEPT = "\N{NO-BREAK SPACE}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns whose name ends with ">" are set to the right, their cells on one line."""
    head = [column.removesuffix(">") for column in columns]
    rule = ["---:" if column.endswith(">") else "---" for column in columns]
    wide = [column.endswith(">") for column in columns]
    lines = [[c.replace(" ", KEPT) if right else c for c, right in zip(row, wide, strict=True)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def count(number: float | None, digits: int = 0) -> str:
    """A number with commas, "-" where there is none."""
    return "-" if number is None else f"{number:,.{digits}f}"


def percent(value: float | None, digits: int = 2) -> str:
    """A percentage, "-" where there is none."""
    return "-" if value is None else f"{value:.{digits}f}{KEPT}%"


def distinct(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def tool(name: str, version: str) -> str:
    """A tool and its version, of which a package's own counting behind the tool's is left out."""
    return re.sub(r"(\.0)+\.post\d+", "", version if " " in version else f"{name} {version}")


def label(record: dict[str, Any]) -> str:
    """What a note is on: a board, a network, or the recipe or list of a training."""
    result = record["result"] if isinstance(record["result"], dict) else {}
    return next((result[name] for name in ("board", "network", "spec", "recipe") if name in result), "")


def measured(records: Sequence[dict[str, Any]]) -> str:
    """One small line: when, at which commits, on which machines, with which tools, by which commands, and notes."""
    tools = [tool(name, version) for record in records for name, version in record["tools"].items()]
    parts = [
        f"Measured {distinct(sorted(record['date'] for record in records))}",
        f"commit {distinct(record['commit'] for record in records)}",
        distinct(record["machine"] for record in records),
        distinct(tools),
        distinct(f"`{record['command']}`" for record in records),
    ]
    notes: dict[str, list[str]] = {}
    for record in records:
        if "note" in record:
            notes.setdefault(record["note"], []).append(label(record))
    said = "".join(f" {distinct(names)}: {note}.".replace(" : ", " ") for note, names in notes.items())
    return f"<sub>{'; '.join(part for part in parts if part)}.{said}</sub>"
