"""Synthesis, place and route, and packing of a board's top; every figure is read from what the tools report."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boards.board import Board
from boards.toolchain import ToolError, run
from boards.top import Top
from hw.resources import count

__all__ = ["BITSTREAM", "Routed", "filled", "pack", "route", "synthesise", "write_design"]

Progress = Callable[[str], None]
BITSTREAM = {"ecp5": "top.bit", "ice40": "top.bin"}
CONSTRAINTS = {"ecp5": "top.lpf", "ice40": "top.pcf"}
TEXT = {"ecp5": "top.config", "ice40": "top.asc"}
PLACED = {
    "ecp5": {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "ebr": "DP16KD", "dsp": "MULT18X18D"},
    "ice40": {"lut": "ICESTORM_LC", "ebr": "ICESTORM_RAM", "dsp": "ICESTORM_DSP"},  # an LC holds a LUT and a flip-flop
}
ICE40_DELAY_PS = 20_000  # of LUTs alone, between two flip-flops
ROUTER = {"ecp5": "router2", "ice40": "router1"}  # router2 may turn for ever on the last nets of a full iCE40
ICE40_DENSITY = 0.99  # a device nearly full: aiming at less than that, the placer does not come to an end
ROUNDING = 0.002  # nextpnr rounds a clock's period to picoseconds, a PLL's to a few


@dataclass(frozen=True)
class Routed:
    """One run of place and route: the clock reached, and cells used and available by resource."""

    seed: int
    fmax_mhz: float
    met: bool
    used: Mapping[str, int]
    total: Mapping[str, int]


def write_design(top: Top, folder: Path) -> None:
    """Elaborate `top` for its board; writes top.il and the pin constraints into `folder`."""
    platform = top.board.create()
    files = platform.prepare(top, "top").files
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("top.il", CONSTRAINTS[top.board.family]):
        content = files[name]
        (folder / name).write_text(content if isinstance(content, str) else content.decode())


def synthesise(board: Board, folder: Path, progress: Progress = lambda text: None) -> dict[str, int]:
    """Map `folder`/top.il to the device, into top.json; returns the resources that the cells take."""
    # ABC9 fails on wires such as `payload[0]` beside the bits of `payload`, so names other than ports' are hidden.
    # The iCE40 is small and its clock slow: mapping is told that it may take its time, and saves LUTs.
    relaxed = f"scratchpad -set abc9.D {ICE40_DELAY_PS}; " if board.family == "ice40" else ""
    script = (
        f"read_rtlil top.il; rename -hide */w:*; {relaxed}{board.device.synthesis} -top top; write_json top.json; "
        "tee -q -o stat.json stat -json"
    )
    (folder / "stat.json").unlink(missing_ok=True)
    run("yosys", ["-q", "-l", "synth.log", "-p", script], folder, "synth.log", progress)
    if not (folder / "stat.json").exists():
        raise ToolError(f"yosys wrote no statistics; the reason ends {folder / 'synth.log'}")
    cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return count(board.device, {name: number for name, number in cells.items() if not name.startswith("$")})


def route(board: Board, folder: Path, mhz: float, seed: int, progress: Progress = lambda text: None) -> Routed:
    """Place and route `folder`/top.json for `mhz` with `seed`; the result lies in `folder`/seed<seed>/."""
    out = folder / f"seed{seed}"
    out.mkdir(exist_ok=True)
    (out / "report.json").unlink(missing_ok=True)
    text = ["--textcfg"] if board.family == "ecp5" else ["--asc"]
    constraints = ["--lpf" if board.family == "ecp5" else "--pcf", CONSTRAINTS[board.family]]
    # Timing is judged here, from the report, so that a failure of the tool and a slow design are told apart.
    dense = ["--placer-heap-beta", f"{ICE40_DENSITY}"] if board.family == "ice40" else []
    arguments = [
        *board.nextpnr(), *dense, "--json", "top.json", *constraints, *text, f"{out.name}/{TEXT[board.family]}",
        "--router", ROUTER[board.family], "--seed", str(seed), "--freq", f"{mhz:.6f}", "--timing-allow-fail",
        "--report", f"{out.name}/report.json", "--quiet", "--log", f"{out.name}/route.log",
    ]  # fmt: skip
    run(f"nextpnr-{board.family}", arguments, folder, f"{out.name}/route.log", progress)
    return judge(board, mhz, seed, json.loads((out / "report.json").read_text()))


def filled(board: Board, log: Path) -> dict[str, int]:
    """What the packed design takes of each resource, from a log of nextpnr that may have ended there; {} if it did not
    get so far."""
    text = log.read_text(errors="replace") if log.exists() else ""
    found = {name: int(number) for name, number in re.findall(r"^Info:\s+(\w+):\s+(\d+)/", text, re.MULTILINE)}
    return {resource: found[cell] for resource, cell in PLACED[board.family].items() if cell in found}


def judge(board: Board, mhz: float, seed: int, report: Mapping[str, Any]) -> Routed:
    """The accelerator's clock is the one constrained to `mhz`; timing is met if every clock reaches its constraint."""
    clocks = report["fmax"].values()
    ours = [clock["achieved"] for clock in clocks if abs(clock["constraint"] - mhz) < ROUNDING * mhz]
    if not ours:
        wanted = ", ".join(f"{clock['constraint']:.3f}" for clock in clocks)
        raise ToolError(f"nextpnr constrained no clock to {mhz:.3f} MHz, only to {wanted or 'none'}")
    cells = report["utilization"]
    used = {resource: cells[cell]["used"] for resource, cell in PLACED[board.family].items() if cell in cells}
    total = {resource: cells[cell]["available"] for resource, cell in PLACED[board.family].items() if cell in cells}
    met = min(ours) >= mhz and all(clock["achieved"] >= clock["constraint"] for clock in clocks)
    return Routed(seed, round(min(ours), 2), met, used, total)


def pack(board: Board, folder: Path, seed: int) -> Path:
    """The bitstream of `seed`'s place and route, as `folder`/top.bit or top.bin."""
    target, source = folder / BITSTREAM[board.family], f"seed{seed}/{TEXT[board.family]}"
    if board.family == "ecp5":
        run("ecppack", ["--compress", "--input", source, "--bit", target.name], folder, "pack.log")
    else:
        run("icepack", [source, target.name], folder, "pack.log")
    return target
