"""Sweeps on Ray: `popstream sweep SPEC` trains every run of model/sweeps/SPEC.toml, several at once.

Ray runs on this machine, or on the cluster that RAY_ADDRESS names (its nodes see this folder under the same path). Each
run has a folder in build/sweeps/<spec>/ with the checkpoints of model.training.train and, when it is done, result.json:
what is done stays done, what was interrupted goes on from its last epoch, and a lock keeps two from training the same
run. All results stand in build/sweeps/<spec>/runs.json, written anew after every run.
"""

import contextlib
import os
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

from tqdm import tqdm

import popstream
from popstream.model.cache import forget, locked
from popstream.model.files import write_json
from popstream.model.sweeping.spec import Run, Spec
from popstream.model.sweeping.underway import NEEDS, ROW, STATE, UNDERWAY, changed, copy, finished, restore
from popstream.model.training.precision import AUTO
from popstream.model.training.recipe import RecipeError
from popstream.model.workers import start_ray

ROOT = Path(popstream.__file__).parents[1]
RETRIES = 5  # of a run whose process dies: killed for its memory, or taken for dead while it was suspended
LOCK = "lock"  # in a run's folder, of who trains it
KEPT_ENVIRONMENT = (
    "CIFAR10_DIR", "SVHN_DIR", "IMAGENET_DIR",
    "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "CUDA_MODULE_LOADING",
)  # fmt: skip


class SweepError(RuntimeError):
    """The sweep cannot start; the message says what to do."""


def blank(run: Run) -> dict[str, Any]:
    """What a run's row of the table begins with."""
    return {"run": run.name, "group": run.group, "seed": run.seed, "options": run.options}


def check_needs(run: Run, place: Path) -> None:
    """Note what the run is made from before it trains; SweepError where it was begun from others than today's."""
    if not run.origin:
        return
    begun = (place / NEEDS).exists() or (place / STATE).exists()
    if begun and (others := changed(run, place)):
        raise SweepError(f"{', '.join(others)} changed after it was begun; remove {place} to start again")
    write_json(place / NEEDS, run.origin)


def train_run(
    run: Run, folder: Path, device: str, threads: int, compile_model: bool, command: str, precision: str = AUTO,
    keep: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train or resume one run in its folder, freeze it where it has integers, and return its row of the table.

    `command` repeats the run; its manifest carries it. `keep` gets a copy of every epoch's state (underway.py).
    """
    import torch

    from popstream.model.data import DataError
    from popstream.model.training.train import Trainer, TrainingError

    torch.set_num_threads(threads)
    place = folder / run.name
    row = blank(run)
    with locked(place / LOCK):
        kept = restore(run, folder, *([keep] if keep else []), UNDERWAY / folder.name)
        if done := finished(run, folder):
            return done
        with (place / "train.log").open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            try:
                check_needs(run, place)
                if kept:
                    print(f"goes on from the copy in {kept / run.name}", flush=True)
                trainer = Trainer(run.recipe, place, torch.device(device), compile_model, command, precision)
                if keep:
                    trainer.saved = lambda: copy(run, folder, keep)
                final = trainer.train()
                state = torch.load(final, map_location="cpu", weights_only=True)
                row |= summary(state) | frozen_top1(run, final, place)
            except (SweepError, TrainingError, RecipeError, DataError) as error:
                return row | {"error": str(error)}
        write_json(place / ROW, {"recipe": run.recipe, "row": row})
        if keep:
            copy(run, folder, keep)
    return row


def summary(state: dict) -> dict[str, Any]:
    """What a finished checkpoint's log says: the last epoch's loss, accuracy, and training time."""
    log = state["log"]
    return {
        "epochs": len(log), "loss": log[-1]["loss"], "top1_float": round(state["top1_float"], 2),
        "minutes": round(sum(entry["seconds"] for entry in log) / 60, 2),
        "curve": [[entry["loss"], entry["top1_train"], entry["top1_test"]] for entry in log],
    }  # fmt: skip


def frozen_top1(run: Run, final: Path, place: Path) -> dict[str, Any]:
    """Top-1 of the frozen integers on every test image; None, with the reason, for a network that has none."""
    from popstream.model.freezing.export import export
    from popstream.model.freezing.freeze import FreezeError

    try:
        network = export(run.name, final, place / "manifest")
    except (FreezeError, ValueError) as error:
        return {"top1_frozen": None, "why": str(error)}
    return {"top1_frozen": network.accuracy["top1_frozen"], "images": network.accuracy["images"]}


def environment() -> dict[str, str]:
    """What the processes of a run need of this one's environment."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}


def run_sweep(
    spec: Spec, folder: Path, jobs: int | None, compile_model: bool = False, precision: str = AUTO,
    keep: Path | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Run or resume every run; returns the rows in the specification's order and writes them to runs.json.

    `keep` gets copies of checkpoints in a folder <spec>, from which a run also goes on whose own folder is empty.
    """
    ray = start_ray(jobs or spec.jobs, runtime_env={"env_vars": environment()})
    keep = (keep / spec.name).resolve() if keep else None
    try:
        have = ray.cluster_resources()
        for what, wanted in (("CPU", spec.cpus), ("GPU", spec.gpus)):
            if wanted > have.get(what, 0):
                raise SweepError(f"A run takes {wanted} {what}, but Ray has {have.get(what, 0):g}; change the sweep")
        device = "cuda" if spec.gpus else "cpu"

        # a process a run on a GPU, so that its memory is free afterwards; one that died goes on from its last epoch
        @ray.remote(num_cpus=spec.cpus, num_gpus=spec.gpus, max_calls=1 if spec.gpus else 0, max_retries=RETRIES)
        def work(run: Run, *needed: dict[str, Any]) -> dict[str, Any]:
            os.chdir(ROOT)
            failed = [row["run"] for row in needed if "error" in row]
            if failed:
                return blank(run) | {"error": f"it needs {', '.join(failed)}, which failed"}
            command = f"make sweep SPEC={spec.name}, run {run.name}"
            row = train_run(run, folder, device, spec.cpus, compile_model, command, precision, keep)
            return row | {"node": ray.get_runtime_context().get_node_id()}

        rows = {run.name: row for run in spec.runs if (row := finished(run, folder))}  # killed early, none is missing
        waiting = list(spec.runs)
        under_way: dict[Any, Run] = {}
        with tqdm(total=len(waiting), desc=spec.name, unit="run", disable=not sys.stderr.isatty()) as progress:
            while waiting or under_way:
                for run in next_runs(waiting, rows, room(spec, ray.cluster_resources()) - len(under_way)):
                    waiting.remove(run)
                    under_way[work.remote(run, *(rows[name] for name in run.needs))] = run
                (done,), _ = ray.wait(list(under_way), num_returns=1)
                name = under_way[done].name
                rows[name] = collect(ray, done, under_way.pop(done))
                progress.update()
                tqdm.write(line(rows[name]))
                ordered = [rows[run.name] for run in spec.runs if run.name in rows]
                write_json(folder / "runs.json", {"spec": spec.name, "title": spec.title, "runs": ordered})
        return [rows[run.name] for run in spec.runs]
    finally:
        ray.shutdown()
        for run in spec.runs:  # of processes that were ended at their work
            forget(folder / run.name / LOCK)


def room(spec: Spec, have: dict[str, float]) -> int:
    """How many runs a cluster's processors take at once; at least one."""
    shares = [have.get("CPU", 0) // spec.cpus]
    if spec.gpus:
        shares.append(have.get("GPU", 0) / spec.gpus)
    return max(1, int(min(shares)))


def next_runs(waiting: list[Run], settled: Container[str], places: int) -> list[Run]:
    """The first runs, in the list's order, that have all they need: an earlier one is never overtaken for nothing.

    Handed to Ray all at once, those that need none would go before all that do.
    """
    return [run for run in waiting if all(name in settled for name in run.needs)][: max(0, places)]


def collect(ray: Any, reference: Any, run: Run) -> dict[str, Any]:
    """The row of a finished task; one with an error where its process died again and again."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        return blank(run) | {"error": reason}


def line(row: dict[str, Any]) -> str:
    """One run's result on one line."""
    if "error" in row:
        return f"{row['run']}: failed: {row['error']}"
    frozen = "no integers" if row["top1_frozen"] is None else f"frozen {row['top1_frozen']:.2f} %"
    return f"{row['run']}: float {row['top1_float']:.2f} %, {frozen}, {row['epochs']} epochs, {row['minutes']:.1f} min"
