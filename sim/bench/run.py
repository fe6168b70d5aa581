"""Runs a compiled bench on images: one simulator, or several at once on parts of them.

result = simulate(folder, top, codes, tap_images=4, stall=0.25)     # folder by bench/build.py, top a bench/top.py Top
result.logits, result.taps["stem"], result.interval
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import popstream
from popstream.sim.bench.build import BENCH
from popstream.sim.bench.top import Tap, Top
from popstream.sim.verilator.tools import environment

MODULE = "popstream.sim.bench.cocotb_bench"
POLL = 0.2  # seconds between looks at the progress
MAX_HOLD = 16  # bits: a pause lasts at most 65,536 cycles
INTERRUPTED = 2.0  # intervals at most of work before the reset that a run begins with
PATIENCE = 16  # intervals, and
LEAST_PATIENCE = 100_000  # cycles without a beat make a hang


RUNNING: set[Path] = set()  # folders of the simulators that work


class SimulationError(RuntimeError):
    """A simulation did not end well; one line says in which cycle and how."""


@dataclass(frozen=True, eq=False)
class Result:
    """What came out: labels int64 [N], logits int32 [N, O], taps {node: int64 [T, C, H, W]} of the first images.

    accepted, emitted: int64 [N], the cycles of each image's first beat and of its result, counted from reset in each
    process. interval: cycles an image in steady state without pauses (None if there were too few images); latency:
    cycles from the first image's first beat to its result. cycles, seconds (by the clock), cpu (of the
    processor) and python (seconds in the bench's Python) are sums over processes. waves: the trace.
    """

    labels: np.ndarray
    logits: np.ndarray
    taps: dict[str, np.ndarray]
    accepted: np.ndarray
    emitted: np.ndarray
    interval: float | None
    latency: int
    cycles: int
    seconds: float
    cpu: float
    python: float
    waves: Path | None = None


def steady_interval(emitted: np.ndarray, settle: int) -> float | None:
    """Cycles an image over the later half of the first `settle` results; None for fewer than two."""
    times = emitted[:settle]
    if len(times) < 2:
        return None
    start = (len(times) - 1) // 2
    return float(times[-1] - times[start]) / (len(times) - 1 - start)


def read_tap(path: Path, tap: Tap) -> np.ndarray:
    """The file of one tap as int64 [T, C, H, W], less the tap's correction; an incomplete last image is left out."""
    data = np.fromfile(path, np.uint8) if path.exists() else np.zeros(0, np.uint8)
    size = 4 * tap.words
    images = len(data) // size // tap.count
    beats = data[: images * tap.count * size].reshape(-1, size)
    bits = np.unpackbits(beats, axis=1, bitorder="little")[:, : tap.bits]
    lanes = bits.reshape(-1, tap.width)
    place = 2 ** np.arange(tap.width, dtype=np.int64)
    if tap.signed:
        place[-1] = -place[-1]
    values = tap.image(lanes.astype(np.int64) @ place)
    if tap.correction is not None:
        values = values - tap.correction[:, None, None]
    return np.ascontiguousarray(values)


def hold_bits(cycles: float) -> int:
    """The mask 2^n - 1 of pauses that last up to about so many cycles."""
    return 2 ** min(MAX_HOLD, max(0, round(np.log2(max(cycles, 1))))) - 1


def simulate(
    folder: Path,
    top: Top,
    images: np.ndarray,
    *,
    tap_images: int = 0,
    stall: float = 0.0,
    settle: int | None = None,
    seed: int = 0,
    expected: float | None = None,
    patience: int | None = None,
    processes: int = 1,
    waves: Path | None = None,
    plusargs: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Stream codes uint8 [N, C, H, W] through the model in `folder` and collect everything.

    tap_images: taps record the first so many. stall: the probability of a pause at each input beat and result, after
    the first `settle` results of each process (default: half of them, at most 8), over which the interval is measured.
    expected: about the interval in cycles; lengths of pauses come from it and, unless it is given, the patience in
    cycles before a hang. waves: where the trace goes (the model must have been built for it). plusargs: "+name=value",
    which the model reads by $value$plusargs. progress: called with the number of results so far.

    Each process first works for a while, drawn by the seed, and is reset in the midst of it, so that a register that no
    reset reaches is found; nothing of that is counted, and a trace begins without it.
    Raises SimulationError, and ValueError for arguments out of range.
    """
    shape = (len(images), *top.shape)
    if images.dtype != np.uint8 or images.shape != shape or not len(images):
        raise ValueError(
            f"Images must be uint8 [N, {', '.join(map(str, top.shape))}], not {images.dtype} {images.shape}"
        )
    if not 0 <= stall < 1:
        raise ValueError(f"Stall must be a probability from 0 to below 1, not {stall}")
    if not 0 <= tap_images <= len(images):
        raise ValueError(f"Tapped images must be 0 to {len(images)}, not {tap_images}")
    if processes < 1:
        raise ValueError(f"Processes must be at least 1, not {processes}")
    processes = 1 if waves else min(processes, len(images))
    pixels = top.shape[1] * top.shape[2]
    expected = expected or 8.0 * pixels
    parts = np.array_split(np.arange(len(images)), processes)
    requests = []
    for number, part in enumerate(parts):
        draw = np.random.default_rng([seed, number])
        calm = len(part) if stall == 0 else min(8, len(part) // 2) if settle is None else min(settle, len(part))
        requests.append(
            {
                "bits": top.bits,
                "classes": top.classes,
                "burst": top.burst,
                "settle": calm,
                "stall": stall,
                "i_hold": hold_bits(2 * expected / pixels),
                "o_hold": hold_bits(expected),
                "seed": int(draw.integers(1, 2**63)),
                "patience": patience or int(PATIENCE * expected) + LEAST_PATIENCE + 2**MAX_HOLD,
                "parent": os.getpid(),
                "tap_images": int(np.count_nonzero(part < tap_images)),
                "interrupt": 0 if waves else int(draw.uniform(0, INTERRUPTED) * expected),
            }
        )
    scratch = Path(tempfile.mkdtemp(prefix=".run-", suffix=f".{os.getpid()}", dir=folder.parent))
    try:
        folders = [scratch / str(number) for number in range(processes)]
        for place, part, request in zip(folders, parts, requests, strict=True):
            place.mkdir()
            np.save(place / "images.npy", images[part])
            (place / "request.json").write_text(json.dumps(request))
        with environment(WAVES=None, GUI=None), ThreadPoolExecutor(processes) as pool:
            runs = [
                pool.submit(_run, folder.resolve(), place.resolve(), waves is not None, plusargs) for place in folders
            ]
            try:
                while wait(runs, timeout=POLL).not_done:
                    if progress is not None:
                        progress(_results(folders))
            except BaseException:
                while wait(runs, timeout=POLL).not_done:
                    stop(folders)
                raise
            answers = [run.result() for run in runs]
        if progress is not None:
            progress(_results(folders))
        if waves is not None:
            waves.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(scratch / "0" / "dump.fst", waves)
        return _collect(top, folders, answers, requests, waves)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def stop(folders: Iterable[Path] | None = None) -> None:
    """End the simulators that work in these folders, or all that this process waits for; their runs fail.

    Whoever is interrupted calls it until nothing runs: a simulator that begins just then ends at the next call.
    """
    for place in list(RUNNING) if folders is None else folders:
        with contextlib.suppress(OSError, ValueError):
            (place / "stop").touch()
            if place.resolve() in RUNNING:
                os.kill(int((place / "process").read_text()), signal.SIGKILL)


def _results(folders: list[Path]) -> int:
    paths = [folder / "progress" for folder in folders]
    return sum(path.stat().st_size for path in paths if path.exists())


def _run(folder: Path, place: Path, waves: bool, plusargs: Sequence[str]) -> dict:
    """One simulator in `place`; its answer.json."""
    import logging

    from cocotb_tools.runner import get_runner

    runner = get_runner("verilator")
    runner.log.setLevel(logging.CRITICAL)  # what happened is read from the answer
    log = place / "sim.log"
    root = str(Path(popstream.__file__).parents[1])
    if root not in sys.path:
        sys.path.append(root)  # the runner hands sys.path to the simulator
    failed: BaseException | None = None
    begun = time.perf_counter()
    RUNNING.add(place)
    try:
        runner.test(
            test_module=MODULE,
            hdl_toplevel=BENCH,
            hdl_toplevel_lang="verilog",
            build_dir=folder,
            test_dir=place,
            results_xml=str(place / "results.xml"),
            waves=waves,
            plusargs=list(plusargs),
            log_file=log,
            extra_env={"COCOTB_REWRITE_ASSERTION_FILES": "", "COCOTB_RANDOM_SEED": "0"},
        )
    except (RuntimeError, SystemExit) as error:  # the runner's; SystemExit under pytest
        failed = error
    finally:
        RUNNING.discard(place)
    path = place / "answer.json"
    if not path.exists():
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        said = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else repr(failed))
        raise SimulationError(f"The simulator stopped: {said.strip()}")
    answer: dict = json.loads(path.read_text())
    if answer["hang"] is not None:
        raise SimulationError(f"The accelerator hangs: {answer['hang']}")
    return answer | {"whole": time.perf_counter() - begun}


def _collect(top: Top, folders: list[Path], answers: list[dict], requests: list[dict], waves: Path | None) -> Result:
    columns: dict[str, list[np.ndarray]] = {"labels": [], "logits": [], "accepted": [], "emitted": []}
    intervals = []
    for folder, request in zip(folders, requests, strict=True):
        with np.load(folder / "answer.npz") as answer:
            for name, parts in columns.items():
                parts.append(answer[name])
        interval = steady_interval(columns["emitted"][-1], request["settle"])
        intervals += [] if interval is None else [interval]
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    tapped = [folder for folder, request in zip(folders, requests, strict=True) if request["tap_images"]]
    taps = {
        tap.node: np.concatenate([read_tap(folder / f"tap_{tap.port}.bin", tap) for folder in tapped])
        for tap in top.taps
        if tapped
    }
    return Result(
        **whole,
        taps=taps,
        interval=float(np.median(intervals)) if intervals else None,
        latency=int(whole["emitted"][0] - whole["accepted"][0]),
        cycles=sum(answer["cycles"] for answer in answers),
        seconds=sum(answer["wall"] for answer in answers),
        cpu=sum(answer["cpu"] for answer in answers),
        python=sum(answer["python"] for answer in answers),
        waves=waves,
    )
