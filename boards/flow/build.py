"""`popstream bitstream BOARD --net NET`: a bitstream with its timing met, or one line that says why there is none.

Writes build/<net>/<board>/: bitstream (top.bit, top.bin or top.fs), bitstream.json, folding.json and the tools' logs.
The same network, folding, clock and seed give the same bitstream, byte for byte. For a board without open place and
route it writes a Vivado project instead (boards/flow/vivado.py).
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from popstream.boards.board.board import Board, BoardError
from popstream.boards.board.top import Top, clock_plan
from popstream.boards.clock.pll import PllError
from popstream.boards.fitting.capacity import MARGIN, check_fit, need
from popstream.boards.flow.figures import FIGURES, read_figures
from popstream.boards.flow.place import (
    BITSTREAM,
    FLOWS,
    Routed,
    again,
    digest,
    filled,
    pack,
    route,
    synthesise,
    write_design,
)
from popstream.boards.flow.toolchain import ToolError, locate, version
from popstream.boards.link.link import HostLink
from popstream.boards.link.replies import folding_hash
from popstream.hw.folding.folding import Folding, FoldingError, interval
from popstream.model.cache import alone
from popstream.model.files import write_json
from popstream.model.manifest import ManifestError, Network
from popstream.model.progress import stage

__all__ = ["ERRORS", "TRIES", "TimingError", "build", "discard", "folder_of", "forget_routes", "report"]

ERRORS = (BoardError, PllError, ToolError, ManifestError, FoldingError, OSError)
TRIES = 4  # seeds of place and route, by default
ROUTED = "routed.sha256"  # in a seed's folder: of the design that was routed there to the end


class TimingError(ToolError):
    """No seed reached the clock; the message is one line."""


def folder_of(board: Board, network: str, root: Path = Path("build")) -> Path:
    """Where a build lies."""
    return root / network / board.name


def discard(board: Board, folder: Path) -> None:
    """Take away what an earlier build left, so that nothing looks like the result of one that fails."""
    for name in (FIGURES, BITSTREAM[board.family]):
        (folder / name).unlink(missing_ok=True)


def finished(board: Board, folder: Path) -> dict[str, Any]:
    """The figures of an earlier build whose bitstream is there, unchanged; {} if there is none."""
    figures, bitstream = folder / FIGURES, folder / BITSTREAM[board.family]
    if not figures.exists() or not bitstream.exists():
        return {}
    try:
        content = read_figures(figures)
    except BoardError:  # damaged: it is written anew
        return {}
    return content if content.get("bitstream_sha256") == hashlib.sha256(bitstream.read_bytes()).hexdigest() else {}


def forget_routes(folder: Path) -> None:
    """Place and route again, also with seeds that were done."""
    for mark in folder.glob(f"seed*/{ROUTED}"):
        mark.unlink()


def log_of(folder: Path, seed: int) -> Path:
    """Of place and route."""
    return folder / f"seed{seed}" / "route.log"


def route_once(board: Board, folder: Path, mhz: float, seed: int, design: str, console: Console) -> Routed:
    """Place and route `design` with one seed, or take what that gave before: it can be minutes of work."""
    out = folder / f"seed{seed}"
    mark = out / ROUTED
    if mark.exists() and mark.read_text() == design and (out / FLOWS[board.family].routed).exists():
        with suppress(FileNotFoundError):
            return again(board, folder, mhz, seed)
    mark.unlink(missing_ok=True)
    with stage(console, f"place and route, seed {seed}, {mhz:g} MHz (log: {log_of(folder, seed)})") as progress:
        run = route(board, folder, mhz, seed, progress)
    mark.write_text(design)
    return run


def route_until_met(
    board: Board, network: Network, folder: Path, mhz: float, seeds: range, cells: Mapping[str, int], cycles: int,
    design: str, console: Console,
) -> list[Routed]:  # fmt: skip
    """Place and route with one seed after another until the timing is met. A seed that fails is left out, unless the
    design is too large or all fail."""
    runs: list[Routed] = []
    for seed in seeds:
        try:
            runs.append(route_once(board, folder, mhz, seed, design, console))
        except ToolError as error:
            check_fit(board, network, {**cells, **filled(board, log_of(folder, seed))}, cycles, "packed")
            if seed == seeds[-1] and not runs:
                raise
            console.print(f"seed {seed}: {error}", highlight=False, soft_wrap=True)
        else:
            console.print(f"seed {seed}: {runs[-1].fmax_mhz:.2f} MHz", highlight=False)
            if runs[-1].met:
                break
    return runs


def build(
    board: Board,
    network: Network,
    folding: Folding,
    mhz: float,
    seeds: range,
    folder: Path,
    console: Console,
    make_link: Callable[..., Any] | None = None,
    reuse: bool = False,
) -> dict[str, Any]:
    """Build and return the figures of bitstream.json, which is written too.

    Of `seeds`, one after another is tried until the timing is met; what an earlier run routed is not routed again.
    `reuse` takes an earlier build that the same design, tools and clock gave with one of the seeds. BoardError if the
    network does not fit, PllError if the clock cannot be made, ToolError if a tool is missing or fails, TimingError if
    no seed reaches the clock: then there are figures, but no bitstream.
    """
    with alone(folder, ToolError(f"{folder} is that of a build that runs; wait for it, or give another --out")):
        return build_alone(board, network, folding, mhz, seeds, folder, console, make_link, reuse)


def build_alone(
    board: Board, network: Network, folding: Folding, mhz: float, seeds: range, folder: Path, console: Console,
    make_link: Callable[..., Any] | None, reuse: bool,
) -> dict[str, Any]:  # fmt: skip
    """As `build`, with the folder for itself."""
    began = time.time()
    earlier = finished(board, folder) if reuse else {}
    if not earlier:
        discard(board, folder)
    flow, cycles = FLOWS[board.family], max(interval(network, folding).values())
    check_fit(board, network, need(board, network, folding), cycles, "estimated", MARGIN)
    pll = clock_plan(board, mhz)
    for tool in flow.tools:
        locate(tool)
    actual = board.mhz_in if pll is None else pll.mhz
    top = Top(board, pll, (make_link or HostLink)(network, folding, actual * 1e6, board.baud))
    with stage(console, f"{network.name} on {board.name}: elaboration"):
        write_design(top, folder)
        folding.save(folder / "folding.json")
    tools = {tool: version(tool) for tool in flow.tools}
    design = digest(board, folder, [f"{actual:.6f}", *tools.values()])
    if earlier.get("design_sha256") == design and earlier["seed"] in seeds:
        return earlier
    discard(board, folder)
    with stage(console, f"synthesis (log: {folder / 'synth.log'})") as progress:
        cells = synthesise(board, folder, progress)
    check_fit(board, network, cells, cycles, "synthesised")
    runs = route_until_met(board, network, folder, actual, seeds, cells, cycles, design, console)
    best = max(runs, key=lambda run: (run.met, run.fmax_mhz))
    total = {**board.device.capacity, **best.total}
    figures: dict[str, Any] = {"network": network.name, "board": board.name, "device": board.device.name}
    for resource in ("lut", "ff", "ebr", "dsp"):
        figures |= {resource: best.used.get(resource, cells[resource]), f"{resource}_total": total[resource]}
    figures |= {
        "target_mhz": round(actual, 4), "fmax_mhz": best.fmax_mhz, "timing_met": best.met, "seed": best.seed,
        "minutes": round((time.time() - began) / 60, 2), "interval_cycles": cycles, "baud": board.baud,
        "images_per_second": round(actual * 1e6 / cycles), "network_hash": network.hash,
        "folding_hash": folding_hash(folding).hex(),
        "seeds": {run.seed: run.fmax_mhz for run in runs}, "synthesised": cells, "folding": folding.to_dict(),
        "synthesis": board.device.synthesis, "tools": tools, "design_sha256": design,
        "untimed_cells": best.untimed_cells, "untimed_pins": best.untimed_pins,
        "nextpnr_mhz": best.nextpnr_mhz,
    }  # fmt: skip
    if not best.met:
        write_json(folder / FIGURES, figures)
        if best.why:
            raise TimingError(f"no clock can be claimed on {board.name}: {best.why} (log: {log_of(folder, best.seed)})")
        raise TimingError(
            f"timing not met on {board.name}: {best.fmax_mhz:.2f} of {actual:g} MHz is the best of seeds "
            f"{', '.join(str(seed) for seed in seeds)}; try SEEDS={2 * len(seeds)}, "
            f"FREQ={int(best.fmax_mhz)} or a larger interval (log: {log_of(folder, best.seed)})"
        )
    packed = pack(board, folder, best.seed, f"packed-{flow.bitstream}")
    figures["bitstream_sha256"] = hashlib.sha256(packed.read_bytes()).hexdigest()
    write_json(folder / FIGURES, figures)
    packed.replace(folder / flow.bitstream)
    return figures


def report(figures: Mapping[str, Any]) -> Table:
    """The figures that a board's user wants to see."""
    table = Table(title=f"{figures['network']} on {figures['board']} ({figures['device']})")
    for column in ("", "used", "available", "share"):
        table.add_column(column, justify="right" if column else "left")
    for resource in ("lut", "ff", "ebr", "dsp"):
        used, total = figures[resource], figures[f"{resource}_total"]
        table.add_row(resource.upper(), f"{used:,}", f"{total:,}", f"{100 * used / total:.1f} %")
    table.add_row("clock, MHz", f"{figures['fmax_mhz']:.2f}", "", f"{figures['target_mhz']:g} wanted")
    table.add_row(
        "cycles an image", f"{figures['interval_cycles']:,}", "", f"{figures['images_per_second']:,} images/s"
    )
    if figures.get("untimed_cells"):
        left = ", ".join(f"{number:,} {name}" for name, number in figures["untimed_cells"].items())
        table.add_row("not timed by nextpnr", "", "", f"{left}: {figures['nextpnr_mhz']} MHz without margins")
    table.add_row("seed", str(figures["seed"]), "", f"{figures['minutes']:.1f} minutes")
    return table
