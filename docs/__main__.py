"""`make docs`: tables and figures of README.md and docs/ made anew from docs/results and from code.

make docs                                        write what is out of date
make docs TAKE=build/resnet20-w1a2/sim.json      take new measurements over first (several, in quotes)
make docs TIME="make sim"                        run a command first, and keep how long it took
make docs CHECK=1                                write nothing, fail if something is out of date
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from docs.figures import FIGURES
from docs.pages import ROOT, PageError, fill, pages
from docs.records import RecordError, take, timed
from docs.tables import TABLES
from popstream.model.files import write_whole

__all__ = ["app", "out_of_date"]

app = App(name="docs", help=__doc__.splitlines()[0], version_flags=[])


def out_of_date() -> dict[Path, bytes]:
    """The files that should be otherwise, with what should stand in them. PageError for a damaged page."""
    should = {path: fill(path.read_text(), TABLES, str(path.relative_to(ROOT))).encode() for path in pages()}
    should |= {ROOT / "docs" / "figures" / f"{name}.svg": draw().encode() for name, draw in FIGURES.items()}
    return {path: content for path, content in should.items() if not path.exists() or path.read_bytes() != content}


@app.default
def main(
    *,
    take_over: Annotated[list[Path], Parameter("--take", consume_multiple=True)] = [],  # noqa: B006
    command: str | None = None,
    note: str | None = None,
    time: str | None = None,
    check: bool = False,
) -> int:
    """Tables and figures of README.md and docs/ made anew.

    Parameters
    ----------
    take_over
        Files that commands wrote (accuracy.json, sim.json, bench.json, ...), to be kept in docs/results first.
    command
        The command that measured them, where it is not the plain one.
    note
        What a reader of them has to know.
    time
        A command to run first, whose time is kept.
    check
        Write nothing; status 1 if something is out of date.
    """
    try:
        for path in take_over:
            print("\n".join(take(path, command, note)))
        if time:
            print(f"{time}: {timed(time, note)['result']['seconds']} s")
        files = out_of_date()
    except (RecordError, PageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, content in files.items():
        print(f"{path.relative_to(ROOT)} {'is out of date; run make docs' if check else 'written'}")
        if not check:
            write_whole(path, content)
    return int(check and bool(files))


if __name__ == "__main__":
    sys.exit(app(sys.argv[1:] + shlex.split(os.environ.pop("POPSTREAM_ARGUMENTS", "")), result_action="return_value"))
