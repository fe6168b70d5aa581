"""Ctrl-C and SIGTERM, which Python or a library may drop or wrap in an error of another kind: they end a command."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from popstream.cli.interrupted import began_as_interrupt

__all__ = ["as_interrupt", "heeding_signals"]

AGAIN_SECONDS = 0.05  # until an interrupt that was dropped comes again


@contextmanager
def as_interrupt() -> Iterator[None]:
    """An error that began as an interrupt is raised as one: Python 3.11 makes a RuntimeError of one that comes while
    a class is made, and a library that is being imported may make an ImportError of it.
    """
    try:
        yield
    except Exception as error:
        if began_as_interrupt(error):
            raise KeyboardInterrupt from error
        raise


@contextmanager
def heeding_signals() -> Iterator[list[int]]:
    """SIGTERM interrupts as Ctrl-C does, and is noted; what a program around this one asked for instead stays.

    Python drops an interrupt that comes while an object is finalized (Amaranth's are, by thousands): it comes again.
    """
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    came: list[int] = []
    before = sys.unraisablehook

    def end(number: int, _: object) -> None:
        if not came:  # a second one is not to stop the clearing away
            came.append(number)
            raise KeyboardInterrupt

    def dropped(found: Any) -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):
            before(found)
            return
        number = came.pop() if came else signal.SIGINT
        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()

    if ours:
        signal.signal(signal.SIGTERM, end)
        sys.unraisablehook = dropped
    try:
        yield came
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            sys.unraisablehook = before
