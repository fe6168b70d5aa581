"""Messages of tables that are checked by their types."""

from typing import Annotated, Literal

import msgspec
import pytest

from popstream.model.checked import FINITE, InputError, convert, cut, read_json


class Item(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+\Z", description="small letters")]
    rate: Annotated[float, msgspec.Meta(gt=0, le=FINITE)] = 1.0
    sides: tuple[int, int] | None = None
    mode: Literal["a", "b"] = "a"

    def __post_init__(self):
        if self.name == "no":
            raise ValueError("a name must not be no")


class Table(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Item]
    sizes: dict[str, Annotated[int, msgspec.Meta(lt=9)]] = {}


@pytest.mark.parametrize(("content", "message"), [
    (3, "the file must be a table, not 3"),
    ({}, "the file lacks 'items'"),
    ({"items": 3}, "items must be a list, each a table, not 3"),
    ({"items": [{}]}, "items 0 lacks 'name'"),
    ({"items": [{"name": "a"}, 3]}, "items 1 must be a table, not 3"),
    ({"items": [{"name": "A"}]}, "name of items 0 must be small letters, not 'A'"),
    ({"items": [{"name": "a", "nmae": 1}]}, "items 0 has an unknown option 'nmae'; it takes mode, name, rate, sides"),
    ({"items": [{"name": "a", "rate": 0}]}, "rate of items 0 must be a finite number above 0, not 0"),
    ({"items": [{"name": "a", "rate": float("nan")}]}, "rate of items 0 must be a finite number above 0, not nan"),
    ({"items": [{"name": "a", "rate": float("inf")}]}, "rate of items 0 must be a finite number above 0, not inf"),
    ({"items": [{"name": "a", "rate": True}]}, "rate of items 0 must be a finite number above 0, not True"),
    ({"items": [{"name": "a", "sides": [1]}]},
     "sides of items 0 must be a list of 2, each a whole number or null, not [1]"),
    ({"items": [{"name": "a", "mode": "c"}]}, "mode of items 0 must be one of a, b, not 'c'"),
    ({"items": [], "sizes": {"x": 9}}, "sizes must be a table, each entry a whole number below 9, not {'x': 9}"),
    ({"items": [{"name": "no"}]}, "a name must not be no"),
])  # fmt: skip
def test_messages(content, message):
    with pytest.raises(InputError) as raised:
        convert(content, Table, "f.toml")
    assert str(raised.value) == f"f.toml: {message}"


def test_what_is_right_is_typed():
    table = convert({"items": [{"name": "a", "rate": 2}]}, Table, "f.toml")
    assert (table.items[0].rate, table.items[0].sides, table.sizes) == (2.0, None, {})


def test_long_words_and_lines_are_cut():
    assert cut("a short text", 100) == "a short text"
    word = cut("x" * 100_000, 3000)
    assert len(word) < 320
    assert "characters]" in word
    message = str(InputError("a b " * 50_000 + "\nend"))
    assert len(message) < 3020
    assert message.endswith("end")
    assert "\n" not in message


def test_a_message_commands_no_terminal():
    assert str(InputError("name '\x1b[2J\r\x00' is\ntaken, é")) == r"name '\x1b[2J \x00' is taken, é"


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\udc00": 1}'])
def test_half_a_character_is_no_json(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json: not valid JSON, or cut short \(.*surrogates not allowed"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"a": "\\ud83d\\ude00"}')
    assert read_json(tmp_path / "x.json") == {"a": "\U0001f600"}
