"""Where lines and tables are printed: as they are, whatever a path or a name in them looks like."""

import sys

from rich.console import Console
from rich.table import Table

__all__ = ["plain_console", "print_whole", "table_console"]


def plain_console(width: int | None = None) -> Console:
    """One that takes no `[/b]` for an end of bold and no `:bug:` for a picture: both may be a folder's name."""
    return Console(width=width, markup=False, emoji=False)


def table_console(columns: int = 120) -> Console:
    """As wide as the terminal; where there is none (a pipe, a log), `columns` wide, so that no cell is cut."""
    return plain_console(None if sys.stdout.isatty() else columns)


def print_whole(table: Table) -> None:
    """Print a table whose names are not to be cut: as wide as it is where there is no terminal."""
    plain_console(None if sys.stdout.isatty() else 10_000).print(table)
