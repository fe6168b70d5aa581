"""What a campaign found, as a table on the terminal."""

from typing import Any

from rich.table import Table

__all__ = ["table"]


def table(content: dict[str, Any]) -> Table:
    """The survivors, or that there are none. content: of mutate-code.json."""
    shown = Table(title=f"{content['noticed']} of {content['planted']} faults noticed, the rest")
    for name in ("where", "is", "was", "tried with"):
        shown.add_column(name, overflow="fold")
    for row in content["survivors"]:
        shown.add_row(f"{row['file']}:{row['line']}", row["after"], row["before"], row["tried"])
    return shown
