"""One target under atheris, in a process of its own: `python -m popstream.soak.fuzz.alone` < job.

The job is a line of JSON: target, module (which holds it), seconds, seed and folder, where the corpus is. What is found
is a line of JSON on the standard output, with the input in hex, and so is, once a second, what was done. A hang, a
death or too much memory ends the process: then libFuzzer leaves the input in `folder`. So does the end of the job.
"""

import json
import os
import re
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any

import atheris

from popstream.soak.alone import end_with_parent
from popstream.soak.kinds import said

TRACED = ("popstream", "PIL", "tomllib", "bitstring")
"""Packages whose branches count as coverage, where a target imports them."""
TRACED_MODULES = ("torch._weights_only_unpickler",)
"""And of large packages these modules alone."""


def place_of(error: Exception) -> str:
    """Where an error came from: that which tells one finding from another."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/soak/fuzz/" not in frame.filename] or frames
    return f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"


def trace_modules() -> None:
    """Let the functions of TRACED_MODULES count, where they have been imported."""
    for name in TRACED_MODULES:
        module = sys.modules.get(name)
        for holder in (module, *vars(module).values()) if module else ():
            if holder is module or (isinstance(holder, type) and holder.__module__ == name):
                for function in list(vars(holder).values()):
                    if isinstance(function, FunctionType) and function.__module__ == name:
                        atheris.instrument_func(function)


def work(job: dict[str, Any]) -> None:
    """Fuzz until the seconds are over; it does not return."""
    with atheris.instrument_imports(include=[*TRACED, job["module"].partition(".")[0]], enable_loader_override=False):
        import numpy as np

        from popstream.soak.draw import mutate
        from popstream.soak.fuzz.kind import MEMORY, SECONDS, bound_memory
        from popstream.soak.fuzz.target import the_target

        target = the_target(job["target"], {job["target"]: job["module"]})
    trace_modules()
    warnings.simplefilter("ignore")
    corpus = Path(job["folder"]) / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / sha256(seed).hexdigest()).write_bytes(seed)
    done, found, told = Counter[str](), set[str](), [time.monotonic()]

    def one(data: bytes) -> None:
        try:
            done[target.run(data)] += 1
        except Exception as error:
            done["wrong"] += 1
            if (place := place_of(error)) not in found:
                found.add(place)
                tell(place=place, said=said(error), input=data.hex())
        if time.monotonic() > told[0] + 1:
            told[0] = time.monotonic()
            tell(done=done, peak=most_memory())

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        if rng.random() < 0.5:
            return atheris.Mutate(data, most)
        return (target.mutate or mutate)(rng, data)[:most]

    for seed in target.seeds():  # what they make to compare with is no part of what an input takes
        one(seed)
    bound_memory(job.get("memory", MEMORY))
    used = most_memory()
    tell(done=done, used=used, peak=used)
    options = {
        "max_total_time": int(job["seconds"]), "timeout": job.get("timeout", SECONDS), "seed": job["seed"],
        "max_len": target.most, "rss_limit_mb": used + 2 * MEMORY // 2**20, "artifact_prefix": f"{job['folder']}/",
        "detect_leaks": 0, "print_final_stats": 1,
    }  # fmt: skip
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], one, custom_mutator=mutated)
    atheris.Fuzz()


def most_memory() -> int:
    """MiB that this program has taken at most, as the system counts; getrusage counts those of who started it too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) // 1024 if found else 0


def tell(**content: Any) -> None:
    print(json.dumps(content), file=lines, flush=True)


if __name__ == "__main__":
    lines, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr  # what is printed on the way is no finding,
    os.dup2(2, 1)  # by libFuzzer neither
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    work(given)
