"""From the command line to an exit status: 0, 1 for a failure, 2 for a wrong command line, 130 for Ctrl-C.

What goes wrong is said in one line on the standard error: what was given, what is allowed, what to do. An error that
nothing of popstream foresaw keeps its traceback; POPSTREAM_TRACEBACK=1 shows it for all others.
"""

import os
import shlex
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from popstream.cli import bench, boards, hardware, host, prove, report, simulate, train
from popstream.cli.app import run
from popstream.cli.options import UsageError
from popstream.cli.wrong import usage_line
from popstream.model.commands import here, installs

__all__ = ["main"]

VERBS = (bench, boards, hardware, host, prove, report, simulate, train)
"""Importing a file adds its verbs."""

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
ARGUMENTS = "POPSTREAM_ARGUMENTS"  # make's ARGUMENTS, which no shell is to read
RESUMING = (
    "train",
    "sweep",
    "accuracy",
    "bitstreams",
    "cost",
    "mutate",
    "tables",
)  # verbs that go on where they were stopped
EXTRAS = {
    "torch": "train",
    "scipy": "train",
    "ray": "farm",
    "matplotlib": "plot",
    "serial": "host",
    "PIL": "host",
    "jinja2": "report",
    "bitwuzla": "prove",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that `arguments` (those of the process by default) name; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        given += added() if arguments is None else []
        return run(given)
    except CycloptsError as error:
        return say(usage_line(error), USAGE)
    except UsageError as error:
        return say(str(error), USAGE)
    except BrokenPipeError:  # who reads the output, as head does, has enough
        sys.stdout = None
        return FAILURE
    except KeyboardInterrupt:
        again = "; the same command goes on" if given and given[0] in RESUMING else ""
        print(f"interrupted{again}", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if os.environ.get("POPSTREAM_TRACEBACK") or package in ("", "popstream"):
            raise
        extra = EXTRAS.get(package, "build")
        return say(f"package {package} is missing; {installs(given[0], extra)} brings it", FAILURE)
    except Exception as error:
        if os.environ.get("POPSTREAM_TRACEBACK") or not foreseen(error):
            raise
        return say(told(error), FAILURE)


def added() -> list[str]:
    """make's ARGUMENTS, split as a shell would."""
    text = os.environ.pop(ARGUMENTS, "")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"ARGUMENTS {text!r} cannot be split ({error}); close each quote") from None


def foreseen(error: Exception) -> bool:
    """Whether the error is one that popstream raises to be read, or the system's word on a file."""
    return isinstance(error, ValueError | OSError) or type(error).__module__.startswith("popstream.")


def told(error: Exception) -> str:
    """The message; of the system's word on a file, the file first."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def say(text: str, status: int) -> int:
    """The line on the standard error; returns `status`."""
    print(f"error: {here(' '.join(text.split()))}", file=sys.stderr)
    return status
