"""`make accuracy`: float, frozen, golden and RTL top-1 side by side, and how many images differ between them.

    popstream accuracy resnet20-w1a2 --images 10000 --rtl 10000

frozen (torch's evaluation of the manifest's integers) and golden (NumPy's) run on the first N test images, the RTL on
the first of those, by Ray on every core or on the cluster that RAY_ADDRESS names (sim/driver/farm.py); if killed, the
same command goes on. float was measured in training. Prints a table and writes build/<net>/accuracy.json. Status 0 only
if all agree.
"""

import argparse
import os
import sys
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from popstream.model.data import DataError
from popstream.model.files import write_json
from popstream.model.manifest import ManifestError, Network
from popstream.sim import golden
from popstream.sim.bench.build import BuildError
from popstream.sim.bench.run import Result
from popstream.sim.driver.farm import DriverModel, simulate_many
from popstream.sim.rtl.compare import compare
from popstream.sim.rtl.images import Images, add_options, check_options, folding_for, network_and_images, percent
from popstream.sim.rtl.rtl import SimulationError
from popstream.sim.run import ERROR, MISMATCH


class TorchError(RuntimeError):
    """Torch, which the frozen network needs, is not there."""


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="popstream accuracy", description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--images", type=int, default=1000, help="test images for frozen and golden (%(default)s)")
    parser.add_argument(
        "--rtl", type=int, default=20, help="how many of them for the RTL; 0 leaves it out (%(default)s)"
    )
    options = parser.parse_args(given)
    check_options(parser, options)
    if options.rtl < 0:
        parser.error(f"--rtl must not be negative, not {options.rtl}")
    options.rtl = min(options.rtl, options.images)
    return options


def frozen_logits(network: Network, pixels: np.ndarray) -> np.ndarray:
    """Logits int32 [N, O] of pixels uint8 [N, C, H, W] by torch. TorchError where it is missing."""
    try:
        from popstream.model.freezing import frozen
    except ModuleNotFoundError as error:
        message = f"Package {error.name} is missing, which the frozen network needs; `make accuracy` sets it up"
        raise TorchError(message) from None
    return np.asarray(frozen.run(network, pixels, progress=True))


def measure(network: Network, images: Images, options: argparse.Namespace) -> dict[str, Any]:
    """The content of accuracy.json."""
    if images.pixels is None:
        raise ValueError(f"{network.name} is for data set {network.data!r}, of which there are no labelled images")
    frozen = frozen_logits(network, images.pixels)
    bar = partial(tqdm, desc="golden", leave=False, disable=None)
    workers = len(os.sched_getaffinity(0))
    expected = golden.run_batches(network, images.codes, workers=workers, progress=bar)
    count = len(images.codes)
    content: dict[str, Any] = {
        "network": network.name,
        "images": count,
        "rtl_images": options.rtl,
        "top1_float": network.accuracy.get("top1_float"),
        "top1_frozen": images.top1(golden.labels(frozen)),
        "top1_golden": images.top1(golden.labels(expected)),
        "top1_rtl": None,
        "mismatches_frozen_golden": int((frozen != expected).any(axis=1).sum()),
        "mismatches_golden_rtl": 0,
        "first_divergence": None,
        "float_images": network.accuracy.get("images"),
        "network_hash": network.hash,
    }
    if options.rtl:
        few = min(options.rtl, count)
        result = simulate(network, images.codes[:few], options)
        report = compare(network, images.codes[:few], result, expected[:few])
        content |= dict(
            rtl_images=few,
            top1_rtl=images.top1(result.labels),
            mismatches_golden_rtl=report.mismatches,
            first_divergence=None if report.divergence is None else str(report.divergence),
            interval_cycles=result.interval,
            cycles=result.cycles,
            cpu_seconds=round(result.cpu, 1),
            cycles_per_second=round(result.cycles / result.cpu),
        )
    return content


def simulate(network: Network, codes: np.ndarray, options: argparse.Namespace) -> Result:
    """The RTL on codes uint8 [N, C, H, W], with a progress bar."""
    with Console().status("generating and compiling the accelerator"):
        model = DriverModel(network, folding_for(network, options), optimize=options.optimize, root=options.root)
    settings = dict(stall=options.stall, seed=options.seed, processes=options.processes)
    with tqdm(total=len(codes), desc="RTL", unit="image", leave=False, disable=None) as bar:
        folder = options.root / network.name / "rtl"
        return simulate_many(model, codes, folder, progress=lambda done: bar.update(done - bar.n), **settings)


def table(content: dict[str, Any]) -> Table:
    """What the figures say, for a person."""
    shown = Table(content["network"], "top-1", "images", "images that differ", title="Accuracy")
    count, rtl = str(content["images"]), str(content["rtl_images"])
    shown.add_row("float (training)", percent(content["top1_float"]), str(content["float_images"] or "-"), "")
    shown.add_row("frozen (torch)", percent(content["top1_frozen"]), count, "")
    differ = f"{content['mismatches_frozen_golden']} from frozen"
    shown.add_row("golden (NumPy)", percent(content["top1_golden"]), count, differ)
    differ = f"{content['mismatches_golden_rtl']} from golden" if content["rtl_images"] else "not run"
    shown.add_row("RTL (Verilator)", percent(content["top1_rtl"]), rtl, differ)
    if content["rtl_images"]:
        shown.caption = f"RTL: {content['cycles']:,} cycles, {content['cycles_per_second']:,} a second of one core"
    return shown


def main(given: list[str] | None = None) -> int:
    """The exit status: 0 if all agree, 1 if not, 2 if it could not be found out."""
    from popstream.hw.folding.folding import FoldingError

    options, console = arguments(given), Console()
    try:
        network, images, notice = network_and_images(options.net, options.images)
        if notice:
            console.print(notice, soft_wrap=True)
        content = measure(network, images, options)
    except SimulationError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return MISMATCH
    except (ManifestError, DataError, FoldingError, BuildError, TorchError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ERROR
    path = options.root / network.name / "accuracy.json"
    write_json(path, content)
    console.print(table(content))
    wrong = content["mismatches_frozen_golden"] + content["mismatches_golden_rtl"]
    if not wrong:
        console.print(f"All agree. {path}", soft_wrap=True)
        return 0
    first = f", RTL at {content['first_divergence']}" if content["first_divergence"] else ""
    console.print(f"FAILED: {wrong} mismatches{first}. {path}", soft_wrap=True, markup=False)
    return MISMATCH


if __name__ == "__main__":
    sys.exit(main())
