"""What models in the place of blocks save: the same images both ways, in turn on one core, and what both say of them.

Writes build/<net>/models.json.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from popstream.model.files import write_json
from popstream.model.manifest import Network
from popstream.model.progress import Progress, silent
from popstream.sim import golden
from popstream.sim.driver.driver import arguments_for, beats, read_answer
from popstream.sim.driver.farm import DriverModel
from popstream.sim.driver.worker import run
from popstream.sim.rtl.images import ROOT

__all__ = ["measure", "table"]

WAYS = {"blocks": False, "models": True}


def measure(
    network: Network,
    folding: Mapping[str, Any],
    codes: np.ndarray,
    rounds: int,
    *,
    stall: float = 0.0,
    seed: int = 0,
    root: Path = ROOT,
    optimize: int = 1,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The content of models.json, which it writes: `rounds` runs each way on codes uint8 [N, C, H, W], in turn.

    A mismatch is an image whose logits are not golden's, or whose result comes in another cycle than the other way's.
    Raises BuildError, ProgramError after a hang.
    """
    built = {}
    for way, models in WAYS.items():
        made = DriverModel(network, folding, models=models, optimize=optimize, root=root, progress=progress)
        built[way] = made, made.program.read_bytes()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    expected = golden.run_batches(network, codes)
    wrong = np.zeros(len(codes), bool)
    for number in range(rounds):
        answers = []
        for way, (made, program) in built.items():
            progress(f"round {number + 1} of {rounds}: {way}")
            arguments = arguments_for(made.top, len(codes), expected=made.predicted, stall=stall, seed=seed)
            output, _, cpu, _ = run(program, arguments, beats(codes, made.top.bits))
            answers.append(read_answer(made.top, len(codes), output))
            seconds[way].append(cpu)
            wrong |= (answers[-1].logits != expected).any(axis=1)
        wrong |= answers[0].emitted != answers[1].emitted
    total = {way: sum(spent) for way, spent in seconds.items()}
    content = {
        "network": network.name,
        "network_hash": network.hash,
        "interval": built["models"][0].predicted,
        "images": len(codes),
        "rounds": rounds,
        "stall": stall,
        "mismatches": int(wrong.sum()),
        "cpu_seconds": {way: [round(each, 2) for each in spent] for way, spent in seconds.items()},
        "images_per_cpu_second": {way: round(rounds * len(codes) / spent, 2) for way, spent in total.items()},
        "ratio": round(total["blocks"] / total["models"], 2),
    }
    write_json(root / network.name / "models.json", content)
    return content


def table(content: dict[str, Any]) -> Table:
    """What the figures say, for a person."""
    title = f"{content['network']}, {content['interval']:,} cycles an image, {content['images']} images"
    shown = Table("", "images/s of a core", title=title)
    for way in WAYS:
        shown.add_row(way, f"{content['images_per_cpu_second'][way]:.2f}")
    shown.caption = f"{content['ratio']:.2f} times, {content['rounds']} runs each; {content['mismatches']} mismatches"
    return shown
