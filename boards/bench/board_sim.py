# amaranth: UnusedElaboratable=no
"""The board without the board: its complete top under Verilator behind a pseudo-terminal, asked by the host program.

    popstream board-sim ulx3s-85f --net digits-w1a2 --images 20     classifies test images, compares with golden
    popstream board-sim ulx3s-85f --net digits-w1a2 --terminal      prints the terminal's path, runs until Ctrl-C
    popstream board-sim ulx3s-85f --net digits-w1a2 -- identify     runs a command of boards.host.host on it and ends

What is simulated is the top that `make bitstream` synthesises: pins, reset, baud and clock are the board's, and only
the PLL is a wire (boards/bench/cells.v). `--baud 3000000` makes bits shorter, which is most of an image's time. The
first form writes build/<net>/board-sim.json.
"""

import argparse
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from popstream.boards.bench.harness import ROOT, clocks_per_bit, compile_board
from popstream.boards.board.board import Board, BoardError
from popstream.boards.board.top import Top, clock_plan
from popstream.boards.clock.pll import PllError
from popstream.boards.fitting.capacity import fold
from popstream.boards.host import host
from popstream.boards.known import find
from popstream.boards.link.link import HostLink
from popstream.hw.folding.folding import Folding, FoldingError, interval
from popstream.model import data, manifest
from popstream.model.files import write_json
from popstream.model.manifest import ManifestError, Network
from popstream.sim import golden
from popstream.sim.verilator.tools import BuildError

__all__ = ["CompareError", "Expected", "compare", "expected", "make_top", "terminal"]

SLOWEST = 5_000  # simulated clocks a second, of a large network on a busy machine
LEAST_TIMEOUT = 60  # seconds
ERROR, MISMATCH = 1, 2


class CompareError(RuntimeError):
    """The host program on the simulated board did not come to an end; one line."""


ERRORS = (
    *(BoardError, PllError, ManifestError, FoldingError, BuildError, CompareError, data.DataError),
    *(ValueError, OSError),
)


def make_top(board: Board, network: Network, folding: Folding, mhz: float, baud: float) -> tuple[Top, HostLink]:
    """The top as it is built and as it is simulated. PllError, or ValueError for a baud that the clock cannot make."""
    pll = clock_plan(board, mhz)
    link = HostLink(network, folding, (board.mhz_in if pll is None else pll.mhz) * 1e6, baud)
    return Top(board, pll, link), link


@contextmanager
def terminal(executable: Path, link: HostLink) -> Iterator[str]:
    """Runs the bench of compile_link or compile_board behind a pseudo-terminal; gives its path."""
    master, slave = os.openpty()
    tty.setraw(slave)  # and kept open, so that it stays so between two programs
    command = [str(executable.resolve()), repr(clocks_per_bit(link)), str(master)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[master])
    os.close(master)
    try:
        yield os.ttyname(slave)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=10)
        os.close(slave)


def timeout(link: HostLink) -> int:
    """Seconds that a reply may take in simulation."""
    said = link.identity
    clocks = 10 * (said.image_bytes + 8 * said.classes) * clocks_per_bit(link) + 16 * said.interval
    return LEAST_TIMEOUT + int(clocks / SLOWEST)


def host_arguments(link: HostLink, net: str, path: str) -> list[str]:
    """Where a command of boards.host.host finds the simulated board."""
    return ["--port", path, "--baud", str(link.identity.baud), "--timeout", str(timeout(link)), "--net", net]


class Expected(NamedTuple):
    """The golden model's logits int64 [N, classes] and labels int64 [N] of test images, and their true labels."""

    logits: np.ndarray
    labels: np.ndarray
    true: np.ndarray


def expected(network: Network, images: int) -> Expected:
    """Of the first test images. ManifestError for a network whose data set is not known, DataError without the data."""
    if network.data not in data.DATA_SETS:
        known = ", ".join(data.DATA_SETS)
        raise ManifestError(f"{network.name}: no test images, its data set is {network.data!r}; known are {known}")
    loaded = data.load(network.data)
    logits = golden.run(network, data.quantize_pixels(loaded.test_images[:images], network.input.bits))[0]
    return Expected(logits, golden.labels(logits), loaded.test_labels[:images])


def compare(link: HostLink, net: str, path: str, wanted: Expected) -> dict[str, Any]:
    """Classify the test images by the host program and compare every class and logit; a line for each as it comes."""
    logits, labels, images = wanted.logits, wanted.labels, len(wanted.labels)
    command = [sys.executable, "-m", "popstream.boards.host.host", "data", *host_arguments(link, net, path), "--json"]
    began, differ, right, cycles = time.monotonic(), 0, 0, 0
    with subprocess.Popen([*command, "--images", str(images)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        *answers, summary = answers_of(process.stdout, logits, labels, began) or [{}]
    if process.returncode or len(answers) != images:
        raise CompareError(f"the host program ended with {process.returncode} after {len(answers)} of {images} images")
    for index, answer in enumerate(answers):
        differ += int(answer["label"] != labels[index]) + int((np.array(answer["logits"]) != logits[index]).sum())
        right += answer["label"] == wanted.true[index]
        cycles += answer["cycles"]
    return {
        "images": images, "values": images * (1 + logits.shape[1]), "mismatches": differ,
        "top1": round(100 * right / images, 2), "cycles_per_image": cycles / images, "repeats": summary["repeats"],
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def answers_of(lines: Any, logits: np.ndarray, labels: np.ndarray, began: float) -> list[dict[str, Any]]:
    """The host program's JSON objects, each shown when it comes; the last is its summary."""
    answers: list[dict[str, Any]] = []
    for line in lines:
        answer = json.loads(line)
        answers.append(answer)
        if "image" in answer:
            index = answer["image"]
            same = answer["label"] == labels[index] and answer["logits"] == logits[index].tolist()
            verdict = "as golden" if same else f"golden says {labels[index]}, {logits[index].tolist()}"
            took = f"{answer['cycles']:,} cycles, {time.monotonic() - began:.0f} s"
            print(f"image {index + 1} of {len(labels)}: {answer['class']}, {verdict} ({took})", flush=True)
    return answers


def run(options: argparse.Namespace, command: list[str]) -> int:
    """What `main` does; its errors are raised."""
    board, network = find(options.board), manifest.load(manifest.find(options.net))
    folding = Folding.load(options.folding, network) if options.folding else fold(board, network, options.interval)
    top, link = make_top(board, network, folding, options.freq or board.mhz, options.baud or board.baud)
    wanted = None if command or options.terminal else expected(network, options.images)  # before compiling for minutes
    began = time.monotonic()
    print(f"{network.name} on {board.name}: compiling the complete top", file=sys.stderr, flush=True)
    executable = compile_board(top, options.root, options.optimize)
    print(
        f"simulated at {top.mhz:g} MHz, {link.identity.baud:,} baud, {clocks_per_bit(link):.4g} clocks a bit "
        f"({time.monotonic() - began:.0f} s)",
        file=sys.stderr,
        flush=True,
    )
    with terminal(executable, link) as path:
        if command:
            return host.main([command[0], *host_arguments(link, options.net, path), *command[1:]])
        if wanted is None:
            baud = link.identity.baud
            print(f"{path}  {baud} baud; popstream host identify --port {path} --baud {baud}", flush=True)
            with suppress(KeyboardInterrupt):
                signal.pause()
            return 0
        figures = compare(link, options.net, path, wanted)
    target = Path("build") / network.name / "board-sim.json"
    known = {"network": network.name, "board": board.name, "device": board.device.name, "clock_mhz": top.mhz}
    known |= {"baud": link.identity.baud, "clocks_per_bit": clocks_per_bit(link), **figures}
    known |= {"interval_cycles": max(interval(network, folding).values()), "network_hash": network.hash}
    known |= {"verilator": importlib.metadata.version("verilator"), "folding": folding.to_dict()}
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, known)
    print(
        f"{network.name} on {board.name}, complete top in simulation: {figures['images']} images through the UART, "
        f"{figures['values']:,} classes and logits compared with golden, {figures['mismatches']} mismatches; "
        f"top-1 {figures['top1']} % -> {target}"
    )
    return MISMATCH if figures["mismatches"] else 0


def arguments(given: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Own options, and the host program's command after `--`."""
    split = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(prog="popstream board-sim", description="A board in simulation.")
    parser.add_argument("board", help="a board (popstream boards lists them)")
    parser.add_argument("--net", default="digits-w1a2", help="a network of model/zoo, or a manifest (%(default)s)")
    parser.add_argument("--images", type=int, default=20, help="test images to classify (%(default)s)")
    parser.add_argument("--terminal", action="store_true", help="leave the board to other programs until Ctrl-C")
    parser.add_argument("--interval", type=int, help="most cycles an image (the fastest that fits the board)")
    parser.add_argument("--folding", type=Path, help="a folding.json to use instead")
    parser.add_argument("--freq", type=float, help="clock in MHz (the board's default)")
    parser.add_argument("--baud", type=int, help="of the UART (the board's own); higher is faster simulated")
    parser.add_argument("--optimize", type=int, default=3, help="C++ compiler's level; 1 compiles sooner (%(default)s)")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of everything compiled (%(default)s)")
    parser.epilog = "After --: a command of boards.host.host, to which the port is added."
    options = parser.parse_args(given[:split])
    if options.images < 1:
        parser.error(f"--images must be at least 1, not {options.images}")
    return options, given[split + 1 :]


def main(given: list[str] | None = None) -> int:
    """The exit status: 0, of the host's command, 2 for mismatches, 1 with one line if there is no simulation."""
    options, command = arguments(sys.argv[1:] if given is None else given)
    try:
        return run(options, command)
    except ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR


if __name__ == "__main__":
    sys.exit(main())
