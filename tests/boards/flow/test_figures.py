"""bitstream.json, read back: damage and wrong values in one line that says what to do."""

import json

import pytest

from popstream.boards.board.board import BoardError
from popstream.boards.flow.figures import read_figures


@pytest.mark.parametrize(("text", "message"), [
    ("{", "not valid JSON, or cut short"), ("[]", "the file must be a table, not []"),
    ('{"seed": 1, "seed": 2}', "duplicate key 'seed'"),
    ('{"timing_met": "no"}', "timing_met must be true or false, not 'no'"),
    ('{"target_mhz": -3}', "target_mhz must be a number above 0, not -3"),
    ('{"seeds": [1]}', "seeds must be a table, each entry a number, not [1]"),
    ('{"folding": {"linear": 3}}', "folding must be a table, each entry a table"),
])  # fmt: skip
def test_damage_is_named(tmp_path, text, message):
    (tmp_path / "bitstream.json").write_text(text)
    with pytest.raises(BoardError) as raised:
        read_figures(tmp_path / "bitstream.json")
    assert str(raised.value).startswith(f"{tmp_path}/bitstream.json: ")
    assert message in str(raised.value)
    assert str(raised.value).endswith("; remove it and run make bitstream again")


def test_all_that_stands_there_comes_back(tmp_path):
    folding = {"linear": {"simd": 1}, "shared": [{"slice": 4}]}
    content = {"network": "x", "seeds": {"0": 61.5}, "anything": [1, 2], "folding": folding}
    (tmp_path / "bitstream.json").write_text(json.dumps(content))
    assert read_figures(tmp_path / "bitstream.json") == content
