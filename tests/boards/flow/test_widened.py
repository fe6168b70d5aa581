"""Small LUTs of a Gowin netlist, called LUT4: proven to be the same function for every content, and simulated."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from popstream.boards.bench.netlist import LINT, models
from popstream.hw.synthesis.mapped import widen_luts
from popstream.hw.synthesis.yosys import find_tool
from popstream.sim.verilator.model import Design, compiled

MODELS = "+/gowin/cells_sim.v"  # yosys' own
WIDTHS = (1, 2, 3)
# Three planes of a popcount, an accumulator that stalls, and a threshold: LUTs of every size, carries, flip-flops.
BLOCK = """
module top(input clk, input [17:0] x, input [7:0] t, input go, output reg [11:0] sum, output reg over);
  integer k;
  reg [4:0] count;
  reg [17:0] held;
  always @* begin count = 0; for (k = 0; k < 18; k = k + 1) count = count + (held[k] ^ ~x[k]); end
  initial begin sum = 0; over = 0; held = 0; end
  always @(posedge clk) begin
    held <= x;
    if (go) sum <= t[7] ? count : sum + {count, t[6]};
    over <= sum > {t, 4'd3};
  end
endmodule
"""
# All netlists get the same numbers, of a shift register, and must give the same in every clock, but the wrong one.
BENCH = """
module bench(input clk, output reg differ, output reg noticed);
  reg [31:0] s = 32'h1234567;
  always @(posedge clk) s <= {s[30:0], s[31] ^ s[21] ^ s[1] ^ s[0]};
  wire [11:0] a, b, e; wire c, d, f;
  mapped one (.clk(clk), .x(s[17:0]), .t(s[25:18]), .go(s[26]), .sum(a), .over(c));
  widened two (.clk(clk), .x(s[17:0]), .t(s[25:18]), .go(s[26]), .sum(b), .over(d));
  wrong three (.clk(clk), .x(s[17:0]), .t(s[25:18]), .go(s[26]), .sum(e), .over(f));
  initial begin differ = 0; noticed = 0; end
  always @(posedge clk) begin
    if ({a, c} != {b, d}) differ <= 1;
    if ({a, c} != {e, f}) noticed <= 1;
  end
endmodule
"""

MAIN = """
#include <cstdio>
#include "Vbench.h"
double sc_time_stamp() { return 0; }
int main() {
  Vbench top;
  for (int cycle = 0; cycle < 100000; ++cycle) { top.clk = 0; top.eval(); top.clk = 1; top.eval(); }
  std::printf("differ %d, noticed %d", top.differ, top.noticed);
  top.final();
}
"""
ROOT = Path("build/tests")


def yosys(script: str, folder: Path) -> str:
    """What yosys says of a script, its status last."""
    log = folder / "yosys.log"
    done = subprocess.run(
        [find_tool("yosys"), "-q", "-l", log.name, "-p", script], cwd=folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return f"{log.read_text()}\nstatus {done.returncode}"


@pytest.fixture(scope="module")
def luts(tmp_path_factory):
    """A folder with before.json, one LUT of every size and content, and after.json, all of them called LUT4."""
    folder = tmp_path_factory.mktemp("luts")
    lines, place = [], 0
    for width in WIDTHS:
        for init in range(2**2**width):
            pins = "".join(f".I{pin}(i[{pin}]), " for pin in range(width))
            lines.append(f"LUT{width} #(.INIT({2**width}'d{init})) l{place} ({pins}.F(o[{place}]));")
            place += 1
    assert place == 4 + 16 + 256
    text = f"module top(input [2:0] i, output [{place - 1}:0] o);\n" + "\n".join(lines) + "\nendmodule\n"
    (folder / "luts.v").write_text(text)
    assert "status 0" in yosys("read_verilog luts.v; write_json before.json", folder)
    shutil.copy(folder / "before.json", folder / "after.json")
    assert widen_luts(folder / "after.json") == place
    return folder


def compared(folder: Path, after: str) -> str:
    """A proof that before.json and `after` give the same for every input."""
    read = "read_json {0}; delete =A:blackbox; rename top {1}; read_verilog {2}; hierarchy -top {1}; proc; flatten; "
    read += "setundef -undriven -anyconst; "  # an open input may be anything
    return yosys(
        "".join(
            f"{read.format(file, name, MODELS)} design -stash {name}; "
            for file, name in (("before.json", "gold"), (after, "gate"))
        )
        + "design -copy-from gold gold; design -copy-from gate gate; miter -equiv -flatten gold gate miter; "
        "hierarchy -top miter; sat -verify -prove trigger 0 miter",
        folder,
    )


def test_every_content_of_every_small_lut_stays_the_same(luts):
    said = compared(luts, "after.json")
    assert said.endswith("status 0"), said
    assert "SAT proof finished - no model found: SUCCESS!" in said


def test_one_wrong_bit_is_found(luts):
    netlist = json.loads((luts / "after.json").read_text())
    parameters = netlist["modules"]["top"]["cells"]["l200"]["parameters"]
    parameters["INIT"] = parameters["INIT"][:-1] + "10"[int(parameters["INIT"][-1])]
    (luts / "wrong.json").write_text(json.dumps(netlist))
    assert "model found: FAIL!" in compared(luts, "wrong.json")


def test_a_whole_netlist_computes_the_same(tmp_path):
    """By Verilator, with yosys' models of the cells, beside one with a wrong LUT."""
    (tmp_path / "block.v").write_text(BLOCK)
    said = yosys(
        "read_verilog block.v; synth_gowin -family gw1n -nowidelut -noiopads -top top; write_json mapped.json; stat",
        tmp_path,
    )
    assert "status 0" in said
    assert all(f"LUT{width}" in said for width in WIDTHS)
    shutil.copy(tmp_path / "mapped.json", tmp_path / "widened.json")
    assert widen_luts(tmp_path / "widened.json") > 10
    netlist = json.loads((tmp_path / "widened.json").read_text())
    cells = netlist["modules"]["top"]["cells"]
    wrong = next(cell for cell in cells.values() if cell["type"] == "LUT4" and len(set(cell["parameters"]["INIT"])) > 1)
    wrong["parameters"]["INIT"] = "".join("10"[int(bit)] for bit in wrong["parameters"]["INIT"])
    (tmp_path / "wrong.json").write_text(json.dumps(netlist))
    names = ("mapped", "widened", "wrong")
    read = "read_json {0}.json; delete =A:blackbox; rename top {0}; write_verilog -noattr {0}.v; design -reset; "
    assert "status 0" in yosys("".join(map(read.format, names)), tmp_path)
    text = "".join((tmp_path / f"{name}.v").read_text() for name in names)
    sources = {"top.v": LINT + models("gowin") + text, "bench.sv": BENCH, "main.cpp": MAIN}
    program = compiled(Design("Vbench", "bench", sources), ROOT, 0) / "Vbench"
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert said == "differ 0, noticed 1"
