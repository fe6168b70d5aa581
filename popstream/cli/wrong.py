"""A wrong command line in one line: what was given, what is allowed, where help is."""

import types
from typing import Any, Union, get_args, get_origin

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

from popstream.cli.checks import guess, known_boards, known_nets

__all__ = ["usage_line"]

KINDS = {int: "a whole number", float: "a number", bool: "true or false"}
NAMES = {"BOARD": known_boards, "NET": known_nets}  # what can be given, where it is missing


def usage_line(error: CycloptsError) -> str:
    """What was wrong, and the command that shows what is right."""
    help = " ".join(("popstream", *(error.command_chain or ()), "--help"))
    if isinstance(error, UnknownCommandError):
        given, known = (error.unused_tokens or [""])[0], [name for name in error.app or () if name[0] != "-"]
        return f"there is no verb {given!r}; {guess(given, known, ' ')}{help} lists all"
    if isinstance(error, UnknownOptionError):
        given = error.token.keyword or error.token.value
        known = [name for argument in error.argument_collection for name in argument.names]
        return f"there is no option {given}; {guess(given, known, ' ')}{help} lists all"
    return f"{sentence(error)}; see {help}"


def sentence(error: CycloptsError) -> str:
    """What was wrong."""
    if isinstance(error, ValidationError) and error.argument:
        said = error.exception_message
        return f"{name_of(error)} {said}" if said.startswith("must ") else f"{name_of(error)}: {said}"
    if isinstance(error, CoercionError) and error.argument and error.token:
        return f"{name_of(error)} must be {allowed(error.argument.hint)}, not {error.token.value!r}"
    if isinstance(error, MissingArgumentError) and error.argument:
        name = error.keyword or name_of(error)
        if error.keyword or error.argument.tokens:
            return f"{name} needs a value"
        known = f"; known are {', '.join(NAMES[name]())}" if name in NAMES else ""
        return f"{name} is missing{known}"
    if isinstance(error, UnusedCliTokensError):
        return f"{' '.join(error.unused_tokens or ())!r} is too much"
    return str(error).strip().rstrip(".")


def name_of(error: CycloptsError) -> str:
    """The option as it was given, else as it is called."""
    assert error.argument is not None
    given = next((token.keyword for token in error.argument.tokens if token.keyword), None)
    return given or error.argument.name


def allowed(hint: Any) -> str:
    """What a type takes, in words."""
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if get_origin(hint) is tuple:
        return f"{allowed(get_args(hint)[0])}, or several apart by spaces"
    if get_args(hint) and all(isinstance(choice, str) for choice in get_args(hint)):
        return f"one of {', '.join(get_args(hint))}"
    return KINDS.get(hint, getattr(hint, "__name__", str(hint)))
