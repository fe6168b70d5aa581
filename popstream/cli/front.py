"""From the command line to an exit status: 0, 1 for a failure, 2 for a wrong command line, 130 for Ctrl-C, 143 for
SIGTERM, which ends a command as Ctrl-C does: what it had begun is cleared away.

What goes wrong is said in one line on the standard error: what was given, what is allowed, what to do. An error that
nothing of popstream foresaw keeps its traceback; POPSTREAM_TRACEBACK=1 shows it for all others.
"""

import os
import select
import shlex
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from popstream.cli import bench, boards, hardware, host, mutate, prove, qonnx, report, simulate, soak, train
from popstream.cli.app import run
from popstream.cli.interrupts import as_interrupt, heeding_signals
from popstream.cli.options import UsageError
from popstream.cli.wrong import usage_line
from popstream.model.commands import here, installs

__all__ = ["main"]

VERBS = (bench, boards, hardware, host, mutate, prove, qonnx, report, simulate, soak, train)
"""Importing a file adds its verbs."""

FAILURE, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143
ARGUMENTS = "POPSTREAM_ARGUMENTS"  # make's ARGUMENTS, which no shell is to read
# Verbs that go on where they were stopped.
RESUMING = ("train", "sweep", "accuracy", "bitstreams", "cost", "mutate", "soak", "tables")
EXTRAS = {
    "torch": "train",
    "ray": "farm",
    "matplotlib": "plot",
    "serial": "host",
    "PIL": "host",
    "jinja2": "report",
    "bitwuzla": "prove",
    "cosmic_ray": "mutate",
    "coverage": "mutate",
    "pytest": "dev",
    "onnx": "qonnx",
    "qonnx": "qonnx",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that `arguments` (those of the process by default) name; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with heeding_signals() as terminated:
        try:
            given += added() if arguments is None else []
            with as_interrupt():
                return run(given)
        except CycloptsError as error:
            return say(usage_line(error), USAGE)
        except UsageError as error:
            return say(str(error), USAGE)
        except KeyboardInterrupt:
            again = "; the same command goes on" if given and given[0] in RESUMING else ""
            print(f"{'terminated' if terminated else 'interrupted'}{again}", file=sys.stderr)
            return TERMINATED if terminated else INTERRUPTED
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if os.environ.get("POPSTREAM_TRACEBACK") or package in ("", "popstream"):
                raise
            extra = EXTRAS.get(package, "build")
            return say(f"package {package} is missing; {installs(given[0], extra)} brings it", FAILURE)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and nobody_reads():
                sys.stdout = None
                return FAILURE
            if os.environ.get("POPSTREAM_TRACEBACK") or not foreseen(error):
                raise
            return say(told(error), FAILURE)


def nobody_reads() -> bool:
    """Whether who read the standard output, as head does, has enough and is gone."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(state & (select.POLLERR | select.POLLHUP) for _, state in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # Windows has no poll; a closed or replaced output no number
        return sys.stdout is not None


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
    """The message; of the system's word on a file, the file first, where it is known."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def say(text: str, status: int) -> int:
    """The line on the standard error; returns `status`."""
    print(f"error: {here(' '.join(text.split()))}", file=sys.stderr)
    return status
