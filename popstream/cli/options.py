"""Options that verbs share, each with one spelling, one meaning and one check (checks.py)."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from popstream.cli.checks import (
    MAX_MHZ,
    Check,
    at_least,
    between,
    check_baud,
    check_board,
    check_file,
    check_folder,
    check_name,
    check_net,
    check_stem,
    probability,
    rate,
    recipes,
    sweeps,
)

__all__ = [
    *("BUILD", "Baud", "Board", "Boards", "Failed", "Folding", "Fps", "Freq", "Images", "Interval", "Name", "Net"),
    *("Nets", "Optimize", "Out", "Processes", "Recipe", "Root", "Seed", "Seeds", "Stall", "Sweep", "UsageError"),
    *("exclusive", "option"),
]

BUILD = Path("build")


class Failed(RuntimeError):
    """The work came to its end and its result is not what it must be; one line, exit status 1."""


class UsageError(ValueError):
    """Options that do not go together, or a value that another rules out; one line, exit status 2."""


def option(help: str, check: Check | None = None, **more: Any) -> Parameter:
    """A parameter with its text and check. A flag has no --no-; of an option given twice the later counts."""
    return Parameter(help=help, validator=check, negative=(), allow_repeating=True, **more)


def exclusive(**given: Any) -> None:
    """UsageError if more than one of the options was given."""
    names = [f"--{name}" for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} exclude each other; give one of them")


Net = Annotated[str, option("a network of model/zoo, or the path of a manifest", check_net)]
Nets = Annotated[str, option("networks (all of model/zoo)", check_net)]
Name = Annotated[str, option("the name of a trained network", check_name)]
Board = Annotated[str, option("a board (popstream boards lists them)", check_board)]
Boards = Annotated[str, option("boards (popstream boards lists them)", check_board)]
Recipe = Annotated[str, option("a recipe of model/recipes, or the path of one", check_stem("recipe", recipes))]
Sweep = Annotated[str, option("a sweep of model/sweeps, or the path of one", check_stem("sweep", sweeps))]
Images = Annotated[int, option("test images", at_least(1), metavar="N")]
Stall = Annotated[float, option("probability of pauses on both sides, 0 to below 1", probability, metavar="P")]
Seed = Annotated[int, option("seed of what is drawn at random", at_least(0), metavar="N")]
Seeds = Annotated[int, option("most seeds that are tried until the timing is met", at_least(1), metavar="N")]
Freq = Annotated[float | None, option("clock in MHz (the board's own)", between(1, MAX_MHZ, " MHz"), metavar="MHZ")]
Fps = Annotated[float | None, option("images a second to reach", rate, metavar="N")]
Interval = Annotated[int | None, option("most cycles an image", at_least(1), metavar="CYCLES")]
Folding = Annotated[Path | None, option("a folding.json to use instead of --interval", check_file, metavar="FILE")]
Out = Annotated[Path | None, option("folder to write to", check_folder, metavar="FOLDER")]
Root = Annotated[Path, option("folder of everything built", check_folder, metavar="FOLDER")]
Processes = Annotated[int | None, option("simulators at once (one for each core)", at_least(1), metavar="N")]
Optimize = Annotated[int, option("level of the C++ compiler, 0 to 3", between(0, 3), metavar="LEVEL")]
Baud = Annotated[int | None, option("bits a second of the UART, as in the bitstream", check_baud, metavar="BAUD")]
