"""Resources: cells to a device's units, and one small real synthesis."""

import json

import pytest

from popstream.cli import main
from popstream.hw.synthesis import resources
from popstream.hw.synthesis.yosys import ECP5_85, FAMILIES, ICE40_UP5K, SynthesisError, count, synthesise
from popstream.model.manifest import find


def test_cells_are_counted_in_the_devices_units():
    cells = {"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "TRELLIS_FF": 7, "DP16KD": 1, "MULT18X18D": 4, "PFUMX": 9}
    assert count(ECP5_85, cells) == {"lut": 28, "ff": 7, "ebr": 1, "dsp": 4}
    cells = {"SB_LUT4": 5, "SB_DFF": 1, "SB_DFFESR": 2, "SB_RAM40_4K": 3, "SB_MAC16": 1, "SB_CARRY": 8}
    assert count(ICE40_UP5K, cells) == {"lut": 5, "ff": 3, "ebr": 3, "dsp": 1}


VERILOG = """
module top(input clk, input [15:0] a, b, output reg [31:0] p);
  always @(posedge clk) p <= a * b;
endmodule
"""


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_product_takes_one_multiplier(tmp_path, monkeypatch, family):
    monkeypatch.chdir(tmp_path)  # the WebAssembly yosys sees the working folder
    (tmp_path / "top.v").write_text(VERILOG)
    cells = synthesise(tmp_path / "top.v", FAMILIES[family], tmp_path / "out")
    assert count(FAMILIES[family], cells)["dsp"] == 1
    assert (tmp_path / "out" / "synth.json").exists()


def test_a_failure_names_the_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "top.v").write_text("module top; syntax error")
    with pytest.raises(SynthesisError, match=r"yosys failed with status \d+; the reason ends .*synth\.log"):
        synthesise(tmp_path / "top.v", ECP5_85, tmp_path / "out")
    assert "syntax error" in (tmp_path / "out" / "synth.log").read_text()


def test_the_digits_network_fits_an_up5k(tmp_path, monkeypatch):
    network = find("digits-w1a2").resolve()
    monkeypatch.chdir(tmp_path)
    assert main(["resources", str(network), "--family", "ice40"]) == 0
    figures = json.loads((tmp_path / "build" / "digits-w1a2" / "resources.json").read_text())["ice40"]
    assert figures["fits"]
    assert 0 < figures["lut"] <= 5280
    assert 0 < figures["ebr"] <= 30
    assert figures["dsp"] <= 8


def test_one_that_does_not_fit_says_so(tmp_path, monkeypatch, capsys):
    network = find("digits-w1a2").resolve()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "synthesise", lambda *arguments: {"SB_LUT4": 6000})
    assert main(["resources", str(network), "--family", "ice40"]) == 1
    assert "does not fit iCE40 UP5K; raise --interval" in capsys.readouterr().err


def test_an_unknown_network_is_one_line(capsys):
    assert main(["resources", "no-such-net"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
