"""Where tables are printed."""

import sys

from rich.console import Console

__all__ = ["table_console"]


def table_console(columns: int = 120) -> Console:
    """As wide as the terminal; where there is none (a pipe, a log), `columns` wide, so that no cell is cut."""
    return Console(width=None if sys.stdout.isatty() else columns)
