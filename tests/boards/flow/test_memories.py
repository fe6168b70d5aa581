"""Block RAMs of a nearly full device are placed first, and nothing else is told where to go."""

import json

import pytest

from popstream.boards.flow import place, places
from popstream.boards.flow.ends import STEPS, STUCK, NeverRouted
from popstream.boards.flow.memories import fix_memories, nearly_full
from popstream.boards.known import find


def netlist(**attributes):
    """A mapped design of two block RAMs and a LUT in its top module, each with these attributes and its own name."""
    cells = {
        name: {"type": kind, "attributes": {key: f"{value}{name}" for key, value in attributes.items()}}
        for name, kind in (("weights", "DP16KD"), ("codes", "DP16KD"), ("carry", "LUT4"))
    }
    other = {"attributes": {"blackbox": "1"}, "cells": {}}
    return {"modules": {"DP16KD": other, "top": {"attributes": {"top": "00000001"}, "cells": cells}}}


def placing(told):
    """In the place of nextpnr: keeps what it was told, and writes what it would."""

    def run(tool, arguments, folder, log, progress=lambda text: None):
        told.append([tool, *arguments])
        if "--write" in arguments:
            (folder / arguments[arguments.index("--write") + 1]).write_text(json.dumps(netlist(NEXTPNR_BEL="X1/Y2/")))

    return run


def test_memories_keep_the_places_that_the_heap_placer_found(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(places, "run", placing(told))
    (tmp_path / "top.json").write_text(json.dumps(netlist(src="line of ")))
    (tmp_path / "seed3").mkdir()
    name = fix_memories("nextpnr-ecp5", tmp_path, tmp_path / "seed3", ["--25k", "--seed", "3"])
    cells = json.loads((tmp_path / name).read_text())["modules"]["top"]["cells"]
    assert cells["codes"]["attributes"] == {"src": "line of codes", "BEL": "X1/Y2/codes"}
    assert cells["weights"]["attributes"]["BEL"] == "X1/Y2/weights"
    assert cells["carry"]["attributes"] == {"src": "line of carry"}
    assert told[0][:6] == ["nextpnr-ecp5", "--25k", "--seed", "3", "--placer", "heap"]
    assert sorted(path.name for path in (tmp_path / "seed3").iterdir()) == ["fixed.json"]


def test_only_a_nearly_full_device_has_its_memories_placed_first(tmp_path, monkeypatch):
    board, told = find("ulx3s-25f"), []
    for module in (places, place):
        monkeypatch.setattr(module, "run", placing(told))
    monkeypatch.setattr(place, "analyse", lambda *given: place.Timing({}, {}))
    monkeypatch.setattr(place, "again", lambda *given: None)
    (tmp_path / "top.json").write_text(json.dumps(netlist()))
    for used, netlists in ((50, ["top.json"]), (51, ["top.json", "seed0/fixed.json"])):
        assert nearly_full({"DP16KD": used}, board.device.capacity["ebr"]) == (used == 51)
        (tmp_path / "stat.json").write_text(json.dumps({"design": {"num_cells_by_type": {"DP16KD": used}}}))
        told.clear()
        place.route(board, tmp_path, 60, 0)
        assert [call[call.index("--json") + 1] for call in told] == netlists
        assert told[-1][told[-1].index("--placer") + 1] == "static"


def test_where_placement_never_ends_memories_are_placed_first(tmp_path, monkeypatch):
    told = []
    usual = placing(told)

    def endless(tool, arguments, folder, log, progress=lambda text: None):
        usual(tool, arguments, folder, log)
        if arguments[arguments.index("--json") + 1] == "top.json" and "--write" not in arguments:
            progress(f"Info: iter={STEPS + 1} steplen=1.0 a=1.0")

    for module in (places, place):
        monkeypatch.setattr(module, "run", endless)
    monkeypatch.setattr(place, "analyse", lambda *given: place.Timing({}, {}))
    monkeypatch.setattr(place, "again", lambda *given: None)
    (tmp_path / "top.json").write_text(json.dumps(netlist()))
    (tmp_path / "stat.json").write_text(json.dumps({"design": {"num_cells_by_type": {"DP16KD": 2}}}))
    place.route(find("ulx3s-45f"), tmp_path, 60, 0)
    assert [call[call.index("--json") + 1] for call in told] == ["top.json", "top.json", "seed0/fixed.json"]
    assert ["--write" in call for call in told] == [False, True, False]


def test_where_routing_stands_still_it_is_tried_without_heed_of_timing(tmp_path, monkeypatch):
    told = []
    usual = placing(told)

    def stuck(tool, arguments, folder, log, progress=lambda text: None):
        usual(tool, arguments, folder, log)
        for step in range(1, STUCK + 3) if hopeless or place.RIPUP in arguments else ():
            progress(f"Info: iter={step} wires=900 overused=900 overuse=900 tmgfail=0 archfail=NA")

    monkeypatch.setattr(place, "run", stuck)
    monkeypatch.setattr(place, "analyse", lambda *given: place.Timing({}, {}))
    monkeypatch.setattr(place, "again", lambda *given: None)
    (tmp_path / "top.json").write_text(json.dumps(netlist()))
    (tmp_path / "stat.json").write_text(json.dumps({"design": {"num_cells_by_type": {"DP16KD": 2}}}))
    hopeless = False
    place.route(find("ulx3s-45f"), tmp_path, 60, 0)
    assert [place.RIPUP in call for call in told] == [True, False]
    told.clear()
    place.route(find("ulx3s-45f"), tmp_path, 60, 1)  # another seed of the same netlist
    assert [place.RIPUP in call for call in told] == [False]
    told.clear()
    (tmp_path / place.SCARCE).unlink()  # as synthesis does
    hopeless = True
    with pytest.raises(NeverRouted, match="stood still: 900 wires used twice in its iteration 1, 900 in 17"):
        place.route(find("ulx3s-45f"), tmp_path, 60, 0)
    assert [place.RIPUP in call for call in told] == [True, False]
