"""Many multipliers are dealt anew to their sites after a first placement, those of a tree side by side."""

import json
import random

import pytest

from popstream.boards.flow import multipliers, place, places
from popstream.boards.flow.ends import NeverRouted
from popstream.boards.flow.multipliers import MANY, deal, deal_multipliers, many
from popstream.boards.known import find

SITES = [f"X{4 * x}/Y{y}/MULT18_0" for y in (10, 34) for x in range(8)]


def placed(seed=0):
    """Two units of eight multipliers scattered over two rows; a product goes by a flip-flop to an adder of its unit,
    which lies at one of the rows."""
    cells, sites = {}, random.Random(seed).sample(SITES, len(SITES))
    for unit, y in (("a.pe0", 10), ("a.pe1", 34)):
        for index in range(8):
            product, kept, total = (len(cells) + bit for bit in range(1000, 1003))
            name = f"{unit}.multiplier{index}.dsp"
            cells[name] = cell("MULT18X18D", sites.pop(), {"P0": [product]}, {"A0": ["0"], "CLK0": [1]})
            cells[f"{unit}.kept{index}"] = cell("TRELLIS_FF", "X60/Y60/FF0", {"Q": [kept]}, {"DI": [product]})
            cells[f"{unit}.tree.{index}"] = cell("TRELLIS_COMB", f"X16/Y{y}/COMB0", {"F": [total]}, {"A": [kept]})
    return cells


def cell(kind, bel, outputs, inputs):
    directions = dict.fromkeys(outputs, "output") | dict.fromkeys(inputs, "input")
    return {
        "type": kind, "attributes": {"NEXTPNR_BEL": bel}, "port_directions": directions,
        "connections": {**outputs, **inputs},
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_has_its_multipliers_side_by_side_and_in_order(seed):
    dealt = deal(placed(seed))
    assert sorted(dealt.values()) == sorted(SITES)
    for unit, y in (("a.pe0", 10), ("a.pe1", 34)):
        assert [dealt[f"{unit}.multiplier{index}.dsp"] for index in range(8)] == [
            f"X{4 * x}/Y{y}/MULT18_0" for x in range(8)
        ]


def test_few_multipliers_go_to_what_they_are_wired_to():
    """Not by their numbers: each block is on its own."""
    cells = {}
    for index, x in enumerate((0, 8, 16)):
        cells[f"b{index}.m.dsp"] = cell("MULT18X18D", f"X{16 - x}/Y10/MULT18_0", {"P0": [index]}, {})
        cells[f"b{index}.add"] = cell("TRELLIS_COMB", f"X{x}/Y12/COMB0", {"F": [50 + index]}, {"A": [index]})
    assert deal(cells) == {f"b{index}.m.dsp": f"X{x}/Y10/MULT18_0" for index, x in enumerate((0, 8, 16))}


def test_the_netlist_gets_their_places_and_no_others(tmp_path, monkeypatch):
    told = []

    def run(tool, arguments, folder, log, progress=lambda text: None):
        told.append([tool, *arguments])
        design = {"modules": {"top": {"cells": placed()}}}
        (folder / arguments[arguments.index("--write") + 1]).write_text(json.dumps(design))

    monkeypatch.setattr(places, "run", run)
    cells = {name: {"type": each["type"], "attributes": {}} for name, each in placed().items()}
    (tmp_path / "top.json").write_text(json.dumps({"modules": {"top": {"cells": cells}}}))
    (tmp_path / "seed3").mkdir()
    name = deal_multipliers("nextpnr-ecp5", tmp_path, tmp_path / "seed3", "top.json", ["--85k", "--placer", "static"])
    got = json.loads((tmp_path / name).read_text())["modules"]["top"]["cells"]
    assert {cell: content["attributes"].get("BEL") for cell, content in got.items()} == {
        cell: deal(placed()).get(cell) for cell in cells
    }
    assert "--no-route" in told[0]
    assert sorted(path.name for path in (tmp_path / "seed3").iterdir()) == ["dealt.json"]


@pytest.fixture
def netlists(tmp_path, monkeypatch):
    """route(used, stuck): the netlists that nextpnr was given, "first" for multipliers dealt, of a design with `used`
    multipliers that is routed at once, or `stuck` with heed of timing."""
    told = []

    def route(used, stuck=False):
        def run(tool, arguments, folder, log, progress=lambda text: None):
            told.append(arguments[arguments.index("--json") + 1])
            if stuck and place.RIPUP in arguments:
                raise NeverRouted("stood still")

        monkeypatch.setattr(place, "run", run)
        (tmp_path / "stat.json").write_text(json.dumps({"design": {"num_cells_by_type": {"MULT18X18D": used}}}))
        place.route(find("ulx3s-85f"), tmp_path, 60, 0)
        return told

    monkeypatch.setattr(multipliers, "deal_multipliers", lambda *given: told.append("first") or "seed0/dealt.json")
    monkeypatch.setattr(place, "analyse", lambda *given: place.Timing({}, {}))
    monkeypatch.setattr(place, "again", lambda *given: None)
    return route


def test_where_routing_stands_still_the_places_are_kept(netlists):
    """The second run, without heed of timing, starts from the multipliers as they were dealt."""
    assert netlists(MANY, stuck=True) == ["first", "seed0/dealt.json", "seed0/dealt.json"]


@pytest.mark.parametrize("used", [MANY - 1, MANY])
def test_only_many_are_worth_a_second_placement(netlists, used):
    assert netlists(used) == (["first", "seed0/dealt.json"] if used == MANY else ["top.json"])
    assert many({"MULT18X18D": used}) == (used == MANY)
