"""Some cases in a process of their own, which may hang, die or eat memory: `python -m popstream.soak.alone` < job.

The job is a line of JSON: kind (its module), seed, root, and cases, each with its folder and, if it is yet to be drawn,
its index. Each verdict is a line of JSON. When the standard input ends, so do this process and all that it started.
"""

import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from popstream.soak.kinds import generator, the_kind


def work(job: dict[str, Any]) -> None:
    """Draw the cases, then check them."""
    kind = the_kind(job["kind"])
    if kind.memory:
        resource.setrlimit(resource.RLIMIT_AS, (kind.memory, kind.memory))
    places = [Path(case["folder"]) for case in job["cases"]]
    for case, place in zip(job["cases"], places, strict=True):
        if "index" in case:
            place.mkdir(parents=True)
            kind.draw(generator(job["seed"], kind.name, case["index"]), place)
    for verdict in kind.check(places, Path(job["root"])):
        print(json.dumps({"said": verdict.said, "counts": dict(verdict.counts)}), file=lines, flush=True)


def end_with_parent() -> None:
    """Wait for the end of what this process is told; then nobody waits for it any more."""
    os.read(sys.stdin.fileno(), 1)  # not by the buffer, whose lock a process that ends would wait for
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    lines, sys.stdout = sys.stdout, sys.stderr  # what is printed on the way is no verdict
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    work(given)
