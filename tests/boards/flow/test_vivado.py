"""The Vivado project: complete, with a check of the timing, and an estimate in the device's own units."""

import json
import re

import pytest

from popstream.boards.flow import build as build_module
from popstream.boards.flow import vivado
from popstream.cli import main
from popstream.model import manifest
from tests.boards.tiny import Echo


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The zoo's network by its path, in an empty working folder, with a link that is tiny."""
    path = manifest.find("digits-w1a2").resolve()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vivado, "HostLink", Echo)
    return str(path)


def test_the_project_is_complete_and_the_estimate_is_of_the_device(elsewhere, tmp_path, capsys):
    assert main(["bitstream", elsewhere, "arty-a7-100"]) == 0
    folder = tmp_path / "build" / "digits-w1a2" / "arty-a7-100"
    files = {path.name: path.read_text() for path in (folder / "vivado").iterdir()}
    assert set(files) == {"top.v", "top.xdc", "top.tcl", "build_top.sh"}
    script = files["top.tcl"]
    assert "-part xc7a100ticsg324-1L" in script
    assert "write_bitstream -force -bin_file top.bit" in script
    assert script.index("route_design") < script.index("timing not met") < script.index("write_bitstream")
    named = set(re.findall(r"top\w*\.\w+", script)) - {"top.v", "top.xdc"}
    assert all(name.endswith((".rpt", ".dcp", ".bit", ".bin")) for name in named)  # which Vivado writes itself
    ports = set(re.findall(r"^ *(?:input|output|inout) (?:wire )?(\w+);", files["top.v"], re.MULTILINE))
    pins = dict(re.findall(r'set_property LOC (\w+) \[get_ports "(\w+)"\]', files["top.xdc"]))
    assert set(pins.values()) <= ports
    assert {"E3", "A9", "D10", "H5"} == set(pins)
    for primitive in ("PLLE2_BASE", "BUFG", "IBUF"):
        assert re.search(rf"\b{primitive}\b", files["top.v"]), primitive
    assert ".CLKFBOUT_MULT(32'd12)" in files["top.v"]
    figures = json.loads((folder / "estimate.json").read_text())
    assert (figures["lut_total"], figures["ff_total"], figures["ebr_total"]) == (63_400, 126_800, 270)
    assert 5 < figures["lut"] < 200
    assert 20 < figures["ff"] < 200
    assert figures["target_mhz"] == 60
    assert set(figures["uncounted"]) <= {"BUFG", "CARRY4", "IBUF", "OBUFT", "PLLE2_BASE"}
    assert figures["bitstream"] is None
    assert not (folder / "bitstream.json").exists()
    out = capsys.readouterr().out
    assert "No bitstream was made: there is no open place and route for XC7A100T" in out
    assert "cd build/digits-w1a2/arty-a7-100/vivado && vivado -mode batch -source top.tcl" in out


def test_a_network_that_does_not_fit_leaves_no_project(elsewhere, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(vivado, "run", lambda *given: pytest.fail("it went on"))
    assert main(["bitstream", "resnet20-w1a2", "arty-a7-100", "--interval", "4000"]) == 1
    error = capsys.readouterr().err
    assert "does not fit arty-a7-100 (XC7A100T), estimated: " in error
    assert error.count("\n") == 1
    assert not (tmp_path / "build").exists()


def test_flashing_needs_vivados_bitstream(elsewhere, capsys):
    assert main(["flash", "digits-w1a2", "arty-a7-100"]) == 1
    assert "No bitstream build/digits-w1a2/arty-a7-100/vivado/top.bit, " in capsys.readouterr().err
    assert build_module.BITSTREAM["xilinx"] == "vivado/top.bit"
