"""Cost model against synthesis: `popstream cost` maps (network, folding) points to an LFE5U-85F and compares totals.

Each point is an accelerator as a bitstream has it: built for an ECP5, without a reset net, flattened. The constants of
hw.cost.blocks and hw.cost.unit were set by the points of SEEN and by blocks synthesised alone; UNSEEN only checks them.
A point is synthesised again only if its design has changed. Writes build/cost/cost.json, and fails where a LUT or
flip-flop estimate is more than TOLERANCE off, or a block RAM or multiplier.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal, Value
from rich.console import Console
from rich.table import Table

from popstream.hw.accelerator import Accelerator
from popstream.hw.cost.network import Cost, network_parts
from popstream.hw.folding.fold import Share
from popstream.hw.folding.folding import Fold, Folding, interval
from popstream.hw.folding.outline import units
from popstream.hw.synthesis.alone import Ecp5
from popstream.hw.synthesis.collisions import heed_promises
from popstream.hw.synthesis.yosys import ECP5_85, count, synthesise
from popstream.model.files import write_json, write_whole
from popstream.model.manifest import Network

__all__ = ["SEEN", "UNSEEN", "Alone", "Point", "compare", "fits", "measure", "report", "run"]

FOLDER = Path("build/cost")
TOLERANCE = 0.1


@dataclass(frozen=True)
class Point:
    """A network of the zoo, folded by the solver to at most `target` cycles an image.

    share : all convs behind the first in one stage of this size, whose layers are not named; the others within
        `target`.
    """

    net: str
    target: int
    share: Share | None = None

    @property
    def name(self) -> str:
        size = astuple(self.share)[1:] if self.share else ()
        return "-".join(map(str, (self.net, self.target, *size)))


SEEN = (
    *(Point("digits-w1a2", target) for target in (500, 1_000, 2_000, 8_000)),
    Point("digits-react-w1a1", 6_000),
    *(Point("resnet20-w1a2", target) for target in (20_000, 49_152)),
    Point("digits-w1a2", 4_000, Share((), 8, 8, 2, 2, 4)),
    Point("digits-react-w1a1", 4_000, Share((), 4, 8, 4, 1, 4, levels=2)),
    Point("resnet20-w1a2", 30_000, Share((), 16, 16, 2, 2, 4, levels=2)),
    Point("resnet20-w2a2", 60_000, Share((), 8, 16, 4, 1, 8)),
)
UNSEEN = (
    Point("digits-w1a2", 4_000), Point("digits-react-w1a1", 1_000), Point("resnet20-w1a2", 9_000),
    Point("digits-w1a2", 9_000, Share((), 4, 4, 4, 1, 2, levels=2)),
    Point("resnet20-w1a2", 14_000, Share((), 16, 16, 4, 2, 8, True, 2)),
)  # fmt: skip


class Alone(Elaboratable):
    """`accelerator` as a top: its streams are pins, and its clock domain has no reset, as on an ECP5 board."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.clock = Signal()
        i, o = accelerator.i, accelerator.o
        self.ports = [self.clock, *(signal for s in (i, o) for signal in (Value.cast(s.payload), s.valid, s.ready))]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal("sync").eq(self.clock)
        m.submodules.accelerator = self.accelerator
        return m


def measure(network: Network, folding: Mapping[str, Fold], folder: Path) -> Cost:
    """What yosys makes of the accelerator in `folder`; what it made before, if the design is still the same."""
    top = Alone(Accelerator(network, folding))
    text = heed_promises(rtlil.convert(top, name="top", platform=Ecp5(), ports=top.ports, emit_src=False))
    digest = hashlib.sha256(f"{ECP5_85.synthesis}\n{text}".encode()).hexdigest()
    kept = folder / "counts.json"
    if kept.exists():
        known = json.loads(kept.read_text())
        if known["design"] == digest:
            return Cost(**known["total"])
    write_whole(folder / "top.il", text.encode())
    began = time.time()
    total = Cost(**count(ECP5_85, synthesise(folder / "top.il", ECP5_85, folder)))
    write_json(kept, {"design": digest, "total": asdict(total), "minutes": round((time.time() - began) / 60, 2)})
    return total


def compare(estimate: Cost, total: Cost) -> dict[str, float]:
    """Shares by which LUTs and flip-flops are overestimated, and numbers by which block RAMs and multipliers are."""
    off = {name: getattr(estimate, name) / getattr(total, name) - 1 for name in ("lut", "ff")}
    return off | {name: getattr(estimate, name) - getattr(total, name) for name in ("ebr", "dsp")}


def fits(off: Mapping[str, float]) -> bool:
    """Whether an estimate is good enough."""
    return max(abs(off["lut"]), abs(off["ff"])) <= TOLERANCE and off["ebr"] == off["dsp"] == 0


def run(point: Point, network: Network, folding: Folding, console: Console) -> dict[str, Any]:
    """The row of one point, its network folded by the solver. SynthesisError if yosys is missing or fails."""
    folder = FOLDER / point.name
    with console.status(f"{point.name}: synthesis (log: {folder / 'synth.log'})"):
        total = measure(network, folding, folder)
    parts = network_parts(network, folding)
    costs = {name: sum(some.values(), Cost()) for name, some in parts.items()}
    kinds: dict[str, Cost] = {}
    for kind, cost in (pair for some in parts.values() for pair in some.items()):
        kinds[kind] = kinds.get(kind, Cost()) + cost
    estimate = sum(costs.values(), Cost())
    return {
        "network": point.net, "target": point.target, "share": point.share and point.share.to_dict(),
        "interval_cycles": max(interval(network, folding).values()),
        "seen": point in SEEN, "estimated": asdict(estimate), "synthesised": asdict(total),
        "off": compare(estimate, total), "nodes": {name: asdict(cost) for name, cost in costs.items()},
        "kinds": {kind: asdict(cost) for kind, cost in kinds.items()},
        "lanes": sum(fold.lanes for fold in units(network, folding).values()), "folding": folding.to_dict(),
    }  # fmt: skip


def report(rows: list[dict[str, Any]]) -> Table:
    """Estimated and synthesised side by side."""
    table = Table(title="cost model against synthesis for an LFE5U-85F (estimated / synthesised)")
    for column in ("network", "cycles an image", "LUT", "", "FF", "", "EBR", "DSP"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        guess, found, off = row["estimated"], row["synthesised"], row["off"]
        table.add_row(
            row["network"] + (", shared" if row["share"] else "") + ("" if row["seen"] else " (unseen)"),
            f"{row['interval_cycles']:,}",
            f"{guess['lut']:,} / {found['lut']:,}", f"{100 * off['lut']:+.1f} %",
            f"{guess['ff']:,} / {found['ff']:,}", f"{100 * off['ff']:+.1f} %",
            f"{guess['ebr']} / {found['ebr']}", f"{guess['dsp']} / {found['dsp']}",
        )  # fmt: skip
    return table
