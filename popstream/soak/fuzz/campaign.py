"""A campaign of hostile input: one target after the other, up to ten minutes each, until the hours are over.

    found = fuzz(hours=1, names=(), seed=0, root=Path("build"))

It goes on where it was stopped: build/fuzz/<target>/ has the corpus and what was done. What is found is kept in
build/fuzz/failures/, as soak's failures are; `popstream soak --repeat` checks it again.
"""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, to_builtins

from popstream.model.checked import convert, read_json
from popstream.model.files import write_json
from popstream.soak.batch import Outcome
from popstream.soak.fuzz.kind import INPUT, MEMORY, SECONDS, TARGET
from popstream.soak.fuzz.target import LONGEST, TARGETS, the_target
from popstream.soak.state import SoakError, keep

__all__ = ["fuzz", "summary"]

LEAST, MOST = 30.0, 600.0  # seconds of a process, whose start takes some
LATE = 120.0  # seconds that its start and its end may take beside
CASE = "popstream.soak.fuzz.kind"  # the kind of case that a finding is kept as
COVERED = re.compile(rb"\bcov: (\d+)")
ENDINGS = {"timeout-": f"hangs: more than {SECONDS} s", "oom-": "takes too much memory", "crash-": "its process died"}

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(ge=0)]


class Fuzzed(Struct):
    """What was done with a target: inputs by what became of them; branches that were reached; seconds by the clock and
    of a core; most MiB of memory, and of them what the program has before it reads anything; places that were wrong."""

    done: dict[str, int] = {}
    edges: Count = 0
    seconds: Positive = 0.0
    core_seconds: Positive = 0.0
    peak_mib: Count = 0
    base_mib: Count = 0
    found: dict[str, str] = {}


def state_of(folder: Path) -> Fuzzed:
    """That which was done before; SoakError where it is damaged."""
    path = folder / "state.json"
    return convert(read_json(path, SoakError), Fuzzed, path, SoakError, "the state") if path.exists() else Fuzzed()


def fuzz(
    hours: float,
    names: Sequence[str],
    seed: int,
    root: Path,
    progress: Callable[[str], None] = lambda text: None,
    modules: Mapping[str, str] = TARGETS,
) -> dict[str, Any]:
    """Run for that long; returns the content of fuzz.json. `names`: of targets, all by default. SoakError."""
    if importlib.util.find_spec("atheris") is None:
        raise SoakError("Package atheris is missing; make fuzz brings it, on Linux, x86-64, with Python 3.11 to 3.13")
    for name in names:
        if name not in modules:
            raise SoakError(f"There is no reader {name!r}; there are {', '.join(modules)}, and all")
    states = {name: state_of(root / "fuzz" / name) for name in modules}
    chosen = names or list(modules)
    end = time.monotonic() + 3600 * hours
    share = min(max(3600 * hours / len(chosen), LEAST), MOST)
    while (left := end - time.monotonic()) > 1:
        name = min(chosen, key=lambda name: states[name].seconds)
        once(name, modules[name], states[name], min(share, left), seed, root, progress)
        write_json(root / "fuzz.json", summary(states, seed, modules))
        state = states[name]
        progress(f"{name}: {sum(state.done.values()):,} inputs, {state.edges:,} branches, {len(state.found)} found")
    return summary(states, seed, modules)


def once(
    name: str, module: str, state: Fuzzed, seconds: float, seed: int, root: Path, progress: Callable[[str], None]
) -> None:
    """A round of a target: a process, and what came of it into `state`, its file and the failures."""
    folder, began = root / "fuzz" / name, time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + (seed * 1_000_003 + sum(state.done.values())) % (2**31 - 1)  # 0 is libFuzzer's word for any
    job = {"target": name, "module": module, "seconds": max(1, seconds), "seed": number, "folder": str(folder)}
    with tempfile.TemporaryFile() as words:
        lines, ending, core = run(job, words)
        words.seek(0)
        text = words.read()
    state.edges = max([state.edges, *map(int, COVERED.findall(text))])
    state.seconds += time.monotonic() - began
    state.core_seconds += core
    done: dict[str, int] = {}
    wrong: list[tuple[str, str, bytes]] = []
    for line in lines:
        done, state.base_mib = line.get("done", done), line.get("used", state.base_mib)
        state.peak_mib = max(state.peak_mib, line.get("peak", 0))
        if "place" in line:
            wrong.append((line["place"], line["said"], bytes.fromhex(line["input"])))
    state.done = dict(Counter(state.done) + Counter(done))
    for path in sorted(folder.glob("*-*")):  # libFuzzer's, of the input that ended the process
        said = next((said for start, said in ENDINGS.items() if path.name.startswith(start)), "")
        if said:
            wrong.append((f"{said}, {path.name[-8:]}", said, path.read_bytes()))
        path.unlink()
    if ending and not wrong:
        last = " ".join(text.decode(errors="replace").split())[-500:]
        raise SoakError(f"The process of target {name} ended with status {ending}: {last or '-'}")
    for place, said, data in wrong:
        if place not in state.found:
            outcome = Outcome(len(state.found), said, {}, {TARGET: f"{module}:{name}".encode(), INPUT: data})
            kept = keep(root / "fuzz", CASE, name, seed, outcome)
            state.found[place] = said
            progress(f"FOUND {name}: {place}: {said[:300]}; {kept}")
    write_json(folder / "state.json", to_builtins(state))


def run(job: dict[str, Any], words: Any) -> tuple[list[dict[str, Any]], int, float]:
    """The lines that the process of a job prints, its status, and the seconds of a core that it took."""
    command = [sys.executable, "-m", "popstream.soak.fuzz.alone"]
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=printed, stderr=words, start_new_session=True
        )  # fmt: skip
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(job).encode() + b"\n")
                process.stdin.flush()  # and left open: where it ends, so does the process
            end = time.monotonic() + job["seconds"] + LATE
            while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0 and time.monotonic() < end:
                time.sleep(0.05)
            if ended[0] == 0:
                os.killpg(process.pid, signal.SIGKILL)
                ended = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(ended[1])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        printed.seek(0)
        lines = [json.loads(line) for line in printed.read().splitlines(keepends=True) if line.endswith(b"\n")]
    used = ended[2]
    return lines, process.returncode, used.ru_utime + used.ru_stime


def summary(states: Mapping[str, Fuzzed], seed: int, modules: Mapping[str, str] = TARGETS) -> dict[str, Any]:
    """The content of fuzz.json: what was done with each target so far, and the bounds that an input had to keep."""
    rows = []
    for name, state in states.items():
        if not state.done:
            continue
        rows.append({
            "target": name, "text": the_target(name, modules).text, "inputs": sum(state.done.values()),
            "taken": state.done.get("taken", 0), "edges": state.edges, "minutes": round(state.seconds / 60, 1),
            "core_minutes": round(state.core_seconds / 60, 1), "peak_mib": state.peak_mib, "base_mib": state.base_mib,
            "found": len(state.found),
        })  # fmt: skip
    return {
        "seed": seed, "targets": rows, "failures": sum(row["found"] for row in rows),
        "bounds": {"seconds": SECONDS, "mib": MEMORY // 2**20, "characters": LONGEST},
        "until": datetime.now(UTC).date().isoformat(), "processors": os.cpu_count(),
    }  # fmt: skip
