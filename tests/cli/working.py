"""Six commands that work for long, started in processes of their own and seen to be at their work."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPE = """
data = "digits"
[network]
depth = 4
widths = [4]
in_channels = 1
[[phase]]
name = "low"
weight_bits = 1
act_bits = 2
epochs = {epochs}
batch = 256
"""
SPEC = """
title = "One run"
seeds = [0]
[[group]]
name = "one"
recipe = "{recipe}"
"""
ENOUGH, SOON = 240, 60  # seconds: until a command works on a busy machine, and until it has ended after a signal
AGAIN = "; the same command goes on"
QUIET = ("--threads", "1", "--device", "cpu")


@dataclass(frozen=True)
class Command:
    """words: its arguments in a folder, of which `inputs` holds what it reads. works: whether it is at its work, by its
    process, folder and output. again: what the line says after `interrupted`."""

    words: Callable[[Path, Path], list]
    works: Callable[[int, Path, str], bool]
    again: str = ""


def loaded(process: int, library: str) -> bool:
    """Whether a process has loaded a library."""
    try:
        return library in Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return False


def trains(folder: Path) -> bool:
    """Whether the run of a sweep has trained an epoch."""
    return any("low 1/" in path.read_text() for path in folder.glob("out/*/train.log"))


COMMANDS = {
    "train": Command(
        lambda inputs, out: ["train", inputs / "long.toml", "--out", out / "out", *QUIET],
        lambda process, out, said: said.count("loss") >= 3,  # the first states are written
        AGAIN,
    ),
    "export": Command(
        lambda inputs, out: ["export", "x", "--checkpoint", inputs / "final.pt", "--out", out / "zoo", "--root", out],
        lambda process, out, said: loaded(process, "libtorch_cpu"),
    ),
    "accuracy": Command(
        lambda inputs, out: ["accuracy", inputs / "tiny", "--images", 40, "--rtl", 4, "--root", out],
        lambda process, out, said: any(out.glob(f"verilator/.*.{process}")),
        AGAIN,
    ),
    "bitstream": Command(
        lambda inputs, out: ["bitstream", inputs / "tiny", "icebreaker", "--out", out / "out", "--seeds", 1],
        lambda process, out, said: "synthesis" in said,
    ),
    "bench": Command(
        lambda inputs, out: ["bench", inputs / "tiny", "icebreaker", "--root", out, "--seeds", 1],
        lambda process, out, said: "synthesis" in said,
    ),
    "sweep": Command(
        lambda inputs, out: ["sweep", inputs / "spec.toml", "--out", out / "out", "--jobs", 1],
        lambda process, out, said: trains(out),
        AGAIN,
    ),
}  # fmt: skip


def start(words: list, folder: Path, **options) -> subprocess.Popen:
    """The command, with its output in files beside `folder`; in a session of its own, in which Ctrl-C is heeded."""
    with (folder.with_suffix(".out")).open("w") as out, (folder.with_suffix(".err")).open("w") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "popstream", *map(str, words)], cwd=ROOT, stdout=out, stderr=err,
            start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            **options,
        )  # fmt: skip


def at_work(name: str, inputs: Path, folder: Path) -> subprocess.Popen:
    """The command, working."""
    command, end = COMMANDS[name], time.monotonic() + ENOUGH
    process = start(command.words(inputs, folder), folder)
    while not command.works(process.pid, folder, folder.with_suffix(".out").read_text()):
        assert process.poll() is None, folder.with_suffix(".err").read_text()
        assert time.monotonic() < end
        time.sleep(0.02)
    return process


def hidden(folder: Path) -> list[str]:
    """What is half-written, or a lock."""
    names = (path.relative_to(folder) for path in folder.rglob("*"))
    return [str(name) for name in names if name.name.startswith(".") or name.suffix in (".partial", ".lock")]


def session(process: int) -> list[str]:
    """The processes that are left of a session."""
    left = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[3] == str(process) and fields[0] != "Z":
            left.append(path.parent.name)
    return left
