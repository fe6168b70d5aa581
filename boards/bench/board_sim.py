# amaranth: UnusedElaboratable=no
"""The board without the board: its complete top under Verilator behind a pseudo-terminal, asked by the host program.

What is simulated is the top that `make bitstream` synthesises: pins, reset, baud and clock are the board's, and only
the PLL is a wire (boards/bench/cells.v). A baud of 3,000,000 makes bits shorter, which is most of an image's time.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from popstream.boards.bench.harness import clocks_per_bit, compile_board
from popstream.boards.board.board import Board
from popstream.boards.board.top import Top, clock_plan
from popstream.boards.link.link import HostLink
from popstream.hw.folding.folding import Folding, interval
from popstream.model import data
from popstream.model.files import write_json
from popstream.model.manifest import ManifestError, Network
from popstream.sim import golden

__all__ = [
    "CompareError", "Expected", "compare", "compile_top", "expected", "host_arguments", "make_top", "terminal", "write",
]  # fmt: skip

SLOWEST = 5_000  # simulated clocks a second, of a large network on a busy machine
LEAST_TIMEOUT = 60  # seconds


class CompareError(RuntimeError):
    """The host program on the simulated board did not come to an end; one line."""


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
    """Where a command of `popstream host` finds the simulated board."""
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
    logits = golden.run(network, data.quantize_pixels(loaded.test_images[:images], network.entry_bits))[0]
    return Expected(logits, golden.labels(logits), loaded.test_labels[:images])


def compare(link: HostLink, net: str, path: str, wanted: Expected) -> dict[str, Any]:
    """Classify the test images by the host program and compare every class and logit; a line for each as it comes."""
    logits, labels, images = wanted.logits, wanted.labels, len(wanted.labels)
    command = [sys.executable, "-m", "popstream", "host", "data", *host_arguments(link, net, path), "--json"]
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


def compile_top(top: Top, link: HostLink, root: Path, optimize: int) -> Path:
    """The compiled bench of the board's top; says what is compiled, and for how long it was."""
    began = time.monotonic()
    print(f"{link.network.name} on {top.board.name}: compiling the complete top", file=sys.stderr, flush=True)
    executable = compile_board(top, root, optimize)
    print(
        f"simulated at {top.mhz:g} MHz, {link.identity.baud:,} baud, {clocks_per_bit(link):.4g} clocks a bit "
        f"({time.monotonic() - began:.0f} s)",
        file=sys.stderr,
        flush=True,
    )
    return executable


def write(top: Top, link: HostLink, figures: dict[str, Any], path: Path) -> None:
    """Write what `compare` found, and of what, as board-sim.json."""
    network, board, folding = link.network, top.board, link.folding
    known = {"network": network.name, "board": board.name, "device": board.device.name, "clock_mhz": top.mhz}
    known |= {"baud": link.identity.baud, "clocks_per_bit": clocks_per_bit(link), **figures}
    known |= {"interval_cycles": max(interval(network, folding).values()), "network_hash": network.hash}
    known |= {"verilator": importlib.metadata.version("verilator"), "folding": folding.to_dict()}
    write_json(path, known)
