"""The compute unit by itself: `popstream unit` places and routes MatVec units out of context on a LFE5U-85F.

Each unit gets its window from a shift register of one pin and hands its output to registers before pins, so that pins
do not limit the clock. These registers take no LUT, and are taken off the flip-flops; every LUT counted is the unit's:
sequencing, selection of a chunk, weights, lanes, accumulators and output FIFO.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.back import verilog
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from rich.table import Table

from popstream.hw.synthesis.mapped import trim_carries
from popstream.hw.synthesis.yosys import ECP5_85, SynthesisError, find_tool, synthesise
from popstream.hw.unit.matvec import MatVec
from popstream.model.files import full_disk
from popstream.model.machine import ending_with_us

__all__ = ["BLOCKS", "SEEDS", "UNITS", "Harness", "Unit", "best", "table"]

ROUTED = {"comb": "TRELLIS_COMB", "ff": "TRELLIS_FF", "ebr": "DP16KD", "dsp": "MULT18X18D"}
SEEDS = 5
PINS = 'LOCATE COMP "clk" SITE "G2";\n'  # from most pins no clock can be had; the others are placed freely
LIMIT_MINUTES = 15  # of place and route of one unit


@dataclass(frozen=True)
class Unit:
    """A unit of 2-bit codes: weights [channels, products] at random (the seed is 0), its folding, and the MHz that
    place and route aims at: where they are out of reach, the router rips up and tries again for ten minutes, to gain
    little.
    """

    products: int
    channels: int
    simd: int
    pe: int
    planes: int
    lanes: int
    storage: str
    mhz: float = 160.0
    weight_bits: int = 1
    kind: str = "odd"

    @property
    def bits(self) -> int:
        """One-bit lanes."""
        return self.simd * self.pe * self.planes

    def build(self) -> MatVec:
        weights = np.random.default_rng(0).integers(0, 2**self.weight_bits, (self.channels, self.products))
        return MatVec(
            weights, self.weight_bits, 2, self.simd, self.pe, storage=self.storage, planes=self.planes,
            lanes=self.lanes, kind=self.kind,
        )  # fmt: skip


UNITS = {
    "144x20": Unit(288, 40, 144, 10, 2, 5, "block"),
    "conv16": Unit(144, 16, 48, 8, 2, 4, "block"),
    "conv16-logic": Unit(144, 16, 48, 8, 2, 4, "logic", 130.0),
    "conv32": Unit(288, 32, 96, 4, 2, 2, "block"),
    "conv64": Unit(576, 64, 192, 2, 2, 1, "block"),
    "conv16-w2": Unit(144, 16, 48, 8, 2, 4, "block", weight_bits=2),
    "conv16-signed": Unit(144, 16, 48, 8, 2, 4, "block", weight_bits=2, kind="signed"),
    "conv16-w2-logic": Unit(144, 16, 48, 8, 2, 4, "logic", 130.0, weight_bits=2),
    "conv16-signed-logic": Unit(144, 16, 48, 8, 2, 4, "logic", 130.0, weight_bits=2, kind="signed"),
}
"""144 codes by 20 lanes (10 channels, 2 planes), the folds of ResNet-20's three stages, and one of them for weights of
two bits, odd and signed."""

BLOCKS = (
    ("BARVINN vvp n=64, synthesised with the same tools", 64, 589 + 2 * 16, 96, 199),
    ("BARVINN mvp 16x16, synthesised with the same tools", 256, 1906 + 2 * 48, 864, 193),
    ("FINN sliding window, 16 ch, 34x34, 2 b, synthesised with the same tools", None, 237 + 2 * 63, 152, 89),
    ("FINN memstream 1152x64, synthesised with the same tools", None, 567 + 2 * 6, 820, 111),
)
"""Others' blocks: source, one-bit lanes, LUT4 with two for each CCU2C, flip-flops, MHz."""


class Ecp5:
    """Stands for a platform: blocks ask it for its device alone."""

    device = ECP5_85.name


class Harness(wiring.Component):
    """`unit` between registers. Its stream contract is not kept (the window moves while it waits): for timing only."""

    def __init__(self, unit: MatVec) -> None:
        self.unit = unit
        self.window = Signal(len(Value.cast(unit.i.payload)))
        self.flip_flops = len(self.window) + len(Value.cast(unit.o.payload)) + 4
        super().__init__(
            {
                "data": In(1),
                "valid": In(1),
                "ready": Out(1),
                "o": Out(len(Value.cast(unit.o.payload))),
                "o_valid": Out(1),
                "o_ready": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.unit = unit = self.unit
        valid, ready = Signal(), Signal()
        m.d.sync += [
            self.window.eq(Cat(self.data, self.window)),
            valid.eq(self.valid),
            self.ready.eq(unit.i.ready),
            self.o.eq(Value.cast(unit.o.payload)),
            self.o_valid.eq(unit.o.valid),
            ready.eq(self.o_ready),
        ]
        m.d.comb += [
            Value.cast(unit.i.payload).eq(self.window),
            unit.i.valid.eq(valid),
            unit.o.ready.eq(ready),
        ]
        return m


def route(name: str, folder: Path, seed: int, mhz: float) -> dict[str, Any]:
    """nextpnr's report of synth.json in `folder` at one seed; SynthesisError if it fails, or never ends."""
    report = folder / f"seed{seed}.json"
    report.unlink(missing_ok=True)
    log = f"route{seed}.log"
    command = [
        find_tool("nextpnr-ecp5"), "--85k", "--package", "CABGA381", "--speed", "6", "--json", "synth.json",
        "--textcfg", "unit.config", "--lpf", "unit.lpf", "--lpf-allow-unconstrained", "--placer", "heap",
        "--router", "router2",
        "--tmg-ripup",  # without, a net now and then takes a way of 8 ns round a crowded spot
        "--seed", str(seed), "--freq", f"{mhz}", "--timing-allow-fail", "--report", report.name,
        "--quiet", "--log", log,
    ]  # fmt: skip
    quiet = subprocess.DEVNULL
    try:
        status = subprocess.run(
            ending_with_us(command), cwd=folder, stdout=quiet, stderr=quiet, check=False, timeout=60 * LIMIT_MINUTES
        )
    except subprocess.TimeoutExpired as error:
        raise SynthesisError(
            f"{name}: nextpnr-ecp5 was not done in {LIMIT_MINUTES} minutes; where overused wires in {folder}/{log} "
            "no longer fall, the unit is too dense to route"
        ) from error
    if full := full_disk(folder):
        raise SynthesisError(f"{name}: nextpnr-ecp5 ended on {full}")
    if status.returncode or not report.exists():
        raise SynthesisError(
            f"{name}: nextpnr-ecp5 failed with status {status.returncode}; the reason ends {folder}/{log}"
        )
    return json.loads(report.read_text())


def best(
    name: str, unit: Unit, folder: Path, seeds: Sequence[int], mhz: float | None, routed: Callable[[int], None]
) -> dict[str, Any]:
    """Figures of `unit` after synthesis, and place and route by each of `seeds`: those of the fastest, and all clocks.

    `mhz` is what place and route aims at, by default the unit's own. `routed` is called with each seed before its turn.
    SynthesisError if a tool fails.
    """
    mhz = mhz or unit.mhz
    folder.mkdir(parents=True, exist_ok=True)
    began = time.time()
    harness = Harness(unit.build())
    source = folder / "unit.v"
    source.write_text(verilog.convert(harness, name="top", platform=Ecp5()))
    (folder / "unit.lpf").write_text(PINS)
    synthesise(source, ECP5_85, folder)
    trim_carries(folder / "synth.json")
    clocks, reports = {}, {}
    for seed in seeds:
        routed(seed)
        reports[seed] = route(name, folder, seed, mhz)
        clocks[seed] = round(min(clock["achieved"] for clock in reports[seed]["fmax"].values()), 1)
    seed = max(clocks, key=clocks.__getitem__)
    used = {resource: reports[seed]["utilization"][cell]["used"] for resource, cell in ROUTED.items()}
    used["ff"] -= harness.flip_flops
    return {
        "unit": name, "weight_bits": unit.weight_bits, "weights": unit.kind,
        "simd": unit.simd, "pe": unit.pe, "planes": unit.planes, "lanes": unit.bits,
        "storage": unit.storage, "cycles": harness.unit.cycles, "latency": harness.unit.latency, **used,
        "harness_ff": harness.flip_flops, "comb_per_lane": round(used["comb"] / unit.bits, 3),
        "ff_per_lane": round(used["ff"] / unit.bits, 3), "mhz_aimed": mhz, "mhz": clocks[seed], "seed": seed,
        "mhz_by_seed": clocks, "minutes": round((time.time() - began) / 60, 2),
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> Table:
    """The units beside others' blocks."""
    result = Table(
        title="Compute units of 2-bit codes, placed and routed out of context; others' blocks: LUT4 + 2 CCU2C"
    )
    for column in ("block", "lanes", "LUT", "FF", "EBR", "LUT/lane", "FF/lane", "MHz", "by seed"):
        result.add_column(column, justify="left" if column == "block" else "right")
    for row in rows:
        bits = f"W{row['weight_bits']} {row['weights']} in {row['storage']}"
        name = f"{row['unit']}: {row['simd']} codes x {row['pe']} channels x {row['planes']} planes, {bits}"
        cells = (row["lanes"], row["comb"], row["ff"], row["ebr"], row["comb_per_lane"], row["ff_per_lane"], row["mhz"])
        result.add_row(
            name, *(f"{cell:,}" for cell in cells), " ".join(f"{mhz:.0f}" for mhz in row["mhz_by_seed"].values())
        )
    for source, lanes, lut, ff, mhz in BLOCKS:
        shares = [f"{number / lanes:.2f}" if lanes else "-" for number in (lut, ff)]
        result.add_row(source, str(lanes or "-"), f"{lut:,}", f"{ff:,}", "-", *shares, str(mhz), "-")
    return result
