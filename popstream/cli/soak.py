"""The verb that tries random cases for hours."""

from pathlib import Path
from typing import Annotated, Any

from popstream.cli.app import SIMULATE, app
from popstream.cli.checks import at_least, positive
from popstream.cli.options import BUILD, Failed, Root, Seed, UsageError, exclusive, option


def counts_of(given: tuple[str, ...]) -> dict[str, int]:
    """networks=50 frames=1000 as a table. UsageError."""
    found = {}
    for text in given:
        name, _, number = text.partition("=")
        if not number.isascii() or not number.isdigit() or int(number) < 1:
            raise UsageError(f"--count must be KIND=N with N of at least 1, such as networks=50, not {text!r}")
        found[name] = int(number)
    return found


def hostile(hours: float, readers: tuple[str, ...], seed: int, root: Path) -> None:
    """Fuzz these readers, or all; prints a table. Failed where one does not hold."""
    from popstream.model.console import table_console
    from popstream.soak.fuzz.campaign import fuzz
    from popstream.soak.report import fuzzed

    names = () if readers == ("all",) else readers
    found = fuzz(hours, names, seed, root, lambda text: print(text, flush=True))
    table_console().print(fuzzed(found))
    print(root / "fuzz.json")
    if found["failures"]:
        raise Failed(f"{found['failures']} findings; each is kept in {root / 'fuzz' / 'failures'}")


@app.command(group=SIMULATE)
def soak(
    *,
    hours: Annotated[float | None, option("how long (1, without --count)", positive, metavar="H")] = None,
    count: Annotated[
        tuple[str, ...], option("KIND=N ...: these kinds, until so many are done in all", consume_multiple=True)
    ] = (),
    fuzz: Annotated[
        tuple[str, ...],
        option("hostile bytes into these readers, or all of them", consume_multiple=True, metavar="READER..."),
    ] = (),
    seed: Seed = 0,
    jobs: Annotated[int | None, option("cores of this machine to use (all)", at_least(1), metavar="N")] = None,
    repeat: Annotated[Path | None, option("check a case again that failed and was kept", metavar="FOLDER")] = None,
    root: Root = BUILD,
) -> None:
    """Try random cases of every kind, for hours.

    Networks x foldings x stalls in RTL, frames on the host link, damaged manifests and ROM images, killed trainings.
    The same command goes on; what fails is kept in build/soak/failures. Writes build/soak.json. With --fuzz: bytes
    guided by coverage into all that reads others' files, or what a board says; kept in build/fuzz, build/fuzz.json.

    Example: popstream soak --hours 0.5 --seed 1
    Takes as long as it is told, and the minute that is under way.
    """
    from popstream.model.console import plain_console, table_console
    from popstream.soak.batch import again
    from popstream.soak.campaign import soak as run
    from popstream.soak.report import table
    from popstream.soak.state import read_case

    if repeat:
        case = read_case(repeat)
        folder = repeat if repeat.is_dir() else repeat.parent
        if (wrong := again(case.kind, folder, root)) is not None:
            raise Failed(f"fails again: {wrong}")
        print(f"{folder}: nothing is wrong any more (it was: {case.said})")
        return
    exclusive(count=count or None, fuzz=fuzz or None)
    if fuzz:
        exclusive(jobs=jobs, fuzz=fuzz)
        hostile(hours or 1.0, fuzz, seed, root)
        return
    counts: dict[str, int] | None = counts_of(count) or None
    found: dict[str, Any] = run(
        hours or (None if counts else 1.0), counts, seed, root, jobs, progress=lambda text: print(text, flush=True)
    )
    table_console().print(table(found))
    plain_console().print(f"{root / 'soak.json'}", soft_wrap=True)
    if found["failures"]:
        raise Failed(f"cases that failed: {found['failures']}; each is kept in {root / 'soak' / 'failures'}")
