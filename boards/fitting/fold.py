"""`popstream fold BOARD --net NET`: the fastest folding that a board holds, or the smallest for --fps.

Takes seconds: everything is estimated (hw.cost.network, hw.folding.timing). Writes build/<net>/<board>/fold/fold.json,
and folding.json beside it, which `make bitstream ARGUMENTS="--folding FILE"` takes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from popstream.boards.board.board import Board, BoardError
from popstream.boards.fitting.capacity import Fit, fit, fold, need, room, shortage
from popstream.boards.fitting.kept import kept_fit
from popstream.hw.cost.network import Cost, network_cost, storage_of
from popstream.hw.folding.folding import Folding, FoldingError, cycles, interval, pixels
from popstream.hw.folding.outline import plans, units
from popstream.model.files import write_json
from popstream.model.manifest import Network

__all__ = ["fold_to", "rows", "tables", "write"]


def rows(network: Network, folding: Folding) -> list[dict[str, Any]]:
    """One row a folded layer: lanes, cycles an image, share of idle time, weight memory, estimated resources."""
    costs, each = network_cost(network, folding), interval(network, folding)
    slowest = max(each.values())
    result = []
    ends = plans(network, folding)
    for name, entry in units(network, folding).items():
        node, cost = network.node(name), costs[name]
        busy = ends[name].cycles if name in ends else pixels(node) * cycles(node, entry)
        result.append(
            {
                "stage": name, "arithmetic": entry.arithmetic, "simd": entry.simd, "pe": entry.pe,
                "planes": entry.planes, "out": entry.beat, "lanes": entry.lanes, "busy_cycles": busy,
                "interval_cycles": each[name], "idle": round(1 - busy / slowest, 4),
                "storage": "block" if name in ends else storage_of(node, entry),
                "lut": cost.lut, "ff": cost.ff, "ebr": cost.ebr, "dsp": cost.dsp,
            }
        )  # fmt: skip
    return result


def stage_table(network: Network, entries: list[dict[str, Any]], others: Cost) -> Table:
    """`rows` to look at; `others` is what no layer has for itself."""
    table = Table(title=f"{network.name}: estimated, stage by stage")
    for column in ("stage", "arithmetic", "SIMD x PE x planes", "out", "lanes", "cycles", "idle", "weights"):
        table.add_column(column, justify="left" if column in ("stage", "arithmetic", "weights") else "right")
    for column in ("LUT", "FF", "EBR", "DSP"):
        table.add_column(column, justify="right")
    for row in entries:
        table.add_row(
            row["stage"], row["arithmetic"], f"{row['simd']} x {row['pe']} x {row['planes']}", str(row["out"]),
            f"{row['lanes']:,}", f"{row['interval_cycles']:,}", f"{100 * row['idle']:.1f} %", row["storage"],
            f"{row['lut']:,}", f"{row['ff']:,}", str(row["ebr"]), str(row["dsp"]),
        )  # fmt: skip
    used = [f"{others.lut:,}", f"{others.ff:,}", str(others.ebr), str(others.dsp)]
    table.add_row("skip FIFOs, host link", *[""] * 7, *used)
    return table


def total_table(board: Board, needed: Mapping[str, int]) -> Table:
    """What the folding takes of the board's device."""
    table = Table(title=f"{board.name} ({board.device.name}), host link included")
    for column in ("", "estimated", "available", "share"):
        table.add_column(column, justify="right" if column else "left")
    for resource, total in room(board).items():
        number = needed[resource]
        table.add_row(resource.upper(), f"{number:,}", f"{total:,}", f"{100 * number / total:.1f} %")
    return table


def fastest(board: Board, network: Network) -> Fit:
    """The fastest folding that the board holds; BoardError, with what is missing, if none fits."""
    found = kept_fit(board, network)
    if found is None:
        missing = shortage(board, need(board, network, fold(board, network, None)))
        raise BoardError(f"{network.name} does not fit {board.name} at any interval: {missing}")
    return found


def for_rate(board: Board, network: Network, fps: float, mhz: float) -> Folding:
    """The smallest folding for `fps` images a second at `mhz`; BoardError names the nearest that can be had."""
    target = int(mhz * 1e6 / fps)
    best = fastest(board, network)
    least = best.interval
    nearest = int(mhz * 1e6 / least)
    refused = (
        f"{network.name} on {board.name} at {mhz:g} MHz: {fps:,.0f} images/s is {target:,} cycles an image, "
        f"and the fastest folding that fits takes {least:,}; the nearest that can be had is FPS={nearest}"
    )
    if target < 1:
        raise BoardError(refused)
    try:
        found = fit(board, network, target)
    except FoldingError as error:
        raise BoardError(refused) from error
    if found is None and least > target:
        raise BoardError(refused)
    return (found or best).folding


def fold_to(board: Board, network: Network, fps: float | None, mhz: float) -> Folding:
    """The fastest folding that `board` holds, or the smallest for `fps` images a second at `mhz`; BoardError."""
    if fps:
        return for_rate(board, network, fps, mhz)
    return fastest(board, network).folding


def tables(board: Board, network: Network, folding: Folding) -> tuple[Table, Table]:
    """Stage by stage, and in all."""
    needed, entries = need(board, network, folding), rows(network, folding)
    used = {name: needed[name] - sum(row[name] for row in entries) for name in ("lut", "ff", "ebr", "dsp")}
    return stage_table(network, entries, Cost(**used)), total_table(board, needed)


def write(board: Board, network: Network, folding: Folding, mhz: float, folder: Path) -> dict[str, Any]:
    """Write folding.json and fold.json into `folder`; returns the content of the latter."""
    entries, least = rows(network, folding), max(interval(network, folding).values())
    folding.save(folder / "folding.json")
    figures = {"network": network.name, "board": board.name, "mhz": mhz, "interval_cycles": least,
               "lanes": sum(row["lanes"] for row in entries if row["arithmetic"] == "lanes"),
               "images_per_s": round(mhz * 1e6 / least), "estimated": need(board, network, folding),
               "available": room(board), "stages": entries}  # fmt: skip
    write_json(folder / "fold.json", figures)
    return figures
