# amaranth: UnusedElaboratable=no
"""The compute unit out of context: its harness, and carry chains without needless ends."""

import json

import pytest
from amaranth.hdl import Fragment

from hw import unit
from hw.netlist import trim_carries
from hw.resources import SynthesisError
from hw.unit import BLOCKS, UNITS, Harness, main


def carry(init, cin, s0, cout, d0="1"):
    ports = {"A0": [2], "B0": ["1"], "C0": ["1"], "D0": [d0], "CIN": [cin], "S0": [s0], "COUT": [cout]}
    directions = {port: "output" if port in ("S0", "COUT") else "input" for port in ports}
    parameters = {"INIT0": f"{init:016b}"}
    return {"type": "CCU2C", "parameters": parameters, "port_directions": directions, "connections": ports}


@pytest.mark.parametrize(
    ("init", "d0", "read", "trimmed"),
    [
        (0x000A, "1", False, True),  # the bit on both sides
        (0x000A, "1", True, False),  # its sum is read
        (0x600A, "1", False, False),  # adds: needs its carry
        (0x00CA, 3, False, False),  # adds where D is 0
    ],
)
def test_ends_of_carry_chains(init, d0, read, trimmed, tmp_path):
    cells = {"first": carry(init, "0", 10, 11, d0), "last": carry(0x600A, 11, 12, 13)}
    module = {"cells": cells, "ports": {"o": {"direction": "output", "bits": [12, 10] if read else [12]}}}
    path = tmp_path / "synth.json"
    path.write_text(json.dumps({"modules": {"top": module}}))
    assert trim_carries(path) == 1 + trimmed
    after = json.loads(path.read_text())["modules"]["top"]["cells"]
    assert after["first"]["connections"]["CIN"] == ["x" if trimmed else "0"]
    assert after["first"]["connections"]["COUT"] == after["last"]["connections"]["CIN"] == [11]
    assert after["last"]["connections"]["COUT"] == ["x"]


@pytest.mark.parametrize("name", UNITS)
def test_units_have_the_lanes_of_their_names(name):
    assert UNITS[name].bits == {"144x20": 2880}.get(name, 768)


def test_a_unit_in_its_harness():
    harness = Harness(UNITS["conv16"].build())
    Fragment.get(harness, None)
    assert (harness.unit.cycles, harness.unit.planes, harness.unit.beats) == (6, 2, 2)
    assert harness.flip_flops == 288 + 4 * harness.unit.acc_shape.width + 4


def test_table_and_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    figures = dict.fromkeys(("comb", "ff", "ebr", "lanes", "simd", "pe", "planes"), 768)
    figures |= {"comb_per_lane": 1.5, "ff_per_lane": 2.5, "mhz": 150.0, "storage": "block"}
    monkeypatch.setattr(unit, "route", lambda name, *_: figures | {"unit": name})
    assert main(["conv16", "conv64"]) == 0
    assert [row["unit"] for row in json.loads((tmp_path / "build" / "unit.json").read_text())] == ["conv16", "conv64"]
    printed = capsys.readouterr().out
    assert all(source.split(",")[0].split()[0] in printed for source, *_ in BLOCKS)


def test_a_unit_that_fails_is_named_and_the_others_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def fail(name, *_):
        raise SynthesisError(f"{name}: not routed")

    monkeypatch.setattr(unit, "route", fail)
    assert main(["conv16", "conv64"]) == 1
    assert capsys.readouterr().err == "error: conv16: not routed\nerror: conv64: not routed\n"
    assert json.loads((tmp_path / "build" / "unit.json").read_text()) == []


def test_an_unknown_unit_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["conv128"])
    assert "there is no unit conv128; choose of 144x20" in capsys.readouterr().err
