"""Ctrl-C, SIGTERM, SIGKILL, a full disk and a folder that is only read, in the commands that work for long.

Each ends with its status and one line, leaves nothing half-written and no process behind, and goes on when it is called
again. What a command was killed in is swept by the next one.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from popstream.cli import main
from popstream.cli.app import app
from popstream.model.manifest import save
from tests.command import run_cli
from tests.networks import random_network

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process has loaded is read from /proc")

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
        lambda process, out, said: any(out.glob("verilator/.*")),
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


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A long recipe and a sweep of it, a finished training, and a small network for the digits."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "long.toml").write_text(RECIPE.format(epochs=100_000))
    (folder / "short.toml").write_text(RECIPE.format(epochs=1))
    for name, recipe in (("spec", "long"), ("short-spec", "short")):
        (folder / f"{name}.toml").write_text(SPEC.format(recipe=folder / f"{recipe}.toml"))
    network = random_network(
        1, height=8, width=8, channels=(2,), strides=(1,), in_channels=1, first_bits=(1, 4), last_bits=(1, 1),
        convs_per_block=1, act_bits=1, classes=10, name="tiny",
    )  # fmt: skip
    save(type(network).build("tiny", "digits", network.classes, network.nodes), folder / "tiny")
    assert run_cli("train", folder / "short.toml", "--out", folder / "out", *QUIET)[0] == 0
    shutil.copy(folder / "out" / "final.pt", folder)
    return folder


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


@pytest.mark.parametrize(("number", "status", "said"), [
    (signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"),
], ids=["ctrl-c", "sigterm"])  # fmt: skip
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_ends_it_with_one_line_and_nothing_left(name, inputs, tmp_path, number, status, said):
    folder = tmp_path / "work"
    folder.mkdir()
    process = at_work(name, inputs, folder)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal sends it to all
    else:
        process.send_signal(number)
    assert process.wait(SOON) == status
    assert folder.with_suffix(".err").read_text() == f"{said}{COMMANDS[name].again}\n"
    assert hidden(folder) == []
    end = time.monotonic() + SOON
    while session(process.pid):
        assert time.monotonic() < end, session(process.pid)
        time.sleep(0.1)


@pytest.mark.parametrize("name", ["train", "accuracy"])
def test_sigkill_leaves_whole_files_and_the_next_call_sweeps_the_rest(name, inputs, tmp_path):
    """The other commands are killed in tests of their own: of sweeps, of the manifest, of place and route."""
    folder = tmp_path / "work"
    folder.mkdir()
    process = at_work(name, inputs, folder)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(SOON)
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    left = folder / ("out/.state.pt" if name == "train" else "tiny/.accuracy.json")  # as if it had been killed there
    left.parent.mkdir(exist_ok=True)
    left.with_name(f"{left.name}.{process.pid}").touch()
    if name == "train":
        again = at_work(name, inputs, folder)  # it goes on from a whole state
        again.terminate()
        assert again.wait(SOON) == 143
        assert "low 1/" not in folder.with_suffix(".out").read_text()
    else:
        words = COMMANDS[name].words(inputs, folder)
        assert run_cli(*words)[0] == 0
        assert json.loads((folder / "tiny" / "accuracy.json").read_text())["mismatches_golden_rtl"] == 0
    assert hidden(folder) == []


@cache
def namespaces() -> bool:
    """Whether a user may mount in a namespace of his own: many containers do not let him."""
    tried = ["unshare", "--mount", "--map-root-user", "sh", "-c", "mount -t tmpfs none /mnt"]
    return shutil.which("unshare") is not None and subprocess.run(tried, capture_output=True).returncode == 0


def namespace(script: str, disk: Path, words: list, **environment: object) -> subprocess.CompletedProcess:
    """The command run by a script, `"$@"`, that mounts something at $DISK where no other process sees it."""
    if not namespaces():
        pytest.skip("this system mounts nothing for tests")
    disk.mkdir()
    given = {"DISK": disk, "PYTHONPATH": ROOT, **environment}
    return subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", sys.executable, "-m", "popstream",
         *map(str, words)],
        cwd=ROOT, env=os.environ | {name: str(value) for name, value in given.items()}, capture_output=True, text=True,
    )  # fmt: skip


FULL = """
mount -t tmpfs -o size=8m none "$DISK" || exit
head -c $FILLED /dev/zero > "$DISK/filler"
"$@"
status=$?
find "$DISK" -mindepth 1 \\( -name '.*' -o -name '*.partial' \\) > "$DISK.left"
rm "$DISK/filler"
if [ -n "$AGAIN" ]; then "$@" > "$DISK.again" 2>&1; echo $? >> "$DISK.again"; fi
exit $status
"""
READ_ONLY = """
mount --bind "$DISK" "$DISK" && mount -o remount,bind,ro "$DISK" || exit
cd "$DISK"
exec "$@"
"""
ROOM = {"train": 12, "export": 4, "accuracy": 0, "bitstream": 60, "bench": 60, "sweep": 12}  # KiB that are left
LONG = ("bitstream", "bench", "sweep")  # to their end


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_told_and_leaves_nothing_half_written(name, inputs, tmp_path):
    disk = tmp_path / "disk"
    words = [str(word).replace("long.toml", "short.toml") for word in COMMANDS[name].words(inputs, disk)]
    if name == "sweep":
        words[1] = str(inputs / "short-spec.toml")
    if name == "accuracy":
        words[words.index("--rtl") + 1] = "0"
    filled = 8 * 2**20 - ROOM[name] * 1024
    done = namespace(FULL, disk, words, FILLED=filled, AGAIN="" if name in LONG else "yes")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr + (done.stdout if name == "sweep" else "")
    assert Path(f"{disk}.left").read_text() == ""
    if name not in LONG:
        assert Path(f"{disk}.again").read_text().splitlines()[-1] == "0", Path(f"{disk}.again").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_is_only_read_is_refused_at_once(name, inputs, tmp_path):
    disk = tmp_path / "disk"
    done = namespace(READ_ONLY, disk, COMMANDS[name].words(inputs, disk))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"error: --(out|root) must be a folder that can be written, .*\(Read-only file system\); .*\n", done.stderr
    )


def test_where_nothing_can_be_written_the_default_folder_is_named(inputs, tmp_path):
    done = namespace(READ_ONLY, tmp_path / "disk", ["train", inputs / "short.toml", *QUIET])
    said = "build/short/train/state.pt could not be written (Read-only file system); the checkpoint before it is intact"
    assert (done.returncode, done.stderr) == (1, f"error: {said}\n")


def test_ctrl_c_while_the_command_is_imported(tmp_path):
    """In the first moments, before any verb: at 20 places in time."""
    for part in range(20):
        process = start(["boards"], tmp_path / "work")
        time.sleep(0.02 + 0.01 * part)
        process.send_signal(signal.SIGINT)
        process.wait(SOON)
        said = (tmp_path / "work.err").read_text()
        assert "popstream" not in said, said  # no traceback through our files; Python's own start is not ours


@pytest.fixture
def verb_that_fails():
    """`popstream fails`, as if something else that it writes to had ended."""

    @app.command(show=False)
    def fails() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    yield
    app._commands.pop("fails", None)


@pytest.mark.usefixtures("verb_that_fails")
def test_the_end_of_another_pipe_is_an_error(capfd):
    assert main(["fails"]) == 1
    assert capfd.readouterr().err == "error: Broken pipe\n"


FINALIZED = """
import signal, sys, threading, time, os
from popstream.cli import front
class Slow:
    def __del__(self):
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        time.sleep(0.01)
def run(given):
    Slow()
    time.sleep(20)
front.run = run
sys.exit(front.main([]))
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_an_object_is_finalized_is_not_lost(name, status):
    done = subprocess.run(
        [sys.executable, "-c", FINALIZED, name], cwd=ROOT, capture_output=True, text=True, timeout=SOON,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
