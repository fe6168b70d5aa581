"""Trainings killed at random moments: the same command goes on to the weights of a run that nobody disturbed.

A case holds recipe.toml and moments.json: parts of the time that the whole training takes, after which one run after
the other is killed. That is time of the processor, so that a busy machine changes no moment: a timer ends the process
where it stands (SIGPROF, which Python does not handle). torch is loaded once; each run is a process forked from there.
"""

import json
import os
import shutil
import signal
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model.cache import key, once
from popstream.soak.draw import pick
from popstream.soak.kinds import Kind, WrongError, one_by_one

__all__ = ["KIND"]

RECIPE, MOMENTS, LOG, SECONDS = "recipe.toml", "moments.json", "log.txt", "cpu_seconds"
LEFT = {"final.pt", "state.pt", "curves.png", "float.pt", "low.pt", LOG}  # of a training that has ended
TEXT = """data = "digits"
augment = {{ shift = {shift}, flip = false }}
[network]
depth = 4
widths = [4]
in_channels = 1
[[phase]]
name = "float"
epochs = 1
batch = 128
[[phase]]
name = "low"
weight_bits = {weight}
act_bits = 2
epochs = 2
batch = 128
lr = 0.05
{more}
"""
MORE = ('teacher = "float"', "", "ema = 0.9", 'teacher = "float"\nema = 0.9')


def draw(rng: np.random.Generator, place: Path) -> None:
    """One of a few recipes, and one to four moments."""
    text = TEXT.format(shift=pick(rng, (0, 1)), weight=pick(rng, (1, 2)), more=pick(rng, MORE))
    (place / RECIPE).write_text(text)
    (place / MOMENTS).write_text(json.dumps([float(rng.uniform(0, 0.9)) for _ in range(rng.integers(1, 5))]))


@cache
def load() -> None:
    """What every training loads first, so that the processes forked from here have it already."""
    import matplotlib.pyplot  # noqa: F401
    import torch

    from popstream.model import data
    from popstream.model.training import train  # noqa: F401

    torch.set_num_threads(1)
    data.load("digits")


def start(recipe: Path, out: Path, seconds: float = 0.0) -> int:
    """Train in a process of its own, which is killed when it has worked for so many seconds, if any; its number."""
    import torch

    from popstream.model.training.train import train

    load()
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        out.mkdir(parents=True, exist_ok=True)
        log = os.open(out / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        train(recipe, out, torch.device("cpu"))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def finish(recipe: Path, out: Path) -> float:
    """Train to the end; returns the processor's seconds. WrongError where that fails."""
    _, status, used = os.wait4(start(recipe, out), 0)
    if status:
        raise WrongError(f"the training ends with {status}: {(out / LOG).read_text().strip().splitlines()[-1:]}")
    return used.ru_utime + used.ru_stime


def unbroken(recipe: Path, root: Path) -> Path:
    """The folder of the training that nobody disturbs, with the processor's seconds; made once for each recipe."""
    folder = root / "soak" / "unbroken" / key(recipe.read_text())

    def work(place: Path) -> None:
        (place / SECONDS).write_text(str(finish(recipe, place)))

    return once(folder, [SECONDS], work)


def killed(process: int) -> bool:
    """Whether it was killed by its timer; False if it had ended before. WrongError if it had failed."""
    _, status = os.waitpid(process, 0)
    if status and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF):
        raise WrongError(f"the training ends with {status}")
    return bool(status)


def same(out: Path, other: Path) -> None:
    """WrongError unless both trainings have the same weights, accuracy and log, and nothing else is left."""
    import torch

    found, wanted = (torch.load(folder / "final.pt", weights_only=True) for folder in (out, other))
    different = [name for name, value in wanted["model"].items() if not torch.equal(found["model"][name], value)]
    if different or found["model"].keys() != wanted["model"].keys():
        raise WrongError(f"{len(different)} tensors differ, first {different[:1]}")

    def rows(state: dict[str, Any]) -> list[dict[str, Any]]:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in state["log"]]

    if rows(found) != rows(wanted) or found["top1_float"] != wanted["top1_float"]:
        raise WrongError("the weights are equal, but not the log")
    left = {path.name for path in out.iterdir()} - LEFT
    if left:
        raise WrongError(f"left behind: {', '.join(sorted(left))}")


def check(place: Path, root: Path) -> Mapping[str, int]:
    """Kill it at each moment, then let it end, and compare."""
    recipe, out = place / RECIPE, place / "out"
    undisturbed = unbroken(recipe, root)
    whole = float((undisturbed / SECONDS).read_text())
    kills = sum(killed(start(recipe, out, part * whole)) for part in json.loads((place / MOMENTS).read_text()))
    finish(recipe, out)
    same(out, undisturbed)
    shutil.rmtree(out)
    return {"trainings": 1, "kills": kills}


KIND = Kind(
    "kills", "of trainings, at random moments; the run goes on to the unbroken weights", draw, one_by_one(check),
    each=2, batch=10, seconds=300,
)  # fmt: skip
