"""Ctrl-C, SIGTERM and SIGKILL in the commands that work for long, at their start, and where Python would lose one.

Each ends with its status and one line, leaves nothing half-written and no process behind, and goes on when it is called
again. What a command was killed in is swept by the next one.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from popstream.cli import main
from popstream.cli.app import app
from tests.cli.working import COMMANDS, ROOT, SOON, at_work, hidden, session, start

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process has loaded is read from /proc")


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
    nothing_runs(process.pid)


def nothing_runs(process: int) -> None:
    """Wait until no process of a session is left."""
    end = time.monotonic() + SOON
    while session(process):
        assert time.monotonic() < end, session(process)
        time.sleep(0.1)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "sweep"])
def test_sigkill_leaves_whole_files_and_the_next_call_begins_again_or_goes_on(name, inputs, tmp_path):
    """Sweeps are killed in a test of their own (tests/model/sweeping/test_sweep.py)."""
    folder = tmp_path / "work"
    folder.mkdir()
    process = at_work(name, inputs, folder)
    process.kill()  # itself alone: not the synthesis or the compiler that it has started
    assert process.wait(SOON) == -signal.SIGKILL
    assert folder.with_suffix(".err").read_text() == ""
    nothing_runs(process.pid)
    left = [path.name for path in folder.rglob("*") if path.is_file()]
    assert not {"accuracy.json", "bitstream.json", "bench.json", "top.bin", "network.json", "final.pt"} & set(left)
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    if name == "train":  # as if it had been killed while it wrote
        (folder / "out" / f".state.pt.{process.pid}").touch()
    again = at_work(name, inputs, folder)
    again.terminate()
    assert again.wait(SOON) == 143
    if name == "train":  # from a whole state
        assert "low 1/" not in folder.with_suffix(".out").read_text()
    assert hidden(folder) == []


def test_ctrl_c_while_the_command_is_imported(tmp_path):
    """In the first moments, before any verb: at 10 places in time."""
    for part in range(10):
        process = start(["boards"], tmp_path / "work")
        time.sleep(0.02 + 0.02 * part)
        process.send_signal(signal.SIGINT)
        process.wait(SOON)
        said = (tmp_path / "work.err").read_text()
        assert "popstream" not in said, said  # no traceback through our files; Python's own start is not ours


def interrupting_itself(program: str, name: str) -> subprocess.CompletedProcess:
    """A program of the command line that sends itself the signal `name`."""
    return subprocess.run(
        [sys.executable, "-c", program, name], cwd=ROOT, capture_output=True, text=True, timeout=SOON,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


WRAPPED = """
import os, signal, sys
from popstream.cli import front
class Slow:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        for turn in range(1000): pass
def run(given):
    try:
        type("Made", (), {"slow": Slow()})
    except KeyboardInterrupt as error:  # Python 3.12 and later do not wrap it
        raise RuntimeError("while a class was made") from error
front.run = run
sys.exit(front.main(["boards"]))
"""
SWALLOWED = WRAPPED.replace(
    "def run(given):\n",
    "def run(given):\n    try: made()\n    except BaseException: raise ImportError('a part') from None\ndef made():\n",
)


@pytest.mark.parametrize("program", [WRAPPED, SWALLOWED], ids=["by Python", "by a library"])
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_that_becomes_an_error_of_another_kind_still_ends_it_as_one(program, name, status):
    done = interrupting_itself(program, name)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr


def test_an_error_before_which_nothing_was_interrupted_stays_what_it_is():
    quiet = SWALLOWED.replace("os.kill(os.getpid(), getattr(signal, sys.argv[1]))", "raise OSError('none')")
    done = interrupting_itself(quiet, "SIGINT")
    assert done.returncode == 1
    assert "ImportError: a part" in done.stderr


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
    done = interrupting_itself(FINALIZED, name)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
