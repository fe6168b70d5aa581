"""Synthesis, place and route, and packing of a board's top; every figure is read from what the tools report."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from popstream.boards.board.board import Board
from popstream.boards.board.devices import chip_database, nextpnr_options
from popstream.boards.board.top import Top
from popstream.boards.flow import memories, multipliers
from popstream.boards.flow.ends import NeverPlaced, NeverRouted, ending
from popstream.boards.flow.memories import fix_memories, nearly_full
from popstream.boards.flow.timing import Timing, analyse, rules
from popstream.boards.flow.toolchain import Progress, ToolError, run
from popstream.hw.synthesis.collisions import heed_promises
from popstream.hw.synthesis.mapped import absorb_registers, split_constants, trim_carries, unregistered, widen_luts
from popstream.hw.synthesis.yosys import count
from popstream.model.files import write_json, write_whole

__all__ = [
    "BITSTREAM", "FLOWS", "Flow", "Routed", "again", "digest", "filled", "pack", "route", "synthesise", "write_design",
]  # fmt: skip


@dataclass(frozen=True)
class Flow:
    """How a family is built: the tools in their order, the files that they hand on, and what nextpnr calls its cells.

    constraints: of the pins. routed: what nextpnr writes and the packer reads. options: further ones of nextpnr.
    placed: the cells that take each resource, in nextpnr's report; the first has as many places as there are.
    aim: times the clock asked for, what nextpnr is told.
    """

    tools: tuple[str, ...]
    constraints: str
    routed: str
    bitstream: str
    placed: Mapping[str, tuple[str, ...]]
    options: tuple[str, ...]
    aim: float = 1.0


RIPUP = "--tmg-ripup"
# ECP5: the router ends as soon as no wire is too slow by its own count, which the report may find 1.1 % short
# (findings/nextpnr-ripup-ends-short.sh).
AIM = 1.012

# ECP5: with ResNet-20's thousands of carry chains the default placer takes five times as long, to 2.3 times the wire,
# and router2 then does not end; `--tmg-ripup` gains 3 % of clock at the same placement and time, but where wires are
# scarce it takes away again what was settled: then it is left away, by all further seeds, too.
# iCE40: router2 may turn for ever on the last nets of a full one; aiming at a density below 0.99, the placer does, or
# where a cell finds no place: it gives up after a twelfth of the tries that it would take, and the next seed is tried.
FLOWS: Mapping[str, Flow] = {
    "ecp5": Flow(
        ("yosys", "nextpnr-ecp5", "ecppack"), "top.lpf", "top.config", "top.bit",
        {"lut": ("TRELLIS_COMB",), "ff": ("TRELLIS_FF",), "ebr": ("DP16KD",), "dsp": ("MULT18X18D",)},
        ("--placer", "static", "--router", "router2", RIPUP),
        AIM,
    ),
    "ice40": Flow(
        ("yosys", "nextpnr-ice40", "icepack"), "top.pcf", "top.asc", "top.bin",
        # An LC holds a LUT and a flip-flop.
        {"lut": ("ICESTORM_LC",), "ebr": ("ICESTORM_RAM",), "dsp": ("ICESTORM_DSP",)},
        ("--router", "router1", "--placer-heap-beta", "0.99", "--placer-heap-cell-placement-timeout", "100"),
    ),
    "gowin": Flow(
        ("yosys", "nextpnr-himbaechel-gowin", "gowin_pack"), "top.cst", "routed.json", "top.fs",
        # Multipliers of all widths have names of their own; synthesis counts them.
        {"lut": ("LUT4", "ALU"), "ff": ("DFF",), "ebr": ("BSRAM",)},
        ("--router", "router2"),
    ),
}  # fmt: skip
BITSTREAM = {family: flow.bitstream for family, flow in FLOWS.items()} | {"xilinx": "vivado/top.bit"}
KEPT = "reload.json"  # a folder that holds it keeps the placement too, as seed<seed>/routed.json
SCARCE = "wires-are-scarce"  # a file beside a netlist of which one seed was not routed with RIPUP
REPORT, TIMING = "report.json", "timing.json"  # of a seed: nextpnr's, and what it leaves out
ICE40_DELAY_PS = 20_000  # of LUTs alone, between two flip-flops
ROUNDING = 0.002  # nextpnr rounds a clock's period to picoseconds, a PLL's to a few


@dataclass(frozen=True)
class Routed:
    """One run of place and route: the clock reached, and cells used and available by resource.

    fmax_mhz: with margins for what nextpnr does not time; nextpnr_mhz: by its own report. why: no clock can be claimed,
    however fast it seems.
    """

    seed: int
    fmax_mhz: float
    met: bool
    used: Mapping[str, int]
    total: Mapping[str, int]
    untimed_cells: Mapping[str, int] = field(default_factory=dict)
    untimed_pins: Mapping[str, int] = field(default_factory=dict)
    why: str = ""
    nextpnr_mhz: float = 0.0


def write_design(top: Top, folder: Path) -> None:
    """Elaborate `top` for its board; writes top.il and the constraints of pins and clocks into `folder`."""
    files, flow = top.board.create().prepare(top, "top").files, FLOWS[top.board.family]
    wanted = (files["top.il"], files[flow.constraints])
    design, constraints = (content if isinstance(content, str) else content.decode() for content in wanted)
    write_whole(folder / "top.il", heed_promises(design).encode())
    write_whole(folder / flow.constraints, (aimed(constraints) if flow.aim != 1 else constraints).encode())


def aimed(lpf: str) -> str:
    """The constraints of an ECP5 with every clock AIM times as fast; nextpnr derives a PLL's from that of its input."""
    text, found = re.subn(r"(?m)^(FREQUENCY PORT \S+) (\S+) HZ;", lambda m: f"{m[1]} {AIM * float(m[2])} HZ;", lpf)
    if not found:
        raise ToolError("no clock is constrained; this is a fault of popstream's")
    return text


def script(board: Board) -> str:
    """Yosys's commands: top.il mapped to the device, into top.json and stat.json."""
    # ABC9 fails on wires such as `payload[0]` beside the bits of `payload`, so names other than ports' are hidden.
    # The iCE40 is small and its clock slow: mapping is told that it may take its time, and saves LUTs.
    relaxed = f"scratchpad -set abc9.D {ICE40_DELAY_PS}; " if board.family == "ice40" else ""
    return (
        f"read_rtlil top.il; rename -hide */w:*; {relaxed}{board.device.synthesis} -top top; write_json top.json; "
        "tee -q -o stat.json stat -json"
    )


def digest(board: Board, folder: Path, more: Sequence[str]) -> str:
    """SHA-256 of all that decides the bitstream: design and pins in `folder`, what the tools are told, and `more`."""
    flow = FLOWS[board.family]
    text = (folder / "top.il").read_text().splitlines()
    design = "\n".join(line for line in text if not line.lstrip().startswith("attribute \\src"))
    told = [script(board), *nextpnr_options(board.platform(), board.part), *flow.options, *board.pack]
    told += [rules(board.family)]  # by which a clock is met or not
    told += [memories.RULE, multipliers.RULE] if board.family == "ecp5" else []
    told += ["registers in block RAMs, none shared by all"] if board.family == "ecp5" else []  # synthesise() says so
    told += ["LUT4 alone"] if board.family == "gowin" else []  # synthesise() says so
    return hashlib.sha256(
        "\0".join([design, (folder / flow.constraints).read_text(), *told, *more]).encode()
    ).hexdigest()


def synthesise(board: Board, folder: Path, progress: Progress = lambda text: None) -> dict[str, int]:
    """Map `folder`/top.il to the device, into top.json; returns the resources that the cells take.

    On an ECP5 the carry chains are freed of what nextpnr would add to their unused ends, and block RAMs take in the
    registers behind them.
    """
    for left in ("stat.json", SCARCE):
        (folder / left).unlink(missing_ok=True)
    run("yosys", ["-q", "-l", "synth.log", "-p", script(board)], folder, "synth.log", progress)
    if not (folder / "stat.json").exists():
        raise ToolError(f"yosys wrote no statistics; the reason ends {folder / 'synth.log'}")
    if board.family == "ecp5":
        trim_carries(folder / "top.json")
        added = split_constants(folder / "top.json") - absorb_registers(folder / "top.json")
        statistics = json.loads((folder / "stat.json").read_text())
        statistics["design"]["num_cells_by_type"]["TRELLIS_FF"] += added
        write_json(folder / "stat.json", statistics)
    if board.family == "gowin":
        widen_luts(folder / "top.json")
    return count(board.device, synthesised(folder))


def synthesised(folder: Path) -> dict[str, int]:
    """Cells of the mapped design in `folder`, by type."""
    cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return {name: number for name, number in cells.items() if not name.startswith("$")}


def route(board: Board, folder: Path, mhz: float, seed: int, progress: Progress = lambda text: None) -> Routed:
    """Place and route `folder`/top.json for `mhz` with `seed`; the result lies in `folder`/seed<seed>/."""
    out = folder / f"seed{seed}"
    out.mkdir(exist_ok=True)
    delays = out / "delays.sdf"  # large, and read once
    for left in (out / REPORT, out / TIMING, delays):
        left.unlink(missing_ok=True)
    flow, platform = FLOWS[board.family], board.platform()
    result = f"{out.name}/{flow.routed}"
    files = {
        "ecp5": ["--lpf", flow.constraints, "--textcfg", result],
        "ice40": ["--pcf", flow.constraints, "--asc", result],
        "gowin": ["--vopt", f"cst={flow.constraints}", "--write", result],
    }[board.family]
    if (folder / KEPT).exists():
        files += ["--write", f"{out.name}/routed.json"]
    # Timing is judged here, from the report, so that a failure of the tool and a slow design are told apart.
    aim = f"{mhz * flow.aim:.6f}"
    told = [*nextpnr_options(platform, board.part), "--seed", str(seed), "--freq", aim, "--timing-allow-fail"]
    arguments = [
        *told, *flow.options, *files,
        "--report", f"{out.name}/{REPORT}", "--sdf", f"{out.name}/{delays.name}", "--quiet",
        "--log", f"{out.name}/route.log",
    ]  # fmt: skip
    if RIPUP in arguments and (folder / SCARCE).exists():
        arguments.remove(RIPUP)
    first = board.family == "ecp5" and nearly_full(synthesised(folder), board.device.capacity["ebr"])
    netlist = ""
    try:
        while True:  # twice with the memories free or the timing heeded, at most
            try:
                netlist = netlist or with_places(board, folder, out, told, first, progress)
                run(flow.tools[1], [*arguments, "--json", netlist], folder, f"{out.name}/route.log", ending(progress))
            except NeverPlaced:
                if first or board.family != "ecp5":
                    raise
                first, netlist = True, ""
            except NeverRouted:
                if RIPUP not in arguments:
                    raise
                arguments.remove(RIPUP)
                (folder / SCARCE).touch()
            else:
                break
        lacking = unregistered(folder / "top.json") if board.family == "ice40" else {}
        write_json(out / TIMING, analyse(delays, board.family, lacking)._asdict())
    finally:
        for large in (delays, out / memories.FIXED, out / multipliers.DEALT):
            large.unlink(missing_ok=True)
    return again(board, folder, mhz, seed)


def with_places(
    board: Board, folder: Path, out: Path, told: list[str], memories_first: bool, progress: Progress
) -> str:
    """The netlist to place: top.json, on demand with places for block RAMs, and with places for multipliers where they
    are many. `told` are nextpnr's arguments of every run.
    """
    flow, netlist = FLOWS[board.family], "top.json"
    told = [*told, "--lpf", flow.constraints]
    if memories_first:
        netlist = fix_memories(flow.tools[1], folder, out, told, progress)
    if board.family == "ecp5" and multipliers.many(synthesised(folder)):
        options = [*told, *flow.options]
        netlist = multipliers.deal_multipliers(flow.tools[1], folder, out, netlist, options, ending(progress))
    return netlist


def again(board: Board, folder: Path, mhz: float, seed: int) -> Routed:
    """What the last place and route with `seed` gave. FileNotFoundError without one."""
    out = folder / f"seed{seed}"
    report, timing = (json.loads((out / name).read_text()) for name in (REPORT, TIMING))
    return judge(board, mhz, seed, report, Timing(**timing))


def filled(board: Board, log: Path) -> dict[str, int]:
    """What the packed design takes of each resource, from a log of nextpnr that may have ended there; {} if it did not
    get so far."""
    text = log.read_text(errors="replace") if log.exists() else ""
    found = {name: int(number) for name, number in re.findall(r"^Info:\s+(\w+):\s+(\d+)/", text, re.MULTILINE)}
    placed = FLOWS[board.family].placed.items()
    return {resource: sum(found.get(cell, 0) for cell in cells) for resource, cells in placed if cells[0] in found}


def judge(board: Board, mhz: float, seed: int, report: Mapping[str, Any], timing: Timing) -> Routed:
    """The accelerator's clock is the one constrained to `mhz` (times the family's aim); timing is met if every clock
    reaches what was asked, and this one also with margins for what nextpnr does not time."""
    aim = FLOWS[board.family].aim
    clocks = [(clock["achieved"], clock["constraint"] / aim) for clock in report["fmax"].values()]
    ours = [achieved for achieved, asked in clocks if abs(asked - mhz) < ROUNDING * mhz]
    if not ours and (clocks or not timing.cells):
        wanted = ", ".join(f"{asked:.3f}" for _, asked in clocks)
        raise ToolError(f"nextpnr constrained no clock to {mhz:.3f} MHz, only to {wanted or 'none'}")
    cells = report["utilization"]
    placed = {resource: names for resource, names in FLOWS[board.family].placed.items() if names[0] in cells}
    used = {resource: sum(cells[name]["used"] for name in names if name in cells) for resource, names in placed.items()}
    total = {resource: cells[names[0]]["available"] for resource, names in placed.items()}
    slow = [] if timing.mhz is None else [timing.mhz]
    fmax = min([*ours, *slow], default=0.0)
    met = fmax >= mhz and all(achieved >= asked for achieved, asked in clocks) and not timing.why
    told = round(min(ours, default=0.0), 2)
    return Routed(seed, round(fmax, 2), met, used, total, timing.cells, timing.pins, timing.why, told)


def pack(board: Board, folder: Path, seed: int, name: str | None = None) -> Path:
    """The bitstream of `seed`'s place and route, as `folder`/`name`, by default the family's."""
    flow = FLOWS[board.family]
    target, source = folder / (name or flow.bitstream), f"seed{seed}/{flow.routed}"
    arguments = {
        "ecp5": ["--compress", "--input", source, "--bit", target.name],
        "ice40": [source, target.name],
        "gowin": ["--device", chip_database(board.part), "--output", target.name, *board.pack, source],
    }[board.family]
    run(flow.tools[2], arguments, folder, "pack.log")
    return target
