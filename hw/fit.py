"""Cost model against synthesis: `python -m hw.fit` maps (network, folding) points and compares block by block.

Every point is synthesised twice: flattened, as a bitstream is, and with its hierarchy kept, which says what each block
takes. The constants of hw.cost were fitted to the block counts of the points in SEEN; those in UNSEEN only check them.
Finished points are kept in build/cost by the hash of their Verilog. Writes build/cost.json.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hw.accelerator import Accelerator
from hw.cost import Cost, network_cost
from hw.folding import Folding, interval
from hw.resources import ECP5_85, SynthesisError, count, synthesise
from hw.solve import solve
from hw.verilog import write
from model.files import write_json
from model.manifest import Network, find, load

__all__ = ["SEEN", "UNSEEN", "Point", "blocks", "main"]


@dataclass(frozen=True)
class Point:
    """A network of the zoo, folded to at most `target` cycles an image."""

    net: str
    target: int

    @property
    def name(self) -> str:
        return f"{self.net}-{self.target}"


SEEN = (
    *(Point("digits-w1a2", target) for target in (500, 2_000, 8_000, 40_000)),
    Point("resnet20-w1a2", 20_000),
    Point("resnet20-w1a2", 60_000),
)
UNSEEN = (Point("digits-w1a2", 4_000), Point("resnet20-w1a2", 10_500))


def blocks(names: Mapping[str, object], modules: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Cells of each accelerator block in `names`, those of the modules inside it included; "" is what is left over.

    `modules` is yosys' statistics of a design with its hierarchy: module "top.dut.<block>.<part>" and its cells.
    """
    found: dict[str, dict[str, int]] = {name: {} for name in ("", *names)}
    for module, cells in modules.items():
        path = module.lstrip("\\").split(".")
        owner = next((part for part in path if part in names), "")
        for cell, number in cells.items():
            if not cell.startswith(("$", "top")):
                found[owner][cell] = found[owner].get(cell, 0) + number
    return found


def measure(point: Point, network: Network, folding: Folding, folder: Path) -> tuple[Cost, dict[str, Cost]]:
    """Flattened totals, and counts by block, of one point; synthesised only if its Verilog is new."""
    top = write(network, folding, folder)
    digest = hashlib.sha256(top.read_bytes()).hexdigest()
    kept = folder / "counts.json"
    if kept.exists():
        known = json.loads(kept.read_text())
        if known["verilog"] == digest:
            return Cost(**known["total"]), {name: Cost(**cost) for name, cost in known["blocks"].items()}
    total = Cost(**count(ECP5_85, synthesise(top, ECP5_85, folder)))
    modules = synthesise_hierarchy(top, folder / "hierarchy")
    names = Accelerator(network, folding).blocks
    parts = {name: Cost(**count(ECP5_85, cells)) for name, cells in blocks(names, modules).items()}
    write_json(
        kept,
        {"verilog": digest, "total": asdict(total), "blocks": {name: asdict(cost) for name, cost in parts.items()}},
    )
    return total, parts


def synthesise_hierarchy(verilog: Path, folder: Path) -> dict[str, dict[str, int]]:
    """Cells by module of `verilog`, its hierarchy kept."""
    synthesise(verilog, replace(ECP5_85, synthesis=f"{ECP5_85.synthesis} -noflatten"), folder)
    content = json.loads((folder / "stat.json").read_text())
    return {name: module["num_cells_by_type"] for name, module in content["modules"].items()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hw.fit", description="Compare the cost model with synthesis.")
    parser.add_argument("--points", type=int, help="only the first so many points")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140)
    table = Table(title="cost model against synthesis (estimated / synthesised)")
    for column in ("point", "cycles", "LUT", "", "FF", "", "EBR", "DSP"):
        table.add_column(column, justify="left" if column == "point" else "right")
    rows, worst = [], 0.0
    for point in (*SEEN, *UNSEEN)[: options.points]:
        network = load(find(point.net))
        folding = solve(network, point.target)
        with console.status(f"{point.name}: synthesis"):
            try:
                total, parts = measure(point, network, folding, Path("build/cost") / point.name)
            except SynthesisError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
        costs = network_cost(network, folding)
        estimate = sum(costs.values(), Cost())
        off = {name: getattr(estimate, name) / getattr(total, name) - 1 for name in ("lut", "ff")}
        worst = max(worst, abs(off["lut"]))
        table.add_row(
            point.name + ("" if point in SEEN else " (unseen)"), f"{max(interval(network, folding).values()):,}",
            f"{estimate.lut:,} / {total.lut:,}", f"{100 * off['lut']:+.1f} %", f"{estimate.ff:,} / {total.ff:,}",
            f"{100 * off['ff']:+.1f} %", f"{estimate.ebr} / {total.ebr}", f"{estimate.dsp} / {total.dsp}",
        )  # fmt: skip
        rows.append(
            {"network": point.net, "target": point.target, "seen": point in SEEN, "estimated": asdict(estimate),
             "synthesised": asdict(total), "nodes": {name: asdict(cost) for name, cost in costs.items()},
             "blocks": {name: asdict(cost) for name, cost in parts.items()}}
        )  # fmt: skip
    console.print(table)
    write_json(Path("build/cost.json"), rows)
    print(f"worst LUT estimate {100 * worst:.1f} % off; block by block in build/cost.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
