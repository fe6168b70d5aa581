"""Boards that only Vivado can place and route: the complete project, and an estimate of what the design takes.

build/<net>/<board>/vivado/ gets top.v, top.xdc, top.tcl and build_top.sh, which need nothing else of this repository;
estimate.json beside it the cells that yosys maps the same Verilog to. There is no bitstream until Vivado has run.
"""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from popstream.boards.board.board import Board
from popstream.boards.board.top import Top, clock_plan
from popstream.boards.fitting.capacity import MARGIN, check_fit, need
from popstream.boards.flow.toolchain import ToolError, locate, run, version
from popstream.boards.link.link import HostLink
from popstream.hw.folding.folding import Folding, interval
from popstream.hw.synthesis.yosys import count
from popstream.model.files import write_json
from popstream.model.manifest import Network
from popstream.model.progress import stage

__all__ = ["export", "next_steps", "project", "report"]

PROJECT = ("top.v", "top.xdc", "top.tcl", "build_top.sh")
# Vivado writes a bitstream whatever the timing; this ends the script instead.
TIMING_CHECK = """\
phys_opt_design
if {[get_property SLACK [get_timing_paths]] < 0} {
    report_timing_summary -datasheet -max_paths 10 -file top_timing.rpt
    puts "ERROR: timing not met, slack [get_property SLACK [get_timing_paths]] ns; see top_timing.rpt"
    exit 1
}"""


def project(top: Top, folder: Path) -> Path:
    """Elaborate `top` for its board and write its project; `folder`/vivado, which is made anew."""
    target, beside = folder / "vivado", folder / ".vivado"
    files = top.board.create().prepare(top, "top", script_after_route=TIMING_CHECK).files
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name in PROJECT:
        content = files[name]
        (beside / name).write_text(content if isinstance(content, str) else content.decode())
    (beside / "build_top.sh").chmod(0o755)
    shutil.rmtree(target, ignore_errors=True)
    beside.rename(target)
    return target


def export(
    board: Board, network: Network, folding: Folding, mhz: float, folder: Path, console: Console, make_link: Any = None
) -> dict[str, Any]:
    """Write project and estimate.json and return the latter's content.

    BoardError if the network does not fit, PllError if the clock cannot be made, ToolError if yosys fails.
    """
    began, estimate = time.time(), folder / "estimate.json"
    estimate.unlink(missing_ok=True)
    cycles = max(interval(network, folding).values())
    check_fit(board, network, need(board, network, folding), cycles, "estimated", MARGIN)
    pll = clock_plan(board, mhz)
    locate("yosys")
    actual = board.mhz_in if pll is None else pll.mhz
    top = Top(board, pll, (make_link or HostLink)(network, folding, actual * 1e6, board.baud))
    with stage(console, f"{network.name} on {board.name}: elaboration"):
        where = project(top, folder)
        folding.save(folder / "folding.json")
    with stage(console, f"synthesis (log: {folder / 'synth.log'})") as progress:
        commands = (
            f"read_verilog vivado/top.v; rename -hide */w:*; {board.device.synthesis} -top top; "
            "tee -q -o stat.json stat -json"
        )
        (folder / "stat.json").unlink(missing_ok=True)
        run("yosys", ["-q", "-l", "synth.log", "-p", commands], folder, "synth.log", progress)
    if not (folder / "stat.json").exists():
        raise ToolError(f"yosys wrote no statistics; the reason ends {folder / 'synth.log'}")
    cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    cells = {name: number for name, number in cells.items() if not name.startswith("$")}
    used = count(board.device, cells)
    check_fit(board, network, used, cycles, "synthesised")
    capacity = {f"{resource}_total": total for resource, total in board.device.capacity.items()}
    figures = {
        "network": network.name, "board": board.name, "device": board.device.name, **used, **capacity,
        "target_mhz": round(actual, 4), "interval_cycles": cycles, "minutes": round((time.time() - began) / 60, 2),
        "network_hash": network.hash, "baud": board.baud, "cells": cells,
        "uncounted": [cell for cell in cells if not any(count(board.device, {cell: 1}).values())],
        "synthesis": board.device.synthesis,
        "tools": {"yosys": version("yosys")}, "project": str(where), "bitstream": None,
    }  # fmt: skip
    write_json(estimate, figures)
    return figures


def report(figures: dict[str, Any]) -> Table:
    """What yosys maps the design to, for a terminal."""
    table = Table(title=f"{figures['network']} on {figures['board']} ({figures['device']}), synthesised by yosys")
    for column in ("", "used", "available", "share"):
        table.add_column(column, justify="right" if column else "left")
    for resource, name in (("lut", "LUT6"), ("ff", "FF"), ("ebr", "RAMB18"), ("dsp", "DSP48")):
        used, total = figures[resource], figures[f"{resource}_total"]
        table.add_row(name, f"{used:,}", f"{total:,}", f"{100 * used / total:.1f} %")
    return table


def next_steps(figures: dict[str, Any]) -> str:
    """What there is not, and how to go on."""
    return (
        f"No bitstream was made: there is no open place and route for {figures['device']} among the tools in use.\n"
        f"With Vivado: cd {figures['project']} && vivado -mode batch -source top.tcl\n"
        f"It writes top.bit if the timing is met at {figures['target_mhz']:g} MHz, else it fails; then: "
        f"popstream flash {figures['network']} {figures['board']}"
    )
