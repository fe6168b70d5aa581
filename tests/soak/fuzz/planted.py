"""Readers with a fault each: one that coverage has to find, one that hangs, dies or takes memory."""

import os
import time

from popstream.soak.fuzz.target import Target, attempt
from popstream.soak.kinds import WrongError


def hidden(data: bytes) -> str:
    """Wrong behind three bytes, which chance does not find so soon: each of them is a branch."""
    if data[:1] == b"p" and data[1:2] == b"o" and data[2:3] == b"p":
        raise KeyError("popstream")
    return "taken"


def bad(data: bytes) -> str:
    """A death or a hang."""
    if data[:1] == b"d":
        os.abort()
    if data[:1] == b"h":
        time.sleep(1000)
    return "refused"


def hungry(data: bytes) -> str:
    """Too much memory, said or caught."""

    def caught() -> None:
        try:
            bytearray(2**31)
        except MemoryError as error:
            raise WrongError("too large") from error

    return attempt(caught if data[:1] == b"c" else lambda: bytearray(2**31), WrongError)


TARGETS = {
    "hidden": Target("words", lambda: [b"xxxxxxxx"], hidden, most=16),
    "dies": Target("bytes", lambda: [b"xd"], bad, most=4),
    "hungry": Target("bytes", lambda: [b"x"], hungry, most=4),
}
