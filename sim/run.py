"""`make sim`: real images through the simulated accelerator, every value compared with the golden model.

    popstream sim digits-w1a2 --images 20 --stall 0.25
    popstream sim digits-w1a2 --fault 'stem.conv.weight[0,0,1,1]'      # must fail, and say where

Prints a table and writes build/<net>/sim.json (sim-fault.json with a fault). Status 0 only without a mismatch.
"""

import argparse
import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from popstream.model.data import DataError
from popstream.model.files import write_json
from popstream.model.manifest import ManifestError, Network
from popstream.sim.bench.build import BuildError
from popstream.sim.bench.run import Result
from popstream.sim.golden import fault as faults
from popstream.sim.rtl.compare import Divergence, Report, compare
from popstream.sim.rtl.images import (
    Images,
    add_options,
    check_options,
    folding_for,
    network_and_images,
    percent,
    processes_for,
)
from popstream.sim.rtl.rtl import RtlSimulator, SimulationError

TAP_IMAGES = 50  # 600,000 values each for ResNet-20
MISMATCH, ERROR = 1, 2  # exit statuses


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="popstream sim", description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--images", type=int, default=20, help="number of test images (%(default)s)")
    parser.add_argument("--taps", type=int, default=TAP_IMAGES, help="most images compared by node (%(default)s)")
    parser.add_argument("--fault", help="node.tensor[index] or node.tensor[index]^bit: flip it in the hardware only")
    parser.add_argument("--waves", action="store_true", help="write build/<net>/waves.vcd; take few images")
    options = parser.parse_args(given)
    check_options(parser, options)
    if options.taps < 0:
        parser.error(f"--taps must not be negative, not {options.taps}")
    return options


def make_simulator(network: Network, options: argparse.Namespace, console: Console) -> RtlSimulator:
    """The accelerator of the network, with the fault if one is asked for."""
    folding = folding_for(network, options)
    if options.fault:
        network = faults.apply(network, faults.parse(options.fault))
    with console.status("generating and compiling the accelerator"):
        return RtlSimulator(network, folding, waves=options.waves, optimize=options.optimize, root=options.root)


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


def table(content: dict[str, Any], tapped: int) -> Table:
    """What the figures say, for a person."""
    interval = content["interval_cycles"]
    rows = [
        ("images", f"{content['images']}, {tapped} of them node by node"),
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


def simulate_and_compare(options: argparse.Namespace, console: Console) -> int:
    network, images, notice = network_and_images(options.net, options.images, options.seed)
    if notice:
        console.print(notice, soft_wrap=True)
    codes = images.codes
    simulator = make_simulator(network, options, console)
    folder = options.root / network.name
    waves = folder / "waves.vcd" if options.waves else None
    tapped = min(options.taps, len(codes))
    settings = dict(stall=options.stall, seed=options.seed, processes=processes_for(len(codes), options.processes))
    result = stream(simulator, codes, tap_images=tapped, waves=waves, **settings)
    with console.status("computing the golden model"):
        report = compare(network, codes, result)
    report = locate(network, simulator, codes, report, console)
    content = figures(network, images, result, report, simulator)
    content |= dict(tap_images=tapped, stall=options.stall, seed=options.seed, fault=options.fault)
    path = folder / ("sim-fault.json" if options.fault else "sim.json")
    write_json(path, content)
    console.print(table(content, tapped))
    if waves:
        console.print(f"waves in {waves}", soft_wrap=True)
    if report.good:
        console.print(f"Every value is equal. {path}", soft_wrap=True)
        return 0
    console.print(f"FAILED at {report.divergence}. {path}", soft_wrap=True, markup=False)
    return MISMATCH


def main(given: list[str] | None = None) -> int:
    """The exit status: 0 if all is equal, 1 for a mismatch, 2 if it could not be found out."""
    from popstream.hw.folding.folding import FoldingError

    options = arguments(given)
    try:
        return simulate_and_compare(options, Console())
    except SimulationError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return MISMATCH
    except (ManifestError, DataError, FoldingError, BuildError, faults.FaultError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ERROR


if __name__ == "__main__":
    sys.exit(main())
