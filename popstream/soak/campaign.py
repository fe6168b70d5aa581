"""A campaign: batches of random cases on every core or on a cluster, by Ray, until hours or counts are reached.

    found = soak(hours=1, counts=None, seed=0, root=Path("build"))

It goes on where it was stopped: build/soak/seed<N>.json says which cases are done. The processes of a cluster need
popstream under the same path; what fails is sent back whole, and kept in build/soak/failures/.
"""

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import popstream
from popstream.model.cache import alone
from popstream.model.files import write_json
from popstream.model.workers import start_ray
from popstream.soak.batch import batch
from popstream.soak.kinds import KINDS, Kind, the_kind
from popstream.soak.state import Done, SoakError, State, keep

__all__ = ["soak", "targets"]

SOURCES = str(Path(popstream.__file__).parents[1])
Progress = Callable[[str], None]


def targets(given: Mapping[str, int] | None, kinds: Mapping[str, str]) -> dict[str, int]:
    """Cases of each kind that are wanted in all, from counts in their units. SoakError for a kind that there is not."""
    for name in given or {}:
        if name not in kinds:
            raise SoakError(f"There is no kind of case {name!r}; there are {', '.join(kinds)}")
    return {name: -(-count // the_kind(kinds[name]).each) for name, count in (given or {}).items()}


def chosen(state: State, kinds: Mapping[str, str], wanted: Mapping[str, int] | None, begun: Mapping[str, int]) -> str:
    """The kind of the next batch: without counts that which took least time, else that which is least far; "" if all
    are done. `begun`: cases of each that are under way."""
    best, least = "", 1.0
    for name in kinds if wanted is None else wanted:
        done = state.kinds[name]
        under_way = begun.get(name, 0)
        if wanted is None:
            share = done.seconds + under_way * (done.seconds / done.cases if done.cases else 1)
            if not best or share < least:
                best, least = name, share
        else:
            share = (done.cases + under_way) / wanted[name] if wanted[name] else 1
            if share < least:
                best, least = name, share
    return best


def soak(
    hours: float | None,
    counts: Mapping[str, int] | None,
    seed: int,
    root: Path,
    jobs: int | None = None,
    progress: Progress = lambda text: None,
    kinds: Mapping[str, str] = KINDS,
) -> dict[str, Any]:
    """Run until the hours are over or the counts (in all, by kind) are reached; returns the content of soak.json.

    `progress` is told of every batch, and of every failure. SoakError, WorkersError.
    """
    wanted = targets(counts, kinds) if counts else None
    busy = SoakError(f"{root / 'soak'} is that of a campaign that runs; wait for it, or give another --root")
    with alone(root / "soak", busy):
        return campaign(hours, wanted, seed, root, jobs, progress, kinds)


def campaign(
    hours: float | None, wanted: Mapping[str, int] | None, seed: int, root: Path, jobs: int | None, progress: Progress,
    kinds: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """As `soak`, with the folder for itself; `wanted` is in cases."""
    folder = root / "soak"
    state = State.read(folder, seed)
    for name in kinds:
        state.kinds.setdefault(name, Done())
    end = None if hours is None else time.monotonic() + 3600 * hours
    ray = start_ray(jobs, runtime_env={"env_vars": {"PYTHONPATH": SOURCES}})
    try:
        task = ray.remote(num_cpus=1, max_retries=0)(batch)
        slots = jobs or int(ray.cluster_resources()["CPU"])
        waiting: dict[Any, tuple[str, list[int]]] = {}
        while True:
            while len(waiting) < slots and (end is None or time.monotonic() < end):
                begun: dict[str, int] = {}
                for name, indices in waiting.values():
                    begun[name] = begun.get(name, 0) + len(indices)
                name = chosen(state, kinds, wanted, begun)
                if not name:
                    break
                indices = free(state.kinds[name], the_kind(kinds[name]), name, waiting, wanted)
                waiting[task.remote(kinds[name], seed, indices, str(root.resolve()))] = (name, indices)
            if not waiting:
                break
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            name, indices = waiting.pop(ready)
            outcomes, seconds = ray.get(ready)
            done = state.kinds[name]
            for outcome in outcomes:
                if outcome.said is not None:
                    kept = keep(folder, kinds[name], name, seed, outcome)
                    progress(f"FAILED {name} {outcome.index}: {outcome.said[:300]}; {kept}")
            done.add(outcomes, seconds)
            state.write(folder)
            write_json(root / "soak.json", summary(state, kinds))
            progress(f"{name}: {done.cases * the_kind(kinds[name]).each:,}, {len(done.failed)} failed")
        return summary(state, kinds)
    finally:
        ray.shutdown()


def free(
    done: Done, kind: Kind, name: str, waiting: Mapping[Any, tuple[str, list[int]]], wanted: Mapping[str, int] | None
) -> list[int]:
    """The next batch's indices: neither done nor under way, and no more than are wanted."""
    busy = {index for other, indices in waiting.values() if other == name for index in indices}
    size = kind.batch
    if wanted is not None:
        size = min(size, wanted[name] - done.cases - len(busy))
    return list(islice((index for index in done.missing() if index not in busy), size))


def summary(state: State, kinds: Mapping[str, str]) -> dict[str, Any]:
    """The content of soak.json: of each kind how many units, what was seen, what failed, and minutes of a core."""
    rows = []
    for name, module in kinds.items():
        kind, done = the_kind(module), state.kinds[name]
        units = done.counts.get(name, done.cases * kind.each)
        rows.append({
            "kind": name, "text": kind.text, "units": units, "cases": done.cases,
            "counts": dict(sorted(done.counts.items())), "failed": len(done.failed),
            "minutes": round(done.seconds / 60, 1),
        })  # fmt: skip
    return {
        "seed": state.seed, "kinds": rows, "failures": sum(row["failed"] for row in rows),
        "until": datetime.now(UTC).date().isoformat(), "processors": os.cpu_count(),
    }  # fmt: skip
