# amaranth: UnusedElaboratable=no
"""How cost grows with the bits: `popstream bits digits-w1a2`, in build/<recipe>/bits.json and bits.png.

One folding (SIMD and PE of every layer; in those whose bits vary, one plane of activations at a time) for untrained
networks of all W and A asked for, from 2 bits on with odd and with signed weights. A bit-serial unit then takes W*A
times the cycles on the same lanes: interval * LUT would be proportional to W*A if nothing but the lanes counted. LUTs
are of a synthesis for the ECP5, intervals are simulated and the logits compared with the golden model's. What departs
from proportional is told by the LUTs that the cost model sees in each kind of block.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from popstream.hw.accelerator import Accelerator
from popstream.hw.blocks.threshold import Threshold
from popstream.hw.blocks.window import Window
from popstream.hw.cost.blocks import threshold_cost, window_cost
from popstream.hw.cost.unit import matvec_cost
from popstream.hw.folding.folding import Folding, folded, interval
from popstream.hw.solver.solve import solve
from popstream.hw.synthesis.fit import measure as synthesised
from popstream.hw.unit.matvec import MatVec
from popstream.model.manifest import ManifestError, Network, load, save
from popstream.model.training.recipe import RECIPES, load_recipe
from popstream.model.training.untrained import FOLDER, name_of, untrained
from popstream.sim.reports.steady import simulate

__all__ = ["BITS", "Point", "measure", "points_of", "same_folding", "table", "varied"]

BITS = (1, 2, 4)
SIGNED = "lsq_signed"
OF_DOREFA = ("weight_scale", "standardize")  # options of that quantizer alone


class Point(NamedTuple):
    """What varies; weights: "odd", or "signed" of 2 bits and more."""

    weight_bits: int
    act_bits: int
    weights: str = "odd"


def points_of(bits: Iterable[int]) -> list[Point]:
    """All combinations, by W*A."""
    some = set(bits)
    points = [Point(w, a, kind) for w in some for a in some for kind in ("odd", "signed") if kind == "odd" or w > 1]
    return sorted(points, key=lambda point: (point.weight_bits * point.act_bits, point))


def network_of(recipe: str, point: Point) -> Network:
    """The untrained network of these bits; made once."""
    name = name_of(recipe, point.weight_bits, point.act_bits) + "-signed" * (point.weights == "signed")
    try:
        return load(FOLDER / name)
    except ManifestError:
        content = load_recipe(RECIPES / f"{recipe}.toml")
        if point.weights == "signed":
            kept = {key: value for key, value in content["network"].items() if key not in OF_DOREFA}
            content = content | {"network": kept | {"weight_quantizer": SIGNED}}
        network = untrained(name, content, {"weight_bits": point.weight_bits, "act_bits": point.act_bits})
        save(network, FOLDER / name)
        return network


def varied(networks: Iterable[Network]) -> frozenset[str]:
    """The layers whose bits are not the same in all of `networks`: neither first nor last."""
    bits: dict[str, set[tuple[int, int]]] = {}
    for network in networks:
        for node in folded(network):
            bits.setdefault(node.name, set()).add((node["weight_bits"], node["act_bits"]))
    return frozenset(name for name, found in bits.items() if len(found) > 1)


def same_folding(folding: Mapping[str, Any], network: Network, layers: Container[str]) -> Folding:
    """`folding` with all channels of a group in a beat, weights in block RAM and, in `layers`, one plane at a time."""
    entries = {
        name: fold
        if fold.arithmetic == "mac"
        else replace(fold, planes=1 if name in layers else fold.planes, out=None, storage="block")
        for name, fold in folding.items()
    }
    return Folding(entries).check(network)


def luts_by_kind(accelerator: Accelerator, total: int) -> dict[str, int]:
    """LUTs by the cost model in lanes, windows and thresholds; "stream" is what is left of the `total` synthesised."""
    kinds = {"lanes": 0, "windows": 0, "thresholds": 0}
    for block in accelerator.blocks.values():
        if isinstance(block, MatVec):
            kinds["lanes"] += matvec_cost(block.plan, block.acc_shape.width, block.storage).lut
        elif isinstance(block, Window):
            kinds["windows"] += window_cost(block.geometry, block.bits, block.lanes, block.prefetch).lut
        elif isinstance(block, Threshold):
            kinds["thresholds"] += threshold_cost(block).lut
    return kinds | {"stream": total - sum(kinds.values())}


def measure(recipe: str, points: list[Point], target: int, root: Path, console: Console) -> list[dict]:
    """A row for each of `points`; the first is the unit that the others are compared with."""
    networks = {point: network_of(recipe, point) for point in points}
    pattern, layers = solve(networks[points[0]], target), varied(networks.values())
    rows: list[dict[str, Any]] = []
    for point, network in networks.items():
        weight_bits, act_bits, weights = point
        folding = same_folding(pattern, network, layers)
        with console.status(f"W{weight_bits}A{act_bits} {weights}: synthesis"):
            total = synthesised(network, folding, root / recipe / "bits" / network.name)
        with console.status(f"W{weight_bits}A{act_bits} {weights}: simulation"):
            occupancy = simulate(network, folding, root, 2)
        row = {
            "weight_bits": weight_bits, "act_bits": act_bits, "weights": weights,
            "interval_cycles": round(occupancy.interval, 1),
            "predicted_interval_cycles": max(interval(network, folding).values()), "lanes": int(occupancy.lanes.sum()),
            **asdict(total), "lut_by_kind": luts_by_kind(Accelerator(network, folding), total.lut),
            "product": round(occupancy.interval * total.lut), "network_hash": network.hash,
        }  # fmt: skip
        bits = weight_bits * act_bits / (points[0].weight_bits * points[0].act_bits)
        row["per_bits"] = round(row["product"] / (bits * (rows[0] if rows else row)["product"]), 3)
        rows.append(row)
    return rows


def table(recipe: str, rows: list[dict[str, Any]]) -> Table:
    """The rows for a terminal; the last column would be 1 if cost were proportional to W*A."""
    shown = Table(title=f"{recipe}: one folding ({rows[0]['lanes']:,} lanes) for all W and A, untrained networks")
    kinds = list(rows[0]["lut_by_kind"])
    for column in ("W", "weights", "A", "cycles", "LUT", *kinds, "FF", "EBR", "DSP", "cycles x LUT", "over W*A"):
        shown.add_column(column, justify="right")
    for row in rows:
        cells = [row["act_bits"], round(row["interval_cycles"]), row["lut"]]
        cells += [row["lut_by_kind"][kind] for kind in kinds] + [row["ff"], row["ebr"], row["dsp"]]
        product = f"{row['product'] / 1e6:,.1f} M"
        numbers = [f"{cell:,}" for cell in cells]
        shown.add_row(str(row["weight_bits"]), row["weights"], *numbers, product, f"{row['per_bits']:.2f}")
    return shown
