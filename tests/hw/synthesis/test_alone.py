# amaranth: UnusedElaboratable=no
"""The compute unit out of context: its harness, and carry chains without needless ends."""

import json

import pytest
from amaranth.hdl import Fragment

from popstream.cli import main
from popstream.hw.synthesis import alone as unit
from popstream.hw.synthesis.alone import BLOCKS, UNITS, Harness
from popstream.hw.synthesis.mapped import trim_carries
from popstream.hw.synthesis.yosys import SynthesisError


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


@pytest.fixture
def routed(tmp_path, monkeypatch):
    """Seeds as `make unit` routes them: no tools run, each seed's clock is 100 + 10 * (seed % 4) MHz."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(unit, "synthesise", lambda *_: None)
    monkeypatch.setattr(unit, "trim_carries", lambda _: 0)
    seeds = []

    def route(name, folder, seed, mhz):
        seeds.append(seed)
        used = {cell: {"used": 1000 * seed} for cell in unit.ROUTED.values()}
        return {"fmax": {"clk": {"achieved": 100.0 + 10 * (seed % 4)}}, "utilization": used}

    monkeypatch.setattr(unit, "route", route)
    return seeds


def test_the_fastest_seed_is_kept_and_every_clock_told(routed, tmp_path, capsys):
    assert main(["unit", "conv16", "conv64", "--seed", "2", "--seeds", "3"]) == 0
    assert routed == [2, 3, 4] * 2
    rows = json.loads((tmp_path / "build" / "unit.json").read_text())
    assert [row["unit"] for row in rows] == ["conv16", "conv64"]
    for row in rows:
        assert (row["mhz"], row["seed"], row["comb"]) == (130.0, 3, 3000)
        assert row["ff"] == 3000 - row["harness_ff"]
        assert row["mhz_by_seed"] == {"2": 120.0, "3": 130.0, "4": 100.0}
        assert row["comb_per_lane"] == round(3000 / row["lanes"], 3)
    printed = capsys.readouterr().out
    assert all(source.split(",")[0].split()[0] in printed for source, *_ in BLOCKS)
    assert "120 130 100" in printed


@pytest.mark.parametrize(("given", "aimed"), [([], [160.0, 130.0]), (["--freq", "90"], [90.0, 90.0])])
def test_a_unit_aims_at_its_own_clock_unless_told(routed, tmp_path, given, aimed):
    assert main(["unit", "conv16", "conv16-logic", "--seeds", "1", *given]) == 0
    assert [row["mhz_aimed"] for row in json.loads((tmp_path / "build" / "unit.json").read_text())] == aimed


@pytest.mark.parametrize(
    ("given", "said"),
    [(["--seeds", "0"], "--seeds must be at least 1, not 0"), (["--seed", "-1"], "at least 0, not -1")],
)
def test_seeds_that_there_are_not(given, said, capsys):
    assert main(["unit", "conv16", *given]) == 2
    assert said in capsys.readouterr().err


def test_a_unit_that_fails_is_named_and_the_others_are_kept(routed, tmp_path, monkeypatch, capsys):
    def fail(name, *_):
        raise SynthesisError(f"{name}: not routed")

    monkeypatch.setattr(unit, "route", fail)
    assert main(["unit", "conv16", "conv64"]) == 1
    assert capsys.readouterr().err == "error: conv16: not routed; conv64: not routed\n"
    assert json.loads((tmp_path / "build" / "unit.json").read_text()) == []


def test_an_unknown_unit_is_named(capsys):
    assert main(["unit", "conv128"]) == 2
    assert "there is no unit conv128; choose of 144x20" in capsys.readouterr().err
