"""A kind of case of which some are wrong, raise, die or hang, as the folder says."""

import os
import time
from pathlib import Path

import numpy as np

from popstream.soak.kinds import Kind, WrongError, one_by_one

WAYS = ("well", "wrong", "raises", "dies", "hangs")


def draw(rng: np.random.Generator, place: Path) -> None:
    """What the case does."""
    (place / "way").write_text(WAYS[int(rng.integers(len(WAYS)))])


def check(place: Path, root: Path) -> dict[str, int]:
    way = (place / "way").read_text()
    if way == "wrong":
        raise WrongError("two and two is five")
    if way == "raises":
        raise ZeroDivisionError("division by zero")
    if way == "dies":
        os.abort()
    if way == "hangs":
        time.sleep(1000)
    return {"well": 1}


KIND = Kind("broken", "of every sort", draw, one_by_one(check), batch=20, seconds=3)
