"""What long work shows: its stage and the newest line, on a terminal in place, else twice a minute."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

__all__ = ["Progress", "silent", "stage"]

QUIET_SECONDS = 30  # between lines of progress where there is no terminal
SHORT_SECONDS = 5  # work that may be done already says nothing before

Progress = Callable[[str], None]


def silent(text: str) -> None:
    """Progress that nobody looks at."""


@contextmanager
def stage(console: Console, text: str, maybe_done: bool = False) -> Iterator[Progress]:
    """Show `text` and, while it lasts, the lines given to the function yielded; then the time it took.

    maybe_done: of work that is often done already, nothing but these lines is left, and none if it is short.
    """
    began = time.time()
    shown = [began - (QUIET_SECONDS - SHORT_SECONDS if maybe_done else 0)]

    def plain(line: str) -> None:
        if time.time() - shown[0] >= QUIET_SECONDS:
            shown[0] = time.time()
            print(f"{text}: {line}", flush=True)

    if console.is_terminal:
        with console.status(text) as status:
            yield lambda line: status.update(f"{text}  [dim]{escape(line)}[/dim]")
    else:
        if not maybe_done:
            print(f"{text} ...", flush=True)
        yield plain
    if not maybe_done:
        console.print(f"{text}: {time.time() - began:.0f} s", highlight=False, soft_wrap=True)
