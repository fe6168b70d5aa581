"""Tables and JSON that people write, checked against a declared type; errors of one line that say what and where.

    class Phase(msgspec.Struct, forbid_unknown_fields=True): ...
    convert(tomllib.loads(text), Phase, path, RecipeError)     # small.toml: lr must be a number above 0, not 'high'

Bounds stand in the type (msgspec.Meta); a `description` there takes the place of a pattern in the message.
"""

import dataclasses
import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import inspect

__all__ = ["FINITE", "InputError", "convert", "cut", "escaped", "must_be_file", "read_bytes", "read_json", "strict"]

FINITE = sys.float_info.max  # as an upper bound: neither infinity nor not-a-number
MOST_JSON = 2**26  # bytes of JSON that are read at all
WORD, LINE = 300, 3000  # longest word and message of an error: beyond, it is cut
T = TypeVar("T")
PLACE = re.compile(r"(?s)(.*) - at `(?:key` in `)?\$(.*)`")
STEP = re.compile(r"\.(\w+)|\[(\d+)\]|(\[\.\.\.\])")
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half of a character
STRUCTURES = (inspect.StructType, inspect.DataclassType)


class InputError(ValueError):
    """What was given breaks a rule; one line, without more than a reader can use of a word that never ends."""

    def __init__(self, message: str):
        super().__init__(cut(escaped(" ".join(message.splitlines())), LINE))


def escaped(text: str) -> str:
    """`text` with what a terminal would obey, or could not show, as Python writes it: \\x1b."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cut(text: str, most: int) -> str:
    """`text` with words of at most WORD characters and `most` in all, what is left out counted."""
    text = re.sub(rf"\S{{{WORD + 1},}}", lambda word: shorten(word[0], WORD), text)
    return shorten(text, most)


def shorten(text: str, most: int) -> str:
    """The beginning and the end of a text that is longer than `most`."""
    if len(text) <= most:
        return text
    kept = most // 2 - 20
    return f"{text[:kept]}[{len(text) - 2 * kept} characters]{text[-kept:]}"


def must_be_file(path: Path, error: type[Exception] = InputError) -> None:
    """`error` for a pipe, a device or a socket, which may give bytes without end, or none for ever."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise error(f"{path}: is no regular file; copy what it gives into one")


def read_bytes(path: Path, most: int, error: type[InputError] = InputError, missing: str = "") -> bytes:
    """A file's bytes; `error` where it cannot be read, has more than `most`, or is `missing` (what to do then)."""
    try:
        must_be_file(path, error)
        size = path.stat().st_size
        if size > most:
            raise error(f"{path}: has {size:,} bytes; at most {most:,} are read")
        return path.read_bytes()
    except FileNotFoundError as wrong:
        raise error(f"{path}: no such file; {missing}" if missing else unreadable(path, wrong)) from None
    except OSError as wrong:
        raise error(unreadable(path, wrong)) from None


def unreadable(path: Path, wrong: OSError) -> str:
    return f"{path}: cannot be read ({wrong.strerror})"


def read_json(path: Path, error: type[InputError] = InputError, missing: str = "") -> Any:
    """What a file of JSON holds; `error` where it cannot be read, is cut short, or has a key twice."""
    data = read_bytes(path, MOST_JSON, error, missing)
    try:
        content = json.loads(data.decode(), object_pairs_hook=distinct)
        if SURROGATE.search(data):
            json.dumps(content, ensure_ascii=False).encode()  # an error where the other half is not there
        return content
    except (ValueError, RecursionError) as wrong:
        raise error(f"{path}: not valid JSON, or cut short ({wrong})") from None


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError where a key stands in it twice."""
    content = dict(pairs)
    if len(content) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate key {next(key for key in keys if keys.count(key) > 1)!r}")
    return content


@cache
def strict(kind: type) -> type[msgspec.Struct]:
    """A Struct with the fields of a dataclass, and their bounds, which refuses any other."""
    hints, given = get_type_hints(kind, include_extras=True), []
    for field in dataclasses.fields(kind):
        default = msgspec.NODEFAULT if field.default is dataclasses.MISSING else field.default
        given.append((field.name, hints[field.name], msgspec.field(default=default)))
    return msgspec.defstruct(kind.__name__, given, forbid_unknown_fields=True, kw_only=True)


def convert(
    content: Any, kind: type[T], source: object, error: type[InputError] = InputError, what: str = "the file"
) -> T:
    """`content` (of TOML or JSON) as a `kind`: a msgspec.Struct or a dataclass; `error` where it is not one.

    The message begins with `source`, and calls the whole `what`.
    """
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as wrong:
        raise error(f"{source}: {explain(content, kind, str(wrong), what)}") from None


def explain(content: Any, kind: type, message: str, what: str) -> str:
    """msgspec's message in our words: the key, what is allowed there, and what was given."""
    place = PLACE.fullmatch(message)
    said, steps = (place[1], STEP.findall(place[2])) if place else (message, [])
    info, names = unwrap(inspect.type_info(kind)), []
    for name, index, entry in steps:
        if entry:  # a table with keys of any name; msgspec does not say which
            break
        if name:
            field = next(field for field in info.fields if field.encode_name == name)
            content, allowed = content[name], field.type
            names.append(name)
        else:
            allowed = info.item_types[int(index)] if hasattr(info, "item_types") else info.item_type
            content = content[int(index)]
            names[-1] += f" {index}" if isinstance(unwrap(allowed), STRUCTURES) else f"[{index}]"
        info = unwrap(allowed)
    else:
        allowed = allowed if steps else info
    key = " of ".join(reversed(names)) or what
    lacks = re.fullmatch(r"Object missing required field `(.*)`", said)
    if lacks:
        return f"{key} lacks {lacks[1]!r}"
    unknown = re.fullmatch(r"(?s)Object contains unknown field `(.*)`", said)
    if unknown:
        known = ", ".join(sorted(field.encode_name for field in info.fields))
        return f"{key} has an unknown option {unknown[1]!r}; it takes {known}"
    if said.startswith(("Expected ", "Invalid enum value")):
        return f"{key} must be {describe(allowed)}, not {shorten(repr(content), 80)}"
    return said  # of a __post_init__


def unwrap(info: Any) -> Any:
    """The type without its description."""
    return info.type if isinstance(info, inspect.Metadata) else info


def describe(info: Any) -> str:
    """The allowed values of a type in words."""
    if isinstance(info, inspect.Metadata):
        return (info.extra_json_schema or {}).get("description") or describe(info.type)
    if isinstance(info, inspect.IntType):
        return "a whole number" + bounds(info)
    if isinstance(info, inspect.FloatType):
        return ("a finite number" if info.le == FINITE else "a number") + bounds(info)
    if isinstance(info, inspect.BoolType):
        return "true or false"
    if isinstance(info, inspect.StrType):
        return "text"
    if isinstance(info, inspect.LiteralType):
        return ("one of " if len(info.values) > 1 else "") + ", ".join(map(str, info.values))
    if isinstance(info, inspect.TupleType):
        return f"a list of {len(info.item_types)}, each {describe(info.item_types[0])}"
    if isinstance(info, inspect.CollectionType):
        least = f" of at least {info.min_length}" if info.min_length else ""
        return f"a list{least}" + (f", each {describe(info.item_type)}" if info.item_type != inspect.AnyType() else "")
    if isinstance(info, inspect.UnionType):
        return " or ".join(describe(kind) for kind in info.types)
    if isinstance(info, inspect.DictType) and info.value_type != inspect.AnyType():
        return f"a table, each entry {describe(info.value_type)}"
    return "null" if isinstance(info, inspect.NoneType) else "a table"


def bounds(info: inspect.IntType | inspect.FloatType) -> str:
    """The bounds of a number in words."""
    low, high = (info.gt if info.ge is None else info.ge), (info.lt if info.le is None else info.le)
    if high == FINITE:
        high = None
    if info.ge is not None and info.le is not None and high is not None:
        return f" from {low} to {high}"
    words = [] if low is None else [f"of at least {low}" if info.ge is not None else f"above {low}"]
    words += [] if high is None else [f"at most {high}" if info.le is not None else f"below {high}"]
    return (" " + " and ".join(words)) if words else ""
