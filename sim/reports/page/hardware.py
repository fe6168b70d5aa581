"""A bitstream's figures beside the network's: resources, clock, and the slowest path of nextpnr's report."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from popstream.sim.reports.page.measured import Measured, read_json

__all__ = ["board_figures", "critical_path"]

RESOURCES = ("lut", "ff", "ebr", "dsp")
TOLERANCE = 0.002  # nextpnr rounds a clock's period
KEYS = ("board", "device", "fmax_mhz", "target_mhz", "timing_met", "interval_cycles", "images_per_second", "seed",
        "seeds", "folding", "tools", "minutes", *RESOURCES, *(f"{name}_total" for name in RESOURCES))  # fmt: skip
MAPPED = re.compile(r"_(?:TRELLIS|LUT[1-6]|CCU2C|PFUMX|L6MUX21|MULT|DP16KD|SB_|ALU|DFF)")
NAMES = {"clk-to-q": "register", "source": "register", "logic": "logic", "routing": "routing", "setup": "setup"}


def signal(cell: str) -> str:
    """The signal that a cell is named after, without what synthesis put behind: which cells it goes through."""
    return MAPPED.split(cell)[0]


def step(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a path: what it is, how long it takes, and from where to where."""
    begin, end = part.get("from", {}), part.get("to", {})
    return {
        "kind": NAMES.get(part["type"], part["type"]),
        "ns": round(float(part["delay"]), 3),
        "from": signal(begin.get("cell", "")),
        "to": signal(end.get("cell", "")),
        "cells": [begin.get("cell", ""), end.get("cell", "")],
        "tiles": sum(abs(a - b) for a, b in zip(begin.get("loc", []), end.get("loc", []), strict=False)),
    }


def critical_path(report: Mapping[str, Any], mhz: float) -> dict[str, Any] | None:
    """The slowest path between two edges of the clock that was constrained to `mhz`; None if nextpnr names none."""
    ours = [name for name, clock in report.get("fmax", {}).items()
            if abs(clock["constraint"] - mhz) < TOLERANCE * mhz]  # fmt: skip
    found = []
    for path in report.get("critical_paths", []):
        edges = {path["from"].partition(" ")[2], path["to"].partition(" ")[2]}
        if len(edges) == 1 and edges <= set(ours):
            parts = [step(part) for part in path["path"]]
            found.append(dict(clock=edges.pop(), ns=round(sum(part["ns"] for part in parts), 3), steps=parts))
    if not found:
        return None
    longest = max(found, key=lambda path: path["ns"])
    kinds = list(dict.fromkeys(part["kind"] for part in longest["steps"]))
    shares = {kind: round(sum(part["ns"] for part in longest["steps"] if part["kind"] == kind), 3) for kind in kinds}
    return longest | {"by_kind": shares}


def chosen(built: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Of several boards the one with the most images a second, timing met first."""
    return max(built, key=lambda name: (built[name]["timing_met"], built[name]["images_per_second"]), default=None)


def board_figures(measured: Measured, board: str | None) -> dict[str, Any] | None:
    """The part "board" of report.json: of `board`, or of the fastest one built; None where none is.

    The rate is the clock that was built for over the interval that is expected, or, where `make bench` counted the
    interval in simulation, the clock reached over that.
    """
    built = {name: figures for name, figures in measured.boards().items() if set(KEYS) <= figures.keys()}
    name = board or chosen(built)
    if name is None or name not in built:
        given = f"BOARD={board or '...'}"
        what = f"clock, critical path and resources on {board}" if board else "clock, critical path and resources"
        measured.miss("board", what, "no bitstream of this network is built", measured.make("bitstream", given))
        return None
    figures = built[name]
    report = read_json(measured.folder / name / f"seed{figures['seed']}" / "report.json")
    bench = measured.bench(name)
    kept = {key: figures[key] for key in KEYS if key != "folding"}
    return kept | {
        "folding": figures["folding"],
        "path": None if report is None else critical_path(report, figures["target_mhz"]),
        "bench": bench and {key: bench[key] for key in ("interval_cycles", "latency_us", "images_per_s", "busy")},
        "others": sorted(set(built) - {name}),
        "file": str(Path(name) / "bitstream.json"),
    }
