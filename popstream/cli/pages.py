"""How help looks: two columns without frames, so that a verb's page fits a terminal of 80 columns."""

from collections.abc import Callable
from itertools import takewhile
from typing import Any

from cyclopts.help import HelpEntry, HelpPanel
from cyclopts.help.formatters import PlainFormatter
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

__all__ = ["Page"]

WIDEST = 100  # columns of text; longer lines are hard to read


class Page(PlainFormatter):
    """A panel as its title and a table of names and what they mean.

    optional : the names of the arguments that may be left away of a verb, which comes as a list: ["host", "classify"].
    """

    def __init__(self, optional: Callable[[list[str]], list[str]]):
        super().__init__()
        self.optional = optional

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """The line of usage, with the names of arguments in the place of ARGS."""
        words = str(usage).removeprefix("Usage: ").split()
        verb = list(takewhile(lambda word: word[0].islower(), words[1:]))
        named = [part for word in words for part in (self.optional(verb) if word.startswith("[ARGS") else [word])]
        console.print(Text(f"Usage: {' '.join(named)}\n"))

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        if not panel.entries:
            return
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column()
        for entry in panel.entries:
            table.add_row(Text(f"  {label(entry)}"), Text(meaning(entry, console)))
        console.print(Text(f"{panel.title}:", style="bold"))
        console.print(table, width=min(console.width, WIDEST))
        if panel.format == "parameter":
            console.print()

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Paragraphs filled anew to the width; the one with the example keeps its lines."""
        if description:
            with console.capture() as capture:
                console.print(description, width=10_000, highlight=False)
            paragraphs = Text.from_ansi(capture.get()).plain.strip().split("\n\n")
            kept = (part if part.startswith("Example") else " ".join(part.split()) for part in paragraphs)
            console.print(Text("\n\n".join(kept) + "\n"), width=min(console.width, WIDEST))


def label(entry: HelpEntry) -> str:
    """The name as one types it, with what stands for its value."""
    if entry.positional_label:
        return entry.positional_label
    names = ", ".join((*entry.positive_names, *entry.positive_shorts))
    return f"{names} {entry.metavar}" if entry.metavar else names


def meaning(entry: HelpEntry, console: Console) -> str:
    """What it says, and the default of an option that has one."""
    said = plain(entry.description, console)
    notes = [f"one of {', '.join(entry.choices)}"] if entry.choices else []
    notes += [entry.default] if entry.default not in (None, "False", "None") else []
    return f"{said} ({'; '.join(notes)})" if notes else said


def plain(text: Any, console: Console) -> str:
    """What cyclopts would render, as one line."""
    if text is None:
        return ""
    with console.capture() as capture:
        console.print(text, width=10_000, highlight=False, style="not bold")
    return " ".join(Text.from_ansi(capture.get()).plain.split())
