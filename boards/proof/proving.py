"""Many proofs at once: each on a core, told as it ends, and a table of all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.table import Table

from popstream.boards.proof.proofs import Proof
from popstream.boards.proof.runner import Outcome, ProofError, prove, stop
from popstream.boards.proof.table import LEFT_OUT, PROOFS, chosen, names

__all__ = ["LEFT_OUT", "PROOFS", "Outcome", "ProofError", "chosen", "figures", "names", "prove_all", "table"]

PAUSE = 0.1  # seconds between two looks whether all runs have ended


def prove_all(
    proofs: Sequence[Proof], root: Path, timeout: float, processes: int | None, told: Callable[[Outcome], None]
) -> list[Outcome]:
    """Prove all, `processes` (one for each core) at a time; `told` is called as each ends. In the order of `proofs`.

    Each has a folder below `root`, and `timeout` seconds for each of its runs. What stops this stops all of them.
    """
    found: dict[str, Outcome] = {}
    with ThreadPoolExecutor(processes or os.cpu_count() or 1) as pool:
        waiting = [pool.submit(prove, proof, root, timeout) for proof in proofs]
        try:
            for future in as_completed(waiting):
                outcome = future.result()
                found[outcome.proof.name] = outcome
                told(outcome)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while any(future.running() for future in waiting):
                stop()
                time.sleep(PAUSE)
            raise
    return [found[proof.name] for proof in proofs]


def figures(outcomes: Sequence[Outcome], command: str, seconds: float, cpu_seconds: float) -> dict[str, Any]:
    """What prove.json holds: how `command` did, and what it took of the clock and of processors."""
    rows = [outcome.row() for outcome in outcomes]
    return {
        "command": command,
        "proven": sum(outcome.proven for outcome in outcomes),
        "proofs": len(rows),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "rows": rows,
    }


def table(outcomes: Sequence[Outcome]) -> Table:
    """Block, properties, method, depth, seconds and status of each."""
    shown = Table("block", "properties", "method", "depth", "seconds", "", title="Proofs")
    for name in ("depth", "seconds"):
        column = next(column for column in shown.columns if column.header == name)
        column.justify = "right"
    for outcome in outcomes:
        proof = outcome.proof
        style = "" if outcome.proven else "bold red"
        shown.add_row(
            proof.name, proof.properties, proof.method, str(proof.depth), f"{outcome.seconds:.1f}", outcome.status,
            style=style,
        )  # fmt: skip
    return shown
