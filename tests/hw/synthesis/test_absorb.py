"""Registers that a block RAM of an ECP5 takes in, and registers of a constant that were shared: simulated beside the
netlist as it was and the source, by Verilator, with yosys' models of the cells and one of the block RAM here."""

import json
import shutil
import subprocess
from itertools import accumulate
from pathlib import Path

import pytest

from popstream.boards.bench.netlist import LINT
from popstream.hw.synthesis.mapped import absorb_registers, split_constants
from popstream.sim.verilator.model import Design, compiled
from tests.boards.flow.test_widened import yosys

# Memories read as the blocks do it: with enables of their own for both registers, on two ports, from a table. Not to be
# taken in are a register with a reset, one that is 1 at first, and one of two readers.
BLOCK = """
module top(input clk, input go, input give, input we, input [6:0] at, input [6:0] to, input [39:0] x,
           output [39:0] a, output [17:0] b, output [17:0] c, output [8:0] d, output [8:0] e, output [8:0] f,
           output [8:0] g, output [3:0] h, output p, output q);
  (* ram_style = "block", no_rw_check *) reg [39:0] wide [0:127];
  (* ram_style = "block", no_rw_check *) reg [17:0] table2 [0:255];
  (* ram_style = "block", no_rw_check *) reg [8:0] reset [0:127];
  (* ram_style = "block", no_rw_check *) reg [8:0] set [0:127];
  (* ram_style = "block", no_rw_check *) reg [8:0] shared [0:127];
  (* ram_style = "block", no_rw_check *) reg [3:0] narrow [0:2047];
  integer k;
  initial for (k = 0; k < 256; k = k + 1) table2[k] = 18'h2a3b5 * k;
  reg [39:0] wide_read = 0, wide_given = 0;
  reg [17:0] one = 0, two = 0, one_given = 0, two_given = 0;
  reg [8:0] reset_read = 0, reset_given = 0, set_read = 0, set_given = 9'h1ff, shared_read = 0, shared_given = 0;
  reg [3:0] narrow_read = 0, narrow_given = 0;
  reg first = 0, second = 0, now = 0, then = 0;
  always @(posedge clk) begin
    if (we) begin
      wide[to] <= x; reset[to] <= x[8:0]; set[to] <= x[17:9]; shared[to] <= x[26:18]; narrow[{x[3:0], to}] <= x[39:36];
    end
    if (go) begin
      wide_read <= wide[at]; one <= table2[{1'b0, at}]; two <= table2[{1'b1, to}]; reset_read <= reset[at];
      set_read <= set[at]; shared_read <= shared[at]; narrow_read <= narrow[{x[3:0], at}];
    end
    if (give) begin
      wide_given <= wide_read; one_given <= one; two_given <= two; set_given <= set_read; shared_given <= shared_read;
    end
    if (x[5]) reset_given <= 0; else if (give) reset_given <= reset_read;
    narrow_given <= narrow_read;
    first <= 1; second <= 1; now <= first & x[7]; then <= second ^ x[8];
  end
  assign a = wide_given, b = one_given, c = two_given, d = reset_given, e = set_given, f = shared_given;
  assign g = shared_read, h = narrow_given, p = now, q = then;
endmodule
"""
# A block RAM as Lattice's memory usage guide describes it (FPGA-TN-02204): 2048 words of 9 bits, of which a word of 36
# bits, written on port A and read on port B, takes four; behind each port's data a register of its own if REGMODE says.
SIDES = [f"{bus}{side}{bit}" for bus, bits in (("DI", 18), ("AD", 14)) for side in "AB" for bit in range(bits)]
RAM = f"""
module DP16KD(input CLKA, CLKB, CEA, CEB, OCEA, OCEB, WEA, WEB, RSTA, RSTB, CSA0, CSA1, CSA2, CSB0, CSB1, CSB2,
  input {", ".join(SIDES)}, output {", ".join(f"DO{side}{bit}" for side in "AB" for bit in range(18))});
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18, REGMODE_A = "NOREG", REGMODE_B = "NOREG", RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC", CSDECODE_A = "0b000", CSDECODE_B = "0b000", CLKAMUX = "", CLKBMUX = "";
  parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL", GSR = "";
  parameter [319:0] {", ".join(f"INITVAL_{row:02X} = 0" for row in range(64))};
  localparam [20479:0] INIT = {{{", ".join(f"INITVAL_{row:02X}" for row in reversed(range(64)))}}};
  reg [8:0] words [0:2047];
  integer k;
  initial for (k = 0; k < 2048; k = k + 1) words[k] = INIT[k / 2 * 20 + k % 2 * 9 +: 9];
  wire [13:0] ada = {{{", ".join(f"ADA{bit}" for bit in reversed(range(14)))}}};
  wire [13:0] adb = {{{", ".join(f"ADB{bit}" for bit in reversed(range(14)))}}};
  wire [17:0] dia = {{{", ".join(f"DIA{bit}" for bit in reversed(range(18)))}}};
  wire [17:0] dib = {{{", ".join(f"DIB{bit}" for bit in reversed(range(18)))}}};
  function [35:0] found(input [13:0] at, input integer width);
    case (width)
      36: found = {{words[{{at[13:5], 2'd3}}], words[{{at[13:5], 2'd2}}],
                   words[{{at[13:5], 2'd1}}], words[{{at[13:5], 2'd0}}]}};
      18: found = {{18'd0, words[{{at[13:4], 1'd1}}], words[{{at[13:4], 1'd0}}]}};
      9: found = {{27'd0, words[at[13:3]]}};
      4: found = {{32'd0, words[at[13:3]][4 * at[2] +: 4]}};
      2: found = {{34'd0, words[at[13:3]][2 * at[2:1] +: 2]}};
      default: found = {{35'd0, words[at[13:3]][at[2:0]]}};
    endcase
  endfunction
  reg [35:0] read_a = 0, read_b = 0, given_a = 0, given_b = 0;
  always @(posedge CLKA) begin
    if (OCEA) given_a <= read_a;
    if (CEA & ~WEA) read_a <= found(ada, DATA_WIDTH_A);
    if (CEA & WEA) case (DATA_WIDTH_A)
      36: begin
        if (ada[0]) words[{{ada[13:5], 2'd0}}] <= dia[8:0];
        if (ada[1]) words[{{ada[13:5], 2'd1}}] <= dia[17:9];
        if (ada[2]) words[{{ada[13:5], 2'd2}}] <= dib[8:0];
        if (ada[3]) words[{{ada[13:5], 2'd3}}] <= dib[17:9];
      end
      18: begin
        if (ada[0]) words[{{ada[13:4], 1'd0}}] <= dia[8:0];
        if (ada[1]) words[{{ada[13:4], 1'd1}}] <= dia[17:9];
      end
      9: words[ada[13:3]] <= dia[8:0];
      4: words[ada[13:3]][4 * ada[2] +: 4] <= dia[3:0];
      2: words[ada[13:3]][2 * ada[2:1] +: 2] <= dia[1:0];
      default: words[ada[13:3]][ada[2:0]] <= dia[0];
    endcase
  end
  always @(posedge CLKB) begin
    if (OCEB) given_b <= read_b;
    if (CEB & ~WEB) read_b <= found(adb, DATA_WIDTH_B);
  end
  wire [35:0] a = REGMODE_A == "OUTREG" ? given_a : read_a, b = REGMODE_B == "OUTREG" ? given_b : read_b;
  wire wide = DATA_WIDTH_A == 36, narrower = DATA_WIDTH_B != 36;
  assign {{{", ".join(f"DOA{bit}" for bit in reversed(range(18)))}}} = wide ? b[17:0] : a[17:0];
  assign {{{", ".join(f"DOB{bit}" for bit in reversed(range(18)))}}} = wide & ~narrower ? b[35:18] : b[17:0];
endmodule
"""
PORTS = {"a": 40, "b": 18, "c": 18, "d": 9, "e": 9, "f": 9, "g": 9, "h": 4, "p": 1, "q": 1}
BITS = sum(PORTS.values())
FIRST = dict(zip(PORTS, accumulate(PORTS.values(), initial=0), strict=False))  # bit of each port among all of them
ROOT = Path("build/tests")
NAMES = ("source", "mapped", "absorbed", "wrong")
BENCH = f"""
module bench(input clk, output reg [2:0] differ);
  reg [63:0] s = 64'h123456789abcdef1;
  always @(posedge clk) s <= {{s[50:0], s[63:51] ^ s[62:50] ^ s[60:48] ^ s[59:47]}};
  wire [{BITS - 1}:0] {", ".join(NAMES)};
  {
    "".join(
        f'''
  {name}_top {name}_block(.clk(clk), .go(s[0]), .give(s[1]), .we(s[2]), .at(s[9:3]), .to(s[9:3] ^ 7'd85), .x(s[55:16]),
    {", ".join(f".{port}({name}[{FIRST[port]} +: {bits}])" for port, bits in PORTS.items())});
  '''
        for name in NAMES
    )
}
  initial differ = 0;
  always @(posedge clk) differ <= differ | {{source != wrong, source != absorbed, source != mapped}};
endmodule
"""
MAIN = """
#include <cstdio>
#include "Vbench.h"
double sc_time_stamp() { return 0; }
int main() {
  Vbench top;
  for (int cycle = 0; cycle < 50000; ++cycle) { top.clk = 0; top.eval(); top.clk = 1; top.eval(); }
  std::printf("mapped %d, absorbed %d, wrong %d", top.differ & 1, top.differ >> 1 & 1, top.differ >> 2 & 1);
  top.final();
}
"""


def done(script, folder):
    said = yosys(script, folder)
    assert said.endswith("status 0"), said[-2000:]


@pytest.fixture(scope="module")
def netlists(tmp_path_factory):
    """A folder with the mapped netlist, the one made ready, and one whose block RAMs' enables are left away."""
    folder = tmp_path_factory.mktemp("absorb")
    (folder / "block.v").write_text(BLOCK)
    done("read_verilog block.v; synth_ecp5 -nowidelut -top top; write_json mapped.json", folder)
    shutil.copy(folder / "mapped.json", folder / "absorbed.json")
    return folder


def cells(path):
    return json.loads(path.read_text())["modules"]["top"]["cells"]


def flip_flops(path):
    return sum(cell["type"] == "TRELLIS_FF" for cell in cells(path).values())


def test_only_registers_like_the_rams_own_are_taken_in(netlists):
    path = netlists / "absorbed.json"
    before = flip_flops(path)
    assert absorb_registers(path) == 40 + 2 * 18 + 4
    assert flip_flops(path) == before - 80
    modes = {
        name.split(".")[0]: {side: cell["parameters"][f"REGMODE_{side}"] for side in "AB"}
        for name, cell in cells(path).items()
        if cell["type"] == "DP16KD"
    }
    assert modes["wide"] == modes["table2"] == {"A": "OUTREG", "B": "OUTREG"}
    assert all(modes[name]["B"] == "NOREG" for name in ("reset", "set", "shared"))
    assert absorb_registers(path) == 0  # nothing is left to take in


def test_a_register_of_a_constant_is_each_readers_own(netlists):
    path = netlists / "absorbed.json"
    before = flip_flops(path)
    assert split_constants(path) == 1
    assert flip_flops(path) == before + 1
    assert split_constants(path) == 0


def test_all_compute_the_same(netlists):
    """Beside them one whose block RAMs give in every cycle, which must not go unnoticed."""
    netlist = json.loads((netlists / "absorbed.json").read_text())
    for cell in netlist["modules"]["top"]["cells"].values():
        if cell["type"] == "DP16KD":
            cell["connections"] |= {"OCEA": ["1"], "OCEB": ["1"]}
    (netlists / "wrong.json").write_text(json.dumps(netlist))
    read = "read_json {0}.json; delete =A:blackbox; rename top {0}_top; read_verilog -overwrite +/ecp5/cells_sim.v; "
    read += "hierarchy -top {0}_top; proc; flatten; write_verilog -noattr {0}.v; design -reset; "
    done("".join(map(read.format, NAMES[1:])), netlists)
    text = "".join((netlists / f"{name}.v").read_text() for name in NAMES[1:])
    text += BLOCK.replace("module top(", "module source_top(")
    sources = {"top.v": LINT + text + RAM, "bench.sv": BENCH, "main.cpp": MAIN}
    program = compiled(Design("Vbench", "bench", sources), ROOT, 0) / "Vbench"
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert said == "mapped 0, absorbed 0, wrong 1"
