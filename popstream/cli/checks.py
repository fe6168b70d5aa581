"""Checks of options' values: ValueError with what is allowed and what was given, "must be at least 1, not 0".

wrong.py puts the option's name before it. A check is called with the type and the value, which may be None.
"""

import difflib
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from popstream import model

__all__ = [
    *(
        "MAX_MHZ",
        "Check",
        "at_least",
        "between",
        "check_baud",
        "check_board",
        "check_count",
        "check_data_set",
        "check_file",
    ),
    "check_folder",
    *("check_module", "check_name", "check_net", "check_stem", "each", "guess"),
    *("known_boards", "known_nets", "positive", "probability", "rate", "recipes", "sweeps"),
]

Check = Callable[[Any, Any], None]
MAX_MHZ = 400  # no device's fabric is clocked faster; what its PLL can make is asked of the board
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # as a manifest's: it becomes a folder of build/


def number(value: float) -> str:
    """A number as one reads it: whole ones with all their digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def at_least(least: int) -> Check:
    """A check of numbers."""

    def check(_: Any, value: Any) -> None:
        if value is not None and value < least:
            raise ValueError(f"must be at least {least}, not {number(value)}")

    return check


def between(least: float, most: float, unit: str = "") -> Check:
    """A check of numbers; both ends are allowed."""

    def check(_: Any, value: Any) -> None:
        if value is not None and not least <= value <= most:
            raise ValueError(f"must be {number(least)} to {number(most)}{unit}, not {number(value)}")

    return check


def positive(_: Any, value: Any) -> None:
    """A number of any size above 0."""
    if value is not None and not 0 < value < float("inf"):
        raise ValueError(f"must be more than 0, not {value:g}")


def rate(_: Any, value: float | None) -> None:
    """Images a second: above 0, and no more than one a cycle of the fastest clock."""
    if value is not None and not 0 < value <= MAX_MHZ * 1e6:
        raise ValueError(f"must be more than 0 and at most {MAX_MHZ * 1e6:,.0f}, an image a cycle, not {value:g}")


def probability(_: Any, value: float) -> None:
    """A share of cycles."""
    if not 0 <= value < 1:
        raise ValueError(f"must be a probability from 0 to below 1, not {value:g}")


def guess(given: str, known: list[str], behind: str = "") -> str:
    """ "did you mean ...?" of the name that is most like what was given, or begins with it; else nothing."""
    near = difflib.get_close_matches(given, known, 1) or [name for name in known if given and name.startswith(given)]
    return f"did you mean {near[0]}?{behind}" if near else ""


def unknown(what: str, given: str, known: Iterable[str], where: str) -> str:
    """What to say of a name that nothing has: the nearest, and all there are."""
    names = list(known)
    return f"{given!r} is no {what}; {guess(given, names, ' ')}known are {', '.join(names) or 'none'} ({where})"


def known_boards() -> list[str]:
    """Names of all boards."""
    from popstream.boards.known import boards

    return list(boards())


def is_board(name: str) -> bool:
    """Whether a board is called so; False where what boards need is not installed."""
    try:
        return name in known_boards()
    except ModuleNotFoundError:
        return False


def known_nets() -> list[str]:
    """Names of the trained networks."""
    from popstream.model.manifest import zoo

    return [folder.name for folder in zoo()]


def check_net(_: Any, value: str | None) -> None:
    """A network that is there: in the zoo, or a manifest."""
    if value is None:
        return
    from popstream.model.manifest import ManifestError, find

    try:
        find(value)
    except (ManifestError, OSError, ValueError):
        if is_board(value):
            raise ValueError(f"{value!r} is a board; the network comes first") from None
        raise ValueError(unknown("network", value, known_nets(), "or give the path of a manifest")) from None


def check_board(_: Any, value: str | None) -> None:
    """A board that is known."""
    if value is not None and value not in known_boards():
        raise ValueError(unknown("board", value, known_boards(), "popstream boards"))


def check_name(_: Any, value: str | None) -> None:
    """A name that may become a folder's."""
    if value is not None and not NAME.fullmatch(value):
        raise ValueError(f"must be letters, digits, '_', '.' or '-', not {value!r}")


def check_module(_: Any, value: str) -> None:
    """A name that Verilog allows for a module."""
    from popstream.hw import packaging

    try:
        packaging.check_module(value)
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{packaging.SUBJECT} ")) from None


def check_stem(kind: str, folder: Callable[[], Path], paths: bool = True) -> Check:
    """A check of a name of `folder`'s TOML files, or, with `paths`, of a path to one."""

    def check(_: Any, value: str) -> None:
        named = NAME.fullmatch(value) and (folder() / f"{value}.toml").is_file()
        if not named and not (paths and value.endswith(".toml") and Path(value).is_file()):
            names = sorted(path.stem for path in folder().glob("*.toml"))
            where = "or give the path of a .toml file" if paths else f"the files of model/{folder().name}"
            raise ValueError(unknown(kind, value, names, where))

    return check


def recipes() -> Path:
    """The folder of recipes; popstream.model.training is not imported for it."""
    return Path(model.__file__).parent / "recipes"


def sweeps() -> Path:
    """The folder of sweeps."""
    return Path(model.__file__).parent / "sweeps"


def check_file(_: Any, value: Path | None) -> None:
    """A file that can be read; what is in it is checked by who reads it."""
    if value is not None and not value.is_file():
        raise ValueError(f"must be a file, and {value} is {'a folder' if value.is_dir() else 'not there'}")


def check_folder(_: Any, value: Path | None) -> None:
    """A folder that can be written, or made; tried in the nearest one that is there."""
    if value is None:
        return
    there = next((folder for folder in (value, *value.absolute().parents) if folder.exists()), Path("/"))
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".popstream."):
            pass
    except OSError as error:
        raise ValueError(f"must be a folder that can be written, and {there} is not ({error.strerror})") from None


def each(check: Check) -> Check:
    """`check` of every value of several, of which there must be one."""

    def check_all(kind: Any, values: Any) -> None:
        if not values:
            raise ValueError("must be one value or more, apart by spaces")
        for value in values:
            check(kind, value)

    return check_all


def check_baud(kind: Any, value: int | None) -> None:
    """A baud that the link's UART has been tried with."""
    from popstream.boards.link.protocol import MAX_BAUD

    between(1, MAX_BAUD)(kind, value)


def check_count(kind: Any, value: int) -> None:
    """Images of a self-test."""
    from popstream.boards.link.protocol import MAX_COUNT

    between(4, MAX_COUNT)(kind, value)


def check_data_set(_: Any, value: str | None) -> None:
    """A data set that is known."""
    from popstream.model.data import DATA_SETS

    if value is not None and value not in DATA_SETS:
        raise ValueError(unknown("data set", value, DATA_SETS, "those with test images"))
