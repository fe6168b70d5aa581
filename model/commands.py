"""Commands as one types them here: of make in a checkout, of popstream where the package is installed.

Messages name the targets of make (`make bitstream BOARD=icebreaker NET=digits-w1a2`), which an installed package has
not; `here` puts its verbs in their place (`popstream bitstream digits-w1a2 icebreaker`).
"""

import re
from pathlib import Path

import popstream

__all__ = ["CHECKOUT", "here", "installs"]

CHECKOUT = (Path(popstream.__file__).parents[1] / "Makefile").exists()
POSITIONAL = ("NET", "MODEL", "SPEC", "BOARD")  # in the verbs' order
# Where the names differ, and switches.
OPTIONS = {"N": "images", "CODE": "code", "RELOADABLE": "reloadable", "FITS": "fits", "WAVES": "waves"}
TARGET = re.compile(r"\bmake ([a-z]+(?:-[a-z]+)*)((?: [A-Z]+=[^\s;,`)]+)*)")


def here(text: str, checkout: bool = CHECKOUT) -> str:
    """`text` with each `make TARGET VARIABLE=value` as it is typed where there is no Makefile."""
    return text if checkout else TARGET.sub(verb, text)


def installs(target: str, extra: str, checkout: bool = CHECKOUT) -> str:
    """What brings the packages of an extra (pyproject.toml): "make sim", which sets them up, or pip."""
    return f"make {target}" if checkout else f"pip install 'popstream[{extra}]'"


def verb(found: re.Match[str]) -> str:
    """The command of popstream that a target with its variables calls."""
    given = dict(part.split("=", 1) for part in found[2].split())
    words = ["popstream", found[1], *(given.pop(name) for name in POSITIONAL if name in given)]
    for name, value in given.items():
        option = OPTIONS.get(name, name.lower())
        words += [f"--{option}"] if value == "1" and name in OPTIONS and name != "N" else [f"--{option}", value]
    return " ".join(words)
