"""`popstream` in this process, for tests: its status and what it printed."""

import contextlib
import io

from popstream.cli import main

__all__ = ["run_cli"]


def run_cli(*arguments: object) -> tuple[int, str, str]:
    """The exit status, standard output and standard error of `popstream` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return status, out.getvalue(), err.getvalue()
