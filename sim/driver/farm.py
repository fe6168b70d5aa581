"""Many images through the RTL: parts of them on every core of this machine, or of a cluster, by Ray; goes on if killed.

    model = DriverModel(network, solve(network, 9000))
    result = simulate_many(model, codes, Path("build/net/rtl"))

RAY_ADDRESS names a cluster (which may want RAY_AUTH_MODE and RAY_AUTH_TOKEN, Ray's own); without it a Ray of this
machine's own is started, and ends with the run. The machines of a cluster need Ray and the same Python, nothing
else: they are sent the program, compiled for every processor of this machine's architecture, and the images.

Each part that is done lies in <folder>/<key>/<first image>.npz. The key covers the Verilog (so the network, folding and
RTL), the loop around it, the images and the stalls: a run goes on only with what is its own.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from popstream.hw.folding.outline import units
from popstream.model.cache import key
from popstream.model.files import write_whole
from popstream.model.manifest import Network
from popstream.model.progress import Progress, silent
from popstream.model.workers import ADDRESS, start_ray
from popstream.sim.bench.run import Result, SimulationError, steady_interval
from popstream.sim.driver import worker
from popstream.sim.driver.driver import LOOP, arguments_for, beats, build_driver, model_text, read_answer
from popstream.sim.rtl.rtl import ROOT, read_ports, verilog
from popstream.sim.verilator.tools import check_tools

__all__ = ["PART", "DriverModel", "simulate_many"]

PART = 100  # images of a task: filling and draining the pipeline costs about three images each time
FIELDS = ("labels", "logits", "accepted", "emitted", "cycles", "seconds", "cpu")


class DriverModel:
    """The accelerator of `network` in the shares of `folding`, compiled with its driver.

    Parameters
    ----------
    network : a manifest's network.
    folding : a fold for each conv and linear node.
    counters : whether the busy, starved and blocked cycles of its compute units can be counted.
    models : whether models stand for some of its blocks (hw.lib.models): the same values in the same cycles, sooner.
    optimize : the C++ compiler's level.
    root : where everything that is built goes.
    progress : told what is written and compiled, and how far it has come.

    Attributes
    ----------
    folding : as given.
    top : the ports (bench_top.Top).
    counted : names of the compute units counted.
    predicted : cycles an image, by the hardware's own account.
    program : path of the executable.
    design : what it computes, as a key: the Verilog and the loop around it.
    """

    def __init__(
        self,
        network: Network,
        folding: Mapping[str, Any],
        *,
        counters: bool = False,
        models: bool = True,
        optimize: int = 1,
        root: Path = ROOT,
        progress: Progress = silent,
    ):
        check_tools(root)  # before the Verilog, which takes a while
        self.folding = folding
        source = verilog(network, folding, root, taps=False, counters=counters, progress=progress, models=models)
        self.top, self.predicted = read_ports(source / "ports.json", network)
        self.counted = list(units(network, folding)) if counters else []
        text, count = source / "top.v", len(self.counted)
        native = not os.environ.get(ADDRESS)
        self.program = build_driver(text, self.top, count, root, optimize, native, progress)
        loop = Path(__file__).with_name(LOOP).read_text()
        self.design = key(text.read_text(), model_text(self.top, count), loop)


@contextmanager
def cluster(processes: int | None) -> Iterator[Any]:
    """Ray, connected to RAY_ADDRESS, or started here with so many processes (one for each core)."""
    ray = start_ray(processes)
    try:
        ray.cloudpickle.register_pickle_by_value(worker)  # so that a cluster's machines need no popstream
        yield ray
    finally:
        ray.cloudpickle.unregister_pickle_by_value(worker)
        ray.shutdown()


def simulate_many(
    model: DriverModel,
    codes: np.ndarray,
    folder: Path,
    *,
    stall: float = 0.0,
    seed: int = 0,
    processes: int | None = None,
    part: int = PART,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Every image of codes uint8 [N, C, H, W], each once, in parts of so many; parts that `folder` holds are not rerun.

    stall, seed: pauses on both sides from the first image on. processes: of a local Ray. progress: called with the
    number of images done. Result.taps is empty; its seconds and cpu are the sum over parts, those of earlier runs
    included. Raises SimulationError, and ValueError for arguments out of range.
    """
    shape = (len(codes), *model.top.shape)
    if codes.dtype != np.uint8 or codes.shape != shape or not len(codes):
        raise ValueError(f"Images must be uint8 [N, {', '.join(map(str, shape[1:]))}], not {codes.dtype} {codes.shape}")
    for what, number in (("Processes", processes), ("Images a part", part)):
        if number is not None and number < 1:
            raise ValueError(f"{what} must be at least 1, not {number}")
    place, jobs = plan(model, codes, folder, stall, seed, part)
    missing = [start for start in jobs if not (place / f"{start:06d}.npz").exists()]
    done = len(codes) - sum(len(codes[start : start + part]) for start in missing)
    if progress is not None:
        progress(done)
    if missing:
        with cluster(processes) as ray:
            program = ray.put(model.program.read_bytes())
            task = ray.remote(worker.run)
            waiting = {}
            for start in missing:
                data = beats(codes[start : start + part], model.top.bits)
                waiting[task.remote(program, jobs[start], data)] = start
            while waiting:
                (ready,), _ = ray.wait(list(waiting), num_returns=1)
                start = waiting.pop(ready)
                try:
                    output, seconds, cpu, _ = ray.get(ready)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None) or error
                    raise SimulationError(f"Images from {start} on: {str(cause).strip().splitlines()[-1]}") from None
                count = len(codes[start : start + part])
                keep(place / f"{start:06d}.npz", vars(read_answer(model.top, count, output)), seconds, cpu)
                done += count
                if progress is not None:
                    progress(done)
    return gather(place, list(jobs))


def plan(
    model: DriverModel, codes: np.ndarray, folder: Path, stall: float, seed: int, part: int
) -> tuple[Path, dict[int, list[str]]]:
    """Where the parts lie that belong to this work alone, and the program's arguments by the part's first image."""
    jobs = {}
    for start in range(0, len(codes), part):
        count = len(codes[start : start + part])
        jobs[start] = arguments_for(
            model.top, count, expected=model.predicted, stall=stall, seed=seed, part=start if stall else 0
        )
    images = hashlib.sha256(codes.tobytes()).hexdigest()
    return folder / key(model.design, images, str(codes.shape), *(" ".join(job) for job in jobs.values())), jobs


def keep(path: Path, answer: Mapping[str, Any], seconds: float, cpu: float) -> None:
    """Write the results of a part, whole."""
    content = BytesIO()
    np.savez(content, **answer, seconds=seconds, cpu=cpu)
    write_whole(path, content.getvalue())


def gather(place: Path, starts: list[int]) -> Result:
    """The results of all parts, in the images' order."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in FIELDS}
    for start in starts:
        with np.load(place / f"{start:06d}.npz") as content:
            for name, values in parts.items():
                values.append(content[name])
    intervals = [steady_interval(emitted, len(emitted)) for emitted in parts["emitted"]]
    known = [interval for interval in intervals if interval is not None]
    accepted, emitted = np.concatenate(parts["accepted"]), np.concatenate(parts["emitted"])
    return Result(
        labels=np.concatenate(parts["labels"]),
        logits=np.concatenate(parts["logits"]),
        taps={},
        accepted=accepted,
        emitted=emitted,
        interval=float(np.median(known)) if known else None,
        latency=int(emitted[0] - accepted[0]),
        cycles=int(sum(parts["cycles"])),
        seconds=float(sum(parts["seconds"])),
        cpu=float(sum(parts["cpu"])),
        python=0.0,
    )
