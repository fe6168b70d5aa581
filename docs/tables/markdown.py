"""Markdown tables, and the line below them that says how they were measured."""

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["count", "measured", "percent", "table"]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns whose name ends with ">" are set to the right."""
    head = [column.removesuffix(">") for column in columns]
    rule = ["---:" if column.endswith(">") else "---" for column in columns]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def count(number: float | None, digits: int = 0) -> str:
    """A number with commas, "-" where there is none."""
    return "-" if number is None else f"{number:,.{digits}f}"


def percent(value: float | None, digits: int = 2) -> str:
    """A percentage, "-" where there is none."""
    return "-" if value is None else f"{value:.{digits}f}\N{NO-BREAK SPACE}%"


def distinct(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def measured(records: Sequence[dict[str, Any]], commands: bool = True) -> str:
    """One small line: when, at which commits, on which machines, with which tools and, if asked for, commands."""
    tools = [f"{name} {version}" for record in records for name, version in record["tools"].items()]
    parts = [
        f"Measured {distinct(sorted(record['date'] for record in records))}",
        f"commit {distinct(record['commit'] for record in records)}",
        distinct(record["machine"] for record in records),
        distinct(tools),
    ]
    if commands:
        parts.append(distinct(f"`{record['command']}`" for record in records))
    return "<sub>" + "; ".join(part for part in parts if part) + ".</sub>"
