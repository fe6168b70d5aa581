"""Pickles of foreign files looked through before they are read: how large, and what they would call.

Reading a pickle may take more memory than a file of its size can need. Looked through as opcodes, without doing what
they say, it is found to ask for more than it holds.
"""

import pickletools
from collections.abc import Container

__all__ = ["PickleError", "look_through"]

MEMORIES = ("PUT", "BINPUT", "LONG_BINPUT")


class PickleError(ValueError):
    """A pickle that no honest writer makes; one line."""


def look_through(data: bytes, called: Container[str] | None = None) -> None:
    """PickleError where `data` is cut short, holds more than a pickle, remembers where it has not come yet, or names
    another global ("module.name") than those of `called`; without these, who reads it has to look.
    """
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if opcode.name in MEMORIES and int(argument or 0) > number:
                raise PickleError(f"it would remember at {argument}, after {number} steps")
            if called is None:
                continue
            if opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
                raise PickleError(f"it has a name in a form of its own ({opcode.name})")
            if opcode.name == "GLOBAL" and (name := str(argument).replace(" ", ".")) not in called:
                raise PickleError(f"it would call {name}")
    except PickleError:
        raise
    except Exception as error:  # pickletools raises a different type for each kind of damage
        raise PickleError(f"it is cut short, or no pickle ({error})") from None
