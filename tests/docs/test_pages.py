"""The pages: tables and figures are what the command makes of the committed results; a damaged mark is found."""

import json

import pytest

from docs.__main__ import app, out_of_date
from docs.figures import FIGURES
from docs.pages import ROOT, PageError, fill, pages
from docs.records import KINDS, RESULTS
from docs.tables import TABLES, accuracy


def test_no_page_and_no_figure_is_out_of_date():
    found = [str(path.relative_to(ROOT)) for path in out_of_date()]
    assert found == [], "run `make docs`"


def test_every_table_and_every_figure_is_on_a_page():
    text = "".join(path.read_text() for path in pages())
    assert [name for name in TABLES if f"<!-- table: {name} -->" not in text] == []
    assert [name for name in FIGURES if f"figures/{name}.svg" not in text] == []


def test_every_file_of_results_is_of_a_kind_and_says_how_it_was_measured():
    for path in RESULTS.glob("*.json"):
        assert path.stem in KINDS
        for record in json.loads(path.read_text()):
            assert {"command", "date", "commit", "machine", "tools", "result"} <= set(record), path


def test_a_block_is_filled_and_the_rest_left():
    text = "before\n<!-- table: one -->\nold\n<!-- end -->\nbetween <!-- table: two -->\n<!-- end -->\n"
    filled = fill(text, {"one": lambda: "| 1 |", "two": lambda: "| 2 |"}, "page")
    assert filled == (
        "before\n<!-- table: one -->\n| 1 |\n<!-- end -->\nbetween <!-- table: two -->\n| 2 |\n<!-- end -->\n"
    )
    assert fill(filled, {"one": lambda: "| 1 |", "two": lambda: "| 2 |"}, "page") == filled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: three -->\n<!-- end -->", "no table 'three', only one"),
        ("<!-- table: one -->\n", "stands alone"),
        ("<!-- end -->", "stands alone"),
        ("<!-- table: one -->\n<!-- table: one -->\n<!-- end -->", "'one' has no"),
        ("<!-- table: One -->\n<!-- end -->", "stands alone"),
    ],
)
def test_a_damaged_mark_is_refused(text, message):
    with pytest.raises(PageError, match=message):
        fill(text, {"one": str}, "page")


def test_a_check_writes_nothing_and_tells(tmp_path, monkeypatch, capsys):
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    (tmp_path / "docs" / "figures").mkdir()
    page.write_text("<!-- table: rules -->\n<!-- end -->\n")
    for module in ("docs.__main__", "docs.pages"):
        monkeypatch.setattr(f"{module}.ROOT", tmp_path)
    assert app("--check", result_action="return_value") == 1
    assert "docs/page.md is out of date; run make docs" in capsys.readouterr().out
    assert "R1" not in page.read_text()
    assert app("", result_action="return_value") == 0
    assert "| R1 pixels |" in page.read_text()
    assert (tmp_path / "docs" / "figures" / "way.svg").exists()
    assert app("--check", result_action="return_value") == 0


def test_a_result_of_another_training_is_marked(monkeypatch):
    records = json.loads((RESULTS / "accuracy.json").read_text())
    records[0]["result"]["network_hash"] = "0" * 64
    monkeypatch.setattr("docs.records.load", lambda kind: records if kind == "accuracy" else [])
    name = records[0]["result"]["network"]
    assert f"`{name}` \\* |" in accuracy.agreement()
    assert "earlier training" in accuracy.agreement()
