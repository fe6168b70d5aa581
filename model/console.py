"""Where tables are printed."""

import sys

from rich.console import Console
from rich.table import Table

__all__ = ["print_whole", "table_console"]


def table_console(columns: int = 120) -> Console:
    """As wide as the terminal; where there is none (a pipe, a log), `columns` wide, so that no cell is cut."""
    return Console(width=None if sys.stdout.isatty() else columns)


def print_whole(table: Table) -> None:
    """Print a table whose names are not to be cut: as wide as it is where there is no terminal."""
    wide = Console(width=10_000)
    (wide if not sys.stdout.isatty() else Console()).print(table)
