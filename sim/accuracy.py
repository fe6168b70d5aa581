"""Float, frozen, golden and RTL top-1 side by side, and how many images differ between them: `popstream accuracy`.

frozen (torch's evaluation of the manifest's integers) and golden (NumPy's) run on the first N test images, the RTL on
the first of those, by Ray on every core or on the cluster that RAY_ADDRESS names (sim/driver/farm.py); if killed, the
same command goes on. float was measured in training. Writes build/<net>/accuracy.json.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from tqdm import tqdm

from popstream.model.commands import installs
from popstream.model.console import plain_console
from popstream.model.files import write_json
from popstream.model.machine import cores
from popstream.model.manifest import Network
from popstream.model.progress import stage
from popstream.sim import golden
from popstream.sim.bench.run import Result
from popstream.sim.driver.farm import DriverModel, simulate_many
from popstream.sim.rtl.compare import compare
from popstream.sim.rtl.images import ROOT, Images, percent

__all__ = ["TorchError", "measure", "table"]


class TorchError(RuntimeError):
    """Torch, which the frozen network needs, is not there."""


def frozen_logits(network: Network, pixels: np.ndarray) -> np.ndarray:
    """Logits int32 [N, O] of pixels uint8 [N, C, H, W] by torch. TorchError where it is missing."""
    try:
        from popstream.model.freezing import frozen
    except ModuleNotFoundError as error:
        brings = installs("accuracy", "train")
        raise TorchError(
            f"Package {error.name} is missing, which the frozen network needs; {brings} brings it"
        ) from None
    return np.asarray(frozen.run(network, pixels, progress=True))


def measure(
    network: Network,
    images: Images,
    folding: Mapping[str, Any],
    *,
    rtl: int = 20,
    stall: float = 0.0,
    seed: int = 0,
    processes: int | None = None,
    optimize: int = 1,
    root: Path = ROOT,
    models: bool = True,
) -> dict[str, Any]:
    """The content of accuracy.json, which it writes; the RTL sees the first `rtl` images, 0 leaves it out.

    models: whether models stand for some of its blocks, as in DriverModel.
    TorchError, BuildError, SimulationError where the RTL hangs.
    """
    frozen = frozen_logits(network, images.pixels)
    bar = partial(tqdm, desc="golden", leave=False, disable=None)
    expected = golden.run_batches(network, images.codes, workers=cores(), progress=bar)
    count = len(images.codes)
    few = min(rtl, count)
    content: dict[str, Any] = {
        "network": network.name,
        "images": count,
        "rtl_images": few,
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
    if few:
        result = simulate(network, images.codes[:few], folding, stall, seed, processes, optimize, root, models)
        report = compare(network, images.codes[:few], result, expected[:few])
        content |= dict(
            top1_rtl=images.top1(result.labels),
            mismatches_golden_rtl=report.mismatches,
            first_divergence=None if report.divergence is None else str(report.divergence),
            rtl_models=models,
            interval_cycles=result.interval,
            cycles=result.cycles,
            cpu_seconds=round(result.cpu, 1),
            cycles_per_second=round(result.cycles / result.cpu),
        )
    write_json(root / network.name / "accuracy.json", content)
    return content


def simulate(
    network: Network,
    codes: np.ndarray,
    folding: Mapping[str, Any],
    stall: float,
    seed: int,
    processes: int | None,
    optimize: int,
    root: Path,
    models: bool,
) -> Result:
    """The RTL on codes uint8 [N, C, H, W], with a progress bar."""
    with stage(plain_console(), "the accelerator", maybe_done=True) as progress:
        model = DriverModel(network, folding, models=models, optimize=optimize, root=root, progress=progress)
    with tqdm(total=len(codes), desc="RTL", unit="image", leave=False, disable=None) as bar:
        folder = root / network.name / "rtl"
        return simulate_many(
            model, codes, folder, stall=stall, seed=seed, processes=processes,
            progress=lambda done: bar.update(done - bar.n),
        )  # fmt: skip


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
        if content["rtl_models"]:
            shown.caption += "; its adder trees are models (--trees: not)"
    return shown
