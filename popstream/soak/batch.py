"""A batch of cases, in a process beside this one: whatever it does, each case gets its verdict."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from popstream.soak.kinds import Kind, the_kind

__all__ = ["Outcome", "again", "batch"]

LAST_WORDS = 500  # characters of what a process said before it died


@dataclass(frozen=True)
class Outcome:
    """A case's verdict. files: of one that failed, what its folder holds, by path."""

    index: int
    said: str | None
    counts: dict[str, int] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def batch(module: str, seed: int, indices: Sequence[int], root: str) -> tuple[list[Outcome], float]:
    """The outcomes of some cases of the kind in `module`, in their order, and the seconds that all took."""
    began, kind = time.monotonic(), the_kind(module)
    with tempfile.TemporaryDirectory(prefix="popstream-soak-") as scratch:
        places = [Path(scratch) / f"{kind.name}-{index}" for index in indices]
        cases = [{"index": index, "folder": str(place)} for index, place in zip(indices, places, strict=True)]
        found = verdicts(kind, {"kind": module, "seed": seed, "root": root}, cases)
        outcomes = []
        for index, place, verdict in zip(indices, places, found, strict=True):
            files = contents(place) if verdict["said"] is not None else {}
            outcomes.append(Outcome(index, verdict["said"], verdict["counts"], files))
            shutil.rmtree(place, ignore_errors=True)
    return outcomes, time.monotonic() - began


def again(module: str, folder: Path, root: Path) -> str | None:
    """What is wrong with the case that was kept in `folder`, today; None if nothing is."""
    with tempfile.TemporaryDirectory(prefix="popstream-soak-") as scratch:
        place = Path(scratch) / "case"
        shutil.copytree(folder, place)
        (verdict,) = verdicts(
            the_kind(module), {"kind": module, "seed": 0, "root": str(root)}, [{"folder": str(place)}]
        )
        text: str | None = verdict["said"]
        return text


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def verdicts(kind: Kind, job: dict[str, Any], cases: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One for each case. Where their process hangs or dies, those that are left are tried one by one."""
    given, ending = 0, ""
    for line, ending in lines(job | {"cases": cases}, kind.seconds):  # noqa: B007 the last one is the ending
        if line:
            given += 1
            yield json.loads(line)
    left = cases[given:]
    if len(left) == 1:
        yield {"said": ending, "counts": {}}
        return
    for case in left:
        shutil.rmtree(case["folder"], ignore_errors=True)
        yield from verdicts(kind, job, [case])


def lines(job: dict[str, Any], seconds: float) -> Iterator[tuple[str, str]]:
    """The lines that the process of a job prints, each with ""; after the last "" with how it ended."""
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, "-m", "popstream.soak.alone"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, start_new_session=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(job).encode() + b"\n")
                process.stdin.flush()  # and left open: where it ends, so does the process
            rest = b""
            while select.select([process.stdout], [], [], seconds)[0]:
                data = os.read(process.stdout.fileno(), 65_536)
                if not data:
                    break
                *whole, rest = (rest + data).split(b"\n")
                yield from ((line.decode(), "") for line in whole)
            else:
                yield "", f"hangs: no verdict within {seconds:g} s"
                return
            status = process.wait()
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split())[-LAST_WORDS:]
            yield "", f"its process died with status {status}: {words or '-'}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            process.wait()
            process.stdout.close()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
