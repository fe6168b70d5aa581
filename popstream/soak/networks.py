"""Random networks in random foldings, on random images, with random pauses: every value of the RTL is golden's.

A case holds the manifest, folding.json, images.npy and pauses.json; with a file `fault` (node.tensor[index]^bit), the
hardware is made with that bit flipped, so that it must be found.
"""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from popstream.hw.folding.drawn import GROUPINGS, random_folding, shared_folding
from popstream.hw.folding.folding import Folding, FoldingError, interval
from popstream.hw.folding.room import Reload
from popstream.hw.reloading import difference, made_for, shape_of
from popstream.hw.solver.solve import solve
from popstream.hw.verilog import write
from popstream.model import manifest
from popstream.model.manifest import Network
from popstream.sim.bench.run import Result, read_tap
from popstream.sim.bench.top import Top
from popstream.sim.driver.driver import beats
from popstream.sim.golden import fault as faults
from popstream.sim.golden.drawn import random_images
from popstream.sim.rtl.compare import compare
from popstream.sim.rtl.rtl import read_ports
from popstream.soak.bench import HANG, Bench, build
from popstream.soak.draw import pick, tiny_network
from popstream.soak.kinds import Kind, Verdict, WrongError, said

__all__ = ["KIND"]

MOST_IMAGES = 3
MOST_CYCLES = (100, 400, 1000)  # an image, about, that a random folding may take on a layer
STALLS = (0.0, 0.0, 0.1, 0.4, 0.8, 0.95)
TOGETHER = 5  # networks in a program
FAULT, PAUSES, IMAGES, FOLDING, MADE = "fault", "pauses.json", "images.npy", "folding.json", "reload.json"


def lay(
    place: Path, network: Network, folding: Folding, codes: np.ndarray, stall_in: float, stall_out: float, hold: int,
    seed: int, reload: Reload | None = None,
) -> Path:  # fmt: skip
    """Write a case into the folder `place`, which is returned: images, the pauses of Bench, whose seed is not 0, and
    what the accelerator is made for.
    """
    manifest.save(network, place)
    folding.save(place / FOLDING)
    np.save(place / IMAGES, codes)
    pauses = {"stall_in": stall_in, "stall_out": stall_out, "hold": hold, "seed": seed}
    (place / PAUSES).write_text(json.dumps(pauses))
    if reload is not None:
        (place / MADE).write_text(json.dumps(reload.to_dict()))
    return place


def draw(rng: np.random.Generator, place: Path) -> None:
    """A case with everything in it."""
    network = tiny_network(rng)
    folding = random_folding(network, int(rng.integers(2**31)), pick(rng, MOST_CYCLES))
    if rng.random() < 0.2:
        with contextlib.suppress(FoldingError):  # it cannot be so fast
            folding = solve(network, int(rng.integers(20, 500)))
    if rng.random() < 0.4:
        folding = shared_folding(network, int(rng.integers(2**31)), pick(rng, GROUPINGS))
    seed, count = int(rng.integers(2**31)), int(rng.integers(1, MOST_IMAGES + 1))
    codes = random_images(network.input, seed, count)
    if rng.random() < 0.2:
        codes = rng.integers(0, 2**network.entry_bits, codes.shape, dtype=np.uint8)
    stall_in, stall_out = pick(rng, STALLS), pick(rng, STALLS)
    hold, seed = 2 ** int(rng.integers(0, 8)) - 1, int(rng.integers(1, 2**63))
    made = made_for([network], folding) if rng.random() < 0.3 else None
    if made is not None and difference(shape_of(network, folding), made, network, folding) is not None:
        made = None  # what cannot be exchanged
    lay(place, network, folding, codes, stall_in, stall_out, hold, seed, made)


@dataclass(frozen=True)
class Prepared:
    """A case on its way: what it computes, the Verilog of its accelerator, and its bench."""

    place: Path
    network: Network
    codes: np.ndarray
    text: str
    bench: Bench


def prepare(place: Path, module: str, folder: Path) -> Prepared:
    """Write the accelerator's Verilog, and what its bench reads into `folder`/`module`."""
    network = manifest.load(place)
    codes: np.ndarray = np.load(place / IMAGES)
    text = (place / FAULT).read_text().strip() if (place / FAULT).exists() else ""
    made = faults.apply(network, faults.parse(text)) if text else network
    source = folder / f"{module}-verilog"
    reload = Reload.from_dict(json.loads((place / MADE).read_text())) if (place / MADE).exists() else None
    folding = Folding.load(place / FOLDING, network)
    verilog = write(made, folding, source, taps=True, name=module, reload=reload).read_text()
    top: Top = read_ports(source / "ports.json", network)[0]
    shutil.rmtree(source)
    (folder / module).mkdir()
    data = np.frombuffer(beats(codes, top.bits), np.uint8).reshape(codes.shape[0] * codes[0, 0].size, -1)
    (folder / module / "beats.mem").write_text("".join(f"{row[::-1].tobytes().hex()}\n" for row in data))
    pauses = json.loads((place / PAUSES).read_text())
    stall_in, stall_out = (int(pauses[name] * 2**16) for name in ("stall_in", "stall_out"))
    patience = max(HANG, 2 * max(interval(network, folding).values()))
    bench = Bench(top, len(codes), pauses["seed"], stall_in, stall_out, pauses["hold"], patience)
    return Prepared(place, network, codes, verilog, bench)


def verdict(case: Prepared, folder: Path) -> Mapping[str, int]:
    """Compare what came out with golden; WrongError names the first value that differs."""
    top, count = case.bench.top, len(case.codes)
    size = 4 * -(-top.result_bits // 32)
    data = (folder / top.module / "result.bin").read_bytes()
    results = len(data) // size
    if results != count:
        what = "hangs" if results < count else "gives too many results"
        raise WrongError(f"the accelerator {what}: {results} results of {count} images")
    records = np.frombuffer(data, np.uint8).reshape(count, size)
    logits = np.ascontiguousarray(records[:, 1 : 1 + 4 * top.classes]).view("<i4").astype(np.int32)
    taps = {tap.node: read_tap(folder / top.module / f"tap_{tap.port}.bin", tap) for tap in top.taps}
    none = np.zeros(0, np.int64)
    result = Result(records[:, 0].astype(np.int64), logits, taps, none, none, None, 0, 0, 0.0, 0.0, 0.0)
    report = compare(case.network, case.codes, result)
    if not report.good:
        raise WrongError(f"{report.mismatches} of {count} images differ, first at {report.divergence}")
    return {"networks": 1, "images": count, "values": report.values}


def together(places: Sequence[Path], root: Path, folder: Path) -> Iterator[Verdict]:
    """The verdicts of some cases in one program."""
    cases = [prepare(place, f"n{number}", folder) for number, place in enumerate(places)]
    program = build([case.bench for case in cases], [case.text for case in cases], root)
    try:
        subprocess.run([program.resolve()], cwd=folder, check=True, capture_output=True)
    finally:
        shutil.rmtree(program.parent, ignore_errors=True)
    for case in cases:
        try:
            yield Verdict(None, verdict(case, folder))
        except WrongError as error:
            yield Verdict(said(error))


def check(places: Sequence[Path], root: Path) -> Iterator[Verdict]:
    """Several at a time."""
    for start in range(0, len(places), TOGETHER):
        some = places[start : start + TOGETHER]
        folder = some[0].with_name(f"{some[0].name}-bench")
        shutil.rmtree(folder, ignore_errors=True)  # of a process that died
        folder.mkdir()
        yield from together(some, root, folder)
        shutil.rmtree(folder)


KIND = Kind(
    "networks", "x foldings x stalls in RTL; every value of every node is golden's", draw, check, batch=2 * TOGETHER,
    seconds=300,
)  # fmt: skip
