"""Results of a sweep beside the published ones: `popstream tables seeds-cpu`, in build/sweeps/<spec>/tables/.

Tables as Markdown (model/sweeping/tables.py), heat maps over W and A, training curves, accuracy against bits, and
accuracy against the LUTs that hw.cost.network estimates for each network's accelerator at one interval. Here because it
needs both the training's results and the hardware's cost.
"""

import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from popstream.hw.cost.network import network_cost
from popstream.hw.folding.folding import FoldingError
from popstream.hw.solver.solve import solve
from popstream.model.files import write_json, write_whole
from popstream.model.manifest import load
from popstream.model.sweeping.figures import against_bits, against_luts, heat_maps, training_curves
from popstream.model.sweeping.tables import Rows, load_runs, mean, points, tables


def luts_of(folder: Path, interval: int) -> int | None:
    """LUT4 that the cost model estimates for the manifest in `folder`, folded for `interval`; None without manifest."""
    if not (folder / "network.json").exists():
        return None
    network = load(folder)
    try:
        return round(sum(cost.lut for cost in network_cost(network, solve(network, interval)).values()))
    except FoldingError:
        return None


def accuracy_and_luts(content: dict[str, Any], folder: Path, interval: int) -> list[tuple[str, int, float]]:
    """(point, LUT4, mean frozen top-1) of every point that has integers; the LUTs are those of its first seed."""
    found = []
    for name, rows in tqdm(points(content["runs"]).items(), desc="LUTs", leave=False, disable=not sys.stderr.isatty()):
        top1 = mean(rows, "top1_frozen")
        luts = None if top1 is None else luts_of(folder / rows[0]["run"] / "manifest", interval)
        if luts is not None and top1 is not None:
            found.append((name, luts, top1))
    return found


def curves(rows: Rows, out: Path) -> list[Path]:
    """Training curves: a figure a group of several points, and one of all the other points."""
    several = [group for group in dict.fromkeys(r["group"] for r in rows)
               if len(points([r for r in rows if r["group"] == group])) > 1]  # fmt: skip
    chosen = {f"curves-{group}": [r for r in rows if r["group"] == group] for group in several}
    chosen["curves"] = [r for r in rows if r["group"] not in several]
    for name, some in chosen.items():
        if some:
            training_curves(some, out / f"{name}.png")
    return [out / f"{name}.png" for name, some in chosen.items() if some]


def write_all(folder: Path, interval: int) -> list[Path]:
    """Every table and figure that the sweep in `folder` has runs for; returns the files."""
    content = load_runs(folder)
    rows, out = content["runs"], folder / "tables"
    page, written = tables(content), []
    for activation in ("relu", "mish"):
        if any(row["group"] == f"grid-{activation}" for row in rows):
            heat_maps(rows, activation, out / f"heat-{activation}.png")
            written.append(out / f"heat-{activation}.png")
    if written:
        against_bits(rows, out / "bits.png")
        written.append(out / "bits.png")
    written += curves(rows, out)
    if found := accuracy_and_luts(content, folder, interval):
        against_luts(found, f"Accelerators folded for {interval:,} cycles an image", out / "luts.png")
        written.append(out / "luts.png")
        lines = "".join(f"| {name} | {luts:,} | {top1:.2f} |\n" for name, luts, top1 in found)
        page += f"## LUTs, estimated at {interval:,} cycles an image\n\n"
        page += f"| network | LUT4 | frozen % |\n|---|---|---|\n{lines}"
    write_whole(out / "tables.md", page.encode())
    write_json(out / "tables.json", {"runs": rows, "luts": [dict(zip(("network", "lut", "top1_frozen"), f, strict=True))
                                                            for f in found]})  # fmt: skip
    return [out / "tables.md", *written]
