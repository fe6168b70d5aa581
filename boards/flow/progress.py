"""What a long build shows: the stage and the newest line of its log, on a terminal in place, else twice a minute."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

__all__ = ["stage"]

QUIET_SECONDS = 30  # between lines of progress where there is no terminal


@contextmanager
def stage(console: Console, text: str) -> Iterator[Callable[[str], None]]:
    """Show `text` and, while it lasts, the lines given to the function yielded; then the time it took."""
    began, shown = time.time(), [time.time()]

    def plain(line: str) -> None:
        if time.time() - shown[0] >= QUIET_SECONDS:
            shown[0] = time.time()
            print(f"{text}: {line}", flush=True)

    if console.is_terminal:
        with console.status(text) as status:
            yield lambda line: status.update(f"{text}  [dim]{escape(line)}[/dim]")
    else:
        print(f"{text} ...", flush=True)
        yield plain
    console.print(f"{text}: {time.time() - began:.0f} s", highlight=False, soft_wrap=True)
