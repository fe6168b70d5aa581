"""How cost grows with the bits: `python -m sim.bits digits-w1a2`, in build/<recipe>/bits.json and bits.png.

One folding (SIMD and PE of every layer, one plane of activations at a time) for untrained networks of all W and A asked
for. A bit-serial unit then takes W*A times the cycles on the same lanes: interval * LUT would be proportional to W*A if
nothing but the lanes counted. LUTs are of a synthesis for the ECP5, intervals are simulated and the logits compared
with the golden model's. What departs from proportional is told by the LUTs in each kind of block, hierarchy kept.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from rich.console import Console
from rich.table import Table

from hw.accelerator import Accelerator
from hw.fit import blocks
from hw.folding import Folding, FoldingError, interval
from hw.resources import ECP5_85, SynthesisError, count, synthesise
from hw.solve import solve
from hw.unit import Ecp5
from model.data import DataError
from model.files import write_json, write_whole
from model.manifest import ManifestError, Network, load, save
from model.recipe import RECIPES, RecipeError, load_recipe
from model.untrained import FOLDER, untrained
from sim.build import BuildError
from sim.charts import bits_chart
from sim.occupancy import TooFewImagesError
from sim.steady import MismatchError, simulate
from sim.worker import ProgramError

__all__ = ["main", "measure", "same_folding", "table"]

BITS = (1, 2, 4)
KINDS = {"lanes": ("matvec",), "windows": ("window", "buffer", "feed"), "thresholds": ("threshold",)}


def network_of(recipe: str, weight_bits: int, act_bits: int) -> Network:
    """The untrained network of these bits; made once."""
    name = f"{recipe.rsplit('-', 1)[0]}-w{weight_bits}a{act_bits}-untrained"
    try:
        return load(FOLDER / name)
    except ManifestError:
        bits = {"weight_bits": weight_bits, "act_bits": act_bits}
        network = untrained(name, load_recipe(RECIPES / f"{recipe}.toml"), bits)
        save(network, FOLDER / name)
        return network


def same_folding(folding: Mapping[str, Any], network: Network) -> Folding:
    """`folding` with one plane at a time, all channels of a group in a beat and weights in block RAM."""
    entries = {
        name: fold if fold.arithmetic == "mac" else replace(fold, planes=1, out=None, storage="block")
        for name, fold in folding.items()
    }
    return Folding(entries).check(network)


def kind_of(block: str) -> str:
    """The kind of a block of the accelerator, by the end of its name."""
    return next((kind for kind, ends in KINDS.items() if block.endswith(ends)), "stream")


def synthesised(network: Network, folding: Folding, folder: Path) -> dict[str, Any]:
    """LUT, FF, EBR, DSP, and the LUTs of each kind of block; kept in `folder` by the hash of the Verilog."""
    accelerator = Accelerator(network, folding)
    text = verilog.convert(accelerator, name="top", platform=Ecp5(), strip_internal_attrs=True)
    digest, kept = hashlib.sha256(text.encode()).hexdigest(), folder / "counts.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if known.get("verilog_sha256") == digest:
        return known
    source = folder / "top.v"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(source, text.encode())
    total = count(ECP5_85, synthesise(source, ECP5_85, folder))
    synthesise(source, replace(ECP5_85, synthesis=f"{ECP5_85.synthesis} -noflatten"), folder / "hierarchy")
    modules = json.loads((folder / "hierarchy" / "stat.json").read_text())["modules"]
    cells = {name: module["num_cells_by_type"] for name, module in modules.items()}
    kinds = dict.fromkeys((*KINDS, "stream"), 0)
    for name, some in blocks(accelerator.blocks, cells).items():
        kinds[kind_of(name)] += count(ECP5_85, some)["lut"]
    result = {"verilog_sha256": digest, **total, "lut_by_kind": kinds}
    write_json(kept, result)
    return result


def measure(recipe: str, points: list[tuple[int, int]], target: int, root: Path, console: Console) -> list[dict]:
    """A row for each (W, A) of `points`; the first is the unit that the others are compared with."""
    first = network_of(recipe, *points[0])
    pattern = solve(first, target)
    rows: list[dict[str, Any]] = []
    for weight_bits, act_bits in points:
        network = network_of(recipe, weight_bits, act_bits)
        folding = same_folding(pattern, network)
        with console.status(f"W{weight_bits}A{act_bits}: synthesis"):
            used = synthesised(network, folding, root / recipe / "bits" / network.name)
        with console.status(f"W{weight_bits}A{act_bits}: simulation"):
            occupancy = simulate(network, folding, root, 2)
        row = {
            "weight_bits": weight_bits, "act_bits": act_bits, "interval_cycles": round(occupancy.interval, 1),
            "predicted_interval_cycles": max(interval(network, folding).values()), "lanes": int(occupancy.lanes.sum()),
            **{key: value for key, value in used.items() if key != "verilog_sha256"}, "network_hash": network.hash,
            "product": round(occupancy.interval * used["lut"]),
        }  # fmt: skip
        bits = weight_bits * act_bits / (points[0][0] * points[0][1])
        row["per_bits"] = round(row["product"] / (bits * (rows[0] if rows else row)["product"]), 3)
        rows.append(row)
    return rows


def table(recipe: str, rows: list[dict[str, Any]]) -> Table:
    """The rows for a terminal; the last column would be 1 if cost were proportional to W*A."""
    shown = Table(title=f"{recipe}: one folding ({rows[0]['lanes']:,} lanes) for all W and A, untrained networks")
    kinds = list(rows[0]["lut_by_kind"])
    for column in ("W", "A", "cycles", "LUT", *kinds, "FF", "EBR", "DSP", "cycles x LUT", "over W*A"):
        shown.add_column(column, justify="right")
    for row in rows:
        cells = [row["weight_bits"], row["act_bits"], round(row["interval_cycles"]), row["lut"]]
        cells += [row["lut_by_kind"][kind] for kind in kinds] + [row["ff"], row["ebr"], row["dsp"]]
        shown.add_row(*(f"{cell:,}" for cell in cells), f"{row['product'] / 1e6:,.1f} M", f"{row['per_bits']:.2f}")
    return shown


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sim.bits", description="Interval and LUT for several W and A.")
    parser.add_argument("recipe", help="a recipe of model/recipes, by name")
    parser.add_argument("--bits", type=int, nargs="+", default=BITS, help="W and A to combine (%(default)s)")
    parser.add_argument("--interval", type=int, default=5_000, help="cycles of the first point (%(default)s)")
    parser.add_argument("--root", type=Path, default=Path("build"), help="folder to write to (%(default)s)")
    options, console = parser.parse_args(arguments), Console(width=None if sys.stdout.isatty() else 140)
    if min(options.bits) < 1 or max(options.bits) > 8:
        parser.error(f"--bits must be 1 to 8, not {' '.join(map(str, options.bits))}")
    points = sorted(product(set(options.bits), repeat=2), key=lambda point: (point[0] * point[1], point))
    try:
        rows = measure(options.recipe, points, options.interval, options.root, console)
    except (ManifestError, RecipeError, DataError, FoldingError, SynthesisError, BuildError, ProgramError,
            TooFewImagesError, MismatchError, OSError) as error:  # fmt: skip
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.print(table(options.recipe, rows))
    folder = options.root / options.recipe
    write_json(folder / "bits.json", {"recipe": options.recipe, "interval": options.interval, "rows": rows})
    bits_chart(folder / "bits.png", options.recipe, rows)
    print(f"{folder / 'bits.json'}, bits.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
