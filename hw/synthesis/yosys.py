"""Synthesis by yosys: a design mapped to a device's cells, counted in the device's own units.

Yosys is the native one on the PATH, else the WebAssembly build from PyPI. Counts are logic as LUT4 equivalents of the
slices taken, flip-flops, block RAMs, multipliers.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from popstream.hw.cost.prices import DEVICE
from popstream.model.commands import installs
from popstream.model.files import full_disk
from popstream.model.machine import ending_with_us

__all__ = ["ECP5_85", "FAMILIES", "ICE40_UP5K", "Device", "SynthesisError", "count", "find_tool", "synthesise"]


class SynthesisError(RuntimeError):
    """Yosys is missing or failed; the message names the log."""


@dataclass(frozen=True)
class Device:
    """A part: its synthesis command, its capacities, and which cell takes how much of each.

    cells maps a cell type (or its beginning, where it ends in *) to (resource, how many).
    """

    name: str
    synthesis: str
    capacity: Mapping[str, int]
    cells: Mapping[str, tuple[str, int]]


ECP5_85 = Device(
    "LFE5U-85F",
    "synth_ecp5 -nowidelut",
    DEVICE,
    {
        "LUT4": ("lut", 1),
        "CCU2C": ("lut", 2),  # two positions of a slice
        "TRELLIS_DPR16X4": ("lut", 6),  # four hold the bits, two are the write port
        "TRELLIS_FF": ("ff", 1),
        "DP16KD": ("ebr", 1),
        "PDPW16KD": ("ebr", 1),
        "MULT18X18D": ("dsp", 1),
    },
)
ICE40_UP5K = Device(
    "iCE40 UP5K",
    "synth_ice40 -dsp -device u",
    {"lut": 5_280, "ff": 5_280, "ebr": 30, "dsp": 8},
    {"SB_LUT4": ("lut", 1), "SB_DFF*": ("ff", 1), "SB_RAM40_4K*": ("ebr", 1), "SB_MAC16": ("dsp", 1)},
)
FAMILIES = {"ecp5": ECP5_85, "ice40": ICE40_UP5K}


def count(device: Device, cells: Mapping[str, int]) -> dict[str, int]:
    """Resources of mapped `cells` {type: number}; other cells (constants, carries, wide multiplexers) are free."""
    used = dict.fromkeys(device.capacity, 0)
    for pattern, (resource, weight) in device.cells.items():
        for cell, number in cells.items():
            if cell == pattern or (pattern.endswith("*") and cell.startswith(pattern[:-1])):
                used[resource] += weight * number
    return used


def find_tool(tool: str) -> str:
    """The native `tool` on the PATH, else yowasp-<tool> there or beside this Python; SynthesisError if none."""
    beside = Path(sys.executable).parent / f"yowasp-{tool}"
    found = shutil.which(tool) or shutil.which(f"yowasp-{tool}") or (str(beside) if beside.exists() else None)
    if found is None:
        raise SynthesisError(
            f"No {tool} or yowasp-{tool} on the PATH; {installs('resources', 'build')} brings the latter"
        )
    return found


def synthesise(design: Path, device: Device, folder: Path) -> dict[str, int]:
    """Cells of `design`, Verilog or RTLIL (top module `top`), mapped to the device.

    Writes `folder`/synth.json and synth.log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, statistics = folder / "synth.log", folder / "stat.json"
    statistics.unlink(missing_ok=True)
    if design.parent.resolve() != folder.resolve():
        shutil.copyfile(design, folder / design.name)
    # ABC9 fails on wires such as `payload[0]` beside the bits of `payload`, so names are hidden first.
    language = "rtlil" if design.suffix == ".il" else "verilog"
    script = (
        f"read_{language} {design.name}; rename -hide */w:*; {device.synthesis} -top top; write_json synth.json; "
        f"tee -q -o {statistics.name} stat -json"
    )
    # The WebAssembly build sees its working folder for certain, and stops at ABC9 where its output is a pipe or a
    # file: so it runs in `folder`, and the log is its own.
    command = ending_with_us([find_tool("yosys"), "-q", "-l", log.name, "-p", script])
    quiet = subprocess.DEVNULL
    status = subprocess.run(command, cwd=folder, stdout=quiet, stderr=quiet, check=False)
    if full := full_disk(folder):
        raise SynthesisError(f"yosys ended on {full}")
    if status.returncode or not statistics.exists():
        raise SynthesisError(f"yosys failed with status {status.returncode}; the reason ends {log}")
    counts = json.loads(statistics.read_text())["design"]["num_cells_by_type"]
    return {name: number for name, number in counts.items() if not name.startswith("$")}
