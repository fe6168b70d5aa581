"""Real images through the simulated accelerator, every value compared with the golden model: `popstream sim`.

Writes build/<net>/sim.json (sim-fault.json with a fault).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from popstream.model.files import write_json
from popstream.model.manifest import Network
from popstream.model.progress import stage
from popstream.sim.bench import view
from popstream.sim.bench.run import Result
from popstream.sim.golden import fault as faults
from popstream.sim.rtl.compare import Divergence, Report, compare
from popstream.sim.rtl.images import ROOT, Images, percent, processes_for
from popstream.sim.rtl.rtl import RtlSimulator

__all__ = ["TAP_IMAGES", "simulate_and_compare", "table"]

TAP_IMAGES = 50  # 600,000 values each for ResNet-20


def stream(simulator: RtlSimulator, codes: np.ndarray, **options: Any) -> Result:
    """Simulate with a progress bar."""
    with tqdm(total=len(codes), desc="RTL", unit="image", leave=False, disable=None) as bar:
        return simulator.simulate(codes, progress=lambda done: bar.update(done - bar.n), **options)


def locate(network: Network, simulator: RtlSimulator, codes: np.ndarray, report: Report, console: Console) -> Report:
    """If the divergence is known by logits only, simulate the first wrong image alone with its nodes recorded."""
    place = report.divergence
    if report.mismatches == 0 or not isinstance(place, Divergence) or place.op not in ("linear", "argmax"):
        return report
    first = int(report.wrong_images[0])
    alone = codes[first : first + 1]
    again = compare(network, alone, stream(simulator, alone, tap_images=1))
    found = again.divergence
    if found is None:
        console.print(f"Image {first} alone is right: what came before it matters; --taps {first + 1} records it all")
        return report
    if isinstance(found, Divergence):
        found = Divergence(**{**vars(found), "image": first})
    return Report(**{**vars(report), "divergence": found})


def figures(
    network: Network, images: Images, result: Result, report: Report, simulator: RtlSimulator
) -> dict[str, Any]:
    """The content of sim.json."""
    return {
        "network": network.name,
        "images": report.images,
        "images_from": images.source,
        "mismatches": report.mismatches,
        "top1_golden": images.top1(report.golden_labels),
        "top1_rtl": images.top1(result.labels),
        "interval_cycles": result.interval,
        "latency_cycles": result.latency,
        "predicted_interval_cycles": simulator.predicted,
        "values_compared": report.values,
        "divergence": None if report.divergence is None else str(report.divergence),
        "cycles": result.cycles,
        "seconds": round(result.seconds, 3),
        "cpu_seconds": round(result.cpu, 3),
        "cycles_per_second": round(result.cycles / result.cpu),
        "python_percent": round(100 * result.python / result.cpu, 2),
        "network_hash": network.hash,
    }


def table(content: dict[str, Any]) -> Table:
    """What the figures say, for a person."""
    interval, tapped = content["interval_cycles"], content["tap_images"]
    rows = [
        ("images", f"{content['images']} ({content['images_from']}), {tapped} of them node by node"),
        ("values compared", f"{content['values_compared']:,}"),
        ("mismatching images", str(content["mismatches"])),
        ("top-1, golden", percent(content["top1_golden"])),
        ("top-1, RTL", percent(content["top1_rtl"])),
        ("interval", "-" if interval is None else f"{interval:,.1f} cycles an image"),
        ("interval predicted", f"{content['predicted_interval_cycles']:,} cycles an image"),
        ("latency", f"{content['latency_cycles']:,} cycles"),
        ("simulated", f"{content['cycles']:,} cycles, {content['cycles_per_second']:,} a second of one core"),
    ]
    shown = Table("", content["network"], title="RTL against golden model")
    for row in rows:
        shown.add_row(*row)
    return shown


def simulate_and_compare(
    network: Network,
    images: Images,
    folding: Mapping[str, Any],
    console: Console,
    *,
    taps: int = TAP_IMAGES,
    stall: float = 0.0,
    seed: int = 0,
    fault: str | None = None,
    waves: bool = False,
    processes: int | None = None,
    optimize: int = 1,
    root: Path = ROOT,
) -> dict[str, Any]:
    """Stream the images through the accelerator, compare with golden, write sim.json; returns its content.

    At most `taps` images are compared node by node; `fault` is flipped in the hardware only. SimulationError where the
    accelerator hangs, BuildError, FaultError.
    """
    codes = images.codes
    faulty = faults.apply(network, faults.parse(fault)) if fault else network
    with stage(console, "the accelerator", maybe_done=True) as progress:
        simulator = RtlSimulator(faulty, folding, waves=waves, optimize=optimize, root=root, progress=progress)
    folder = root / network.name
    path = folder / "waves.fst" if waves else None
    tapped = min(taps, len(codes))
    settings = dict(stall=stall, seed=seed, processes=processes_for(len(codes), processes))
    result = stream(simulator, codes, tap_images=tapped, waves=path, **settings)
    if path:
        view.write(path, simulator.source, simulator.top, result.cycles)
    with console.status("computing the golden model"):
        report = compare(network, codes, result)
    report = locate(network, simulator, codes, report, console)
    content = figures(network, images, result, report, simulator)
    content |= dict(tap_images=tapped, stall=stall, seed=seed, fault=fault)
    write_json(folder / ("sim-fault.json" if fault else "sim.json"), content)
    return content
