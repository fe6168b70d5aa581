"""Measurements taken over: what a record keeps, whose place it takes, and what is refused."""

import json

import pytest

from docs import records
from docs.records import RecordError, load, take, timed

SIM = {
    "network": "tiny",
    "images": 20,
    "mismatches": 0,
    "interval_cycles": 900,
    "stall": 0.25,
    "seed": 3,
    "nodes": {"a": 1},
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    return tmp_path


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_a_record_says_how_it_was_measured(folder):
    assert take(write(folder / "sim.json", SIM), note="busy machine") == ["sim: make sim NET=tiny N=20 STALL=0.25"]
    (record,) = load("sim")
    assert record["result"] == {key: value for key, value in SIM.items() if key != "nodes"}
    assert record["seed"] == 3
    assert record["note"] == "busy machine"
    assert set(record["tools"]) == {"amaranth", "cocotb", "numpy", "verilator"}
    assert all(record[key] for key in ("date", "commit", "machine", "python"))


def test_a_record_takes_the_place_of_the_same_measurement_alone(folder):
    rows = [{"network": n, "board": "b", "images_per_s": 1} for n in ("one", "two", "three")]
    take(write(folder / "bench.json", rows))
    take(write(folder / "bench.json", [{"network": "two", "board": "b", "images_per_s": 2}]), command="by hand")
    take(write(folder / "bench.json", [{"network": "two", "board": "c", "images_per_s": 3}]))
    found = [(r["result"]["network"], r["result"]["images_per_s"]) for r in load("bench")]
    assert found == [("one", 1), ("two", 2), ("three", 1), ("two", 3)]
    assert [r["command"] for r in load("bench")][1:3] == ["by hand", "make bench NET=three BOARD=b"]


def test_what_an_earlier_command_measured_stays_as_it_was_told(folder):
    one, two = ({"network": name, "board": "b", "images_per_s": 1} for name in ("one", "two"))
    take(write(folder / "bench.json", [one]), command="first", note="busy")
    assert take(write(folder / "bench.json", [two, one]), command="second") == ["bench: second"]
    assert [(r["command"], r.get("note")) for r in load("bench")] == [("first", "busy"), ("second", None)]
    take(write(folder / "bench.json", [one]), command="again")  # of one measurement alone, measured anew
    assert load("bench")[0]["command"] == "again"


def test_bitstreams_are_taken_one_by_one_without_those_that_failed(folder):
    good = {"network": "tiny", "board": "good", "seed": 1, "tools": {"yosys": "0.70"}, "folding": {}}
    take(write(folder / "bitstreams.json", {"boards": {"good": good, "bad": {"error": "does not fit"}}}))
    (record,) = load("bitstream")
    assert record["tools"] == {"yosys": "0.70"}
    assert record["seed"] == 1
    assert "folding" not in record["result"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("other.json", "{}", "is none of accuracy.json"),
        ("sim.txt", "{}", "is none of accuracy.json"),
        ("sim.json", "{", "cannot be taken over"),
        ("sim.json", "[]", "a table, not a list"),
        ("bench.json", '[{"network": "tiny"}]', "without board"),
        ("bitstreams.json", "[]", "cannot be taken over"),
    ],
)
def test_what_is_no_measurement_is_refused_and_nothing_kept(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(RecordError, match=message):
        take(folder / name)
    assert not (folder / "results").exists()


def test_a_missing_file_is_refused(folder):
    with pytest.raises(RecordError, match="cannot be taken over"):
        take(folder / "sim.json")


def test_the_time_of_a_command_is_kept_if_it_ends_well(folder):
    timed("true")
    assert load("times")[0]["result"]["command"] == "true"
    with pytest.raises(RecordError, match="'false' failed"):
        timed("false")
    with pytest.raises(RecordError, match="failed"):
        timed("no-such-command-here")
    assert len(load("times")) == 1
