"""Throughput, latency, resources and use of the lanes of a network on a board, beside published designs.

The clock and the resources are those of build/<net>/<board>/bitstream.json; boards.flow.build makes it, unless one of
the same design, clock and seeds is there. Interval, latency and busy share are counted in simulation
(sim.reports.steady), which `boards` may import as the harness of its link does: `sim` knows nothing of `boards`.
images/s = routed clock / measured interval: the accelerator's own rate, which a UART of a megabaud does not feed.

Writes a row into build/bench.json (those of other networks and boards stay) and all of them as build/bench.md.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from popstream.boards.bench.published import PUBLISHED
from popstream.boards.board.board import Board, BoardError
from popstream.boards.board.top import clock_plan
from popstream.boards.fitting.capacity import fold
from popstream.boards.flow.build import TRIES, build, folder_of, forget_routes
from popstream.boards.flow.figures import FIGURES, read_figures
from popstream.boards.flow.place import FLOWS
from popstream.boards.known import boards
from popstream.hw.folding.folding import Folding
from popstream.model.checked import read_json
from popstream.model.files import write_json
from popstream.model.manifest import Network
from popstream.sim.reports.lanes import Occupancy
from popstream.sim.reports.steady import simulate

__all__ = ["KEYS", "benchmark", "boards_of", "markdown", "save_row", "table"]

KEYS = ("network", "board", "interval_cycles", "latency_cycles", "fmax_mhz", "images_per_s", "lut", "ff", "ebr", "dsp",
        "lanes", "busy")  # fmt: skip
RESOURCES = ("lut", "ff", "ebr", "dsp")


def settings(
    path: Path,
    board: Board,
    network: Network,
    interval: int | None = None,
    file: Path | None = None,
    freq: float | None = None,
    seed: int | None = None,
    tries: int | None = None,
) -> tuple[Folding, float, range]:
    """Folding, clock and seeds to build with: what is given, else what bitstream.json at `path` was built with, if it
    is of this network, else the fastest folding that fits, the board's clock and seeds from 0 on."""
    figures = read_figures(path) if path.exists() else {}
    if figures.get("network_hash") != network.hash:
        figures = {}
    folding = Folding.load(file, network) if file else None
    if folding is None and figures and not interval:
        folding = Folding.from_dict(figures["folding"]).check(network)
    mhz, first = board.mhz, 0
    if figures:
        default = clock_plan(board, board.mhz)
        actual = board.mhz_in if default is None else default.mhz
        mhz = board.mhz if abs(actual - figures["target_mhz"]) < 1e-3 else figures["target_mhz"]
        first = min(map(int, figures["seeds"]))
    if seed is not None or tries is not None:
        first = seed or 0
    seeds = range(first, first + (tries or TRIES))
    return folding or fold(board, network, interval), freq or mhz, seeds


def top1_of(network: Network, root: Path) -> float | None:
    """Percent of the test images: of its training, or of an imported network what `popstream accuracy` measured; None
    of an untrained one, and where it was not measured.
    """
    if network.training.get("untrained"):
        return None
    path, trained = root / network.name / "accuracy.json", network.accuracy.get("top1_frozen")
    if trained is not None or not path.exists():
        return trained
    found = read_json(path, BoardError)
    return found.get("top1_golden") if found.get("network_hash") == network.hash else None


def row_of(
    network: Network, figures: Mapping[str, Any], occupancy: Occupancy, root: Path = Path("build")
) -> dict[str, Any]:
    """A row of bench.json: KEYS and what goes with them; busy and top1 in percent."""
    rate = figures["fmax_mhz"] * 1e6 / occupancy.interval
    lanes = int(occupancy.lanes.sum())
    return {
        "network": network.name,
        "board": figures["board"],
        "device": figures["device"],
        "interval_cycles": round(occupancy.interval, 1),
        "latency_cycles": occupancy.latency,
        "fmax_mhz": figures["fmax_mhz"],
        "target_mhz": figures["target_mhz"],
        "images_per_s": round(rate),
        **{name: figures[name] for name in RESOURCES},
        **{f"{name}_total": figures[f"{name}_total"] for name in RESOURCES},
        "lanes": lanes,
        "busy": round(occupancy.busy, 1),
        "lut_per_lane": round(figures["lut"] / max(1, lanes), 2),
        "images_per_s_per_klut": round(1000 * rate / figures["lut"], 1),
        "latency_us": round(occupancy.latency / figures["fmax_mhz"], 1),
        "predicted_interval_cycles": occupancy.predicted,
        "images": len(occupancy.answer.labels),
        "top1": top1_of(network, root),
        "untrained": bool(network.training.get("untrained")),
        "seed": figures["seed"],
        "tools": figures["tools"],
        "network_hash": network.hash,
    }


def save_row(path: Path, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Put the row into the list at `path`, in place of the one of the same network and board; returns all, sorted."""
    rows = read_json(path, BoardError) if path.exists() else []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BoardError(f"{path}: must be a list of rows; remove it and measure again")
    same = (row["network"], row["board"])
    rows = [other for other in rows if (other["network"], other["board"]) != same] + [dict(row)]
    rows.sort(key=lambda row: (row["network"], -row["images_per_s"]))
    write_json(path, rows)
    return rows


COLUMNS = ("network", "device (board)", "cycles", "latency, us", "MHz", "images/s", "LUT", "FF", "EBR", "DSP", "lanes",
           "busy", "LUT/lane", "images/s/kLUT", "top-1")  # fmt: skip


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the table, as COLUMNS has it."""
    used = [f"{row[name]:,} ({100 * row[name] / row[f'{name}_total']:.0f} %)" for name in RESOURCES]
    unknown = "untrained" if row.get("untrained", True) else "-"
    top1 = unknown if row["top1"] is None else f"{row['top1']:.2f} %"
    return [row["network"], f"{row['device']} ({row['board']})", f"{row['interval_cycles']:,.0f}",
            f"{row['latency_us']:,.0f}", f"{row['fmax_mhz']:.1f}", f"{row['images_per_s']:,}", *used,
            f"{row['lanes']:,}", f"{row['busy']:.1f} %", f"{row['lut_per_lane']:.2f}",
            f"{row['images_per_s_per_klut']:.0f}", top1]  # fmt: skip


def published_cells() -> list[list[str]]:
    """The rows of other people's designs, as COLUMNS has it."""
    result = []
    for design in PUBLISHED:
        cell = {
            "network": design.design,
            "device (board)": design.device,
            "images/s": "-" if design.images_per_s is None else f"{design.images_per_s:,}",
            "LUT": "-" if design.lut is None else f"{design.lut:,} LUT6",
            "DSP": "-" if design.dsp is None else f"{design.dsp:,}",
            "top-1": f"{design.top1:.1f} %",
        }
        if design.images_per_s and design.lut:
            cell["images/s/kLUT"] = f"{1000 * design.images_per_s / design.lut:.0f}"
        result.append([cell.get(column, "-") for column in COLUMNS])
    return result


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """All rows, and the published ones behind them, as a table for a README."""
    lines = [COLUMNS, ["---"] * 2 + ["---:"] * (len(COLUMNS) - 2), *(cells(row) for row in rows)]
    lines += [["*published*", *[""] * (len(COLUMNS) - 1)], *published_cells()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The same for a terminal."""
    shown = Table(title="images/s = routed clock / measured interval", caption="below the line: as published")
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column in COLUMNS[:2] else "right", overflow="fold")
    for row in rows:
        shown.add_row(*cells(row))
    shown.add_section()
    for line in published_cells():
        shown.add_row(*line)
    return shown


def benchmark(
    board: Board,
    network: Network,
    console: Console,
    *,
    rebuild: bool = False,
    optimize: int = 1,
    root: Path = Path("build"),
    **how: Any,
) -> dict[str, Any]:
    """The row of `network` on `board`; builds the bitstream unless the one that belongs is there.

    `how` is what `settings` takes; `rebuild` builds in any case.
    """
    if board.family not in FLOWS:
        raise BoardError(f"{board.name} is not routed by the open tools, so its clock is not known")
    folder = folder_of(board, network.name, root)
    folding, mhz, seeds = settings(folder / FIGURES, board, network, **how)
    if rebuild:
        forget_routes(folder)
    figures = build(board, network, folding, mhz, seeds, folder, console, reuse=not rebuild)
    with console.status(f"{network.name}: simulating"):
        occupancy = simulate(network, folding, root, optimize)
    return row_of(network, figures, occupancy, root)


def boards_of(network: Network, root: Path = Path("build")) -> list[str]:
    """The boards that have a bitstream of a network of this name."""
    return [board.name for board in boards().values() if (folder_of(board, network.name, root) / FIGURES).exists()]
