"""Wrong commands: one line that says what was given, what is allowed, what to do; the right status, at once."""

import json
import os
import re
import resource
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

import pytest

from popstream.boards.host.client import LinkError
from popstream.cli import front, options
from popstream.cli.app import app
from popstream.model.manifest import zoo
from tests.command import run_cli

ROOT = Path(__file__).parents[2]
LOOPS = 18  # of `loop`: 3 seconds of a fast processor, and as much more of a slow one
NETS = f"known are {', '.join(folder.name for folder in zoo())}"


@lru_cache
def loop() -> float:
    """Seconds that this processor takes for a few million steps of Python: a sixth of a second, or a quarter."""
    begun = time.process_time()
    sum(n * n for n in range(4_000_000))
    return time.process_time() - begun


def popstream(*arguments: object, **environment: str) -> tuple[int, str, float]:
    """Status and standard error of the command in a process of its own, and the processor's seconds that it took.

    Of a processor, not of the clock on the wall: other tests run beside.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "popstream", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.returncode, done.stderr, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


WRONG = {
    "net": (["sim", "digits-w1a"], 2, f"NET: 'digits-w1a' is no network; did you mean digits-w1a2? {NETS} (or give"),
    "board": (["fold", "digits-w1a2", "ulx3s-20f"], 2, "BOARD: 'ulx3s-20f' is no board; did you mean ulx3s-"),
    "number": (["sim", "digits-w1a2", "--images", "abc"], 2, "--images must be a whole number, not 'abc'; see"),
    "no folder": (["sim", "digits-w1a2", "--root", "/proc/x"], 2, "--root must be a folder that can be written, and"),
    "folding": (["verilog", "digits-w1a2", "--folding", "{tmp}/f.json"], 1, "f.json: Node 'a': it must be a table"),
    "too big": (["bitstream", "resnet20-w1a2", "icebreaker", "--out", "{tmp}/o"], 1, "does not fit icebreaker (iCE40"),
    "clock": (["fold", "digits-w1a2", "icebreaker", "--freq", "900"], 2, "--freq must be 1 to 400 MHz, not 900; see"),
    "clock to build": (["bitstream", "digits-w1a2", "icebreaker", "--freq", "900"], 2, "--freq must be 1 to 400 MHz,"),
    "no port": (["host", "identify"], 2, "--port is missing; see popstream host identify --help"),
    "room": (["bitstream", "digits-w1a2", "icebreaker", "--room-for", "x"], 2, "--room-for is for a bitstream that is"),
    "no board": (["bitstream", "digits-w1a2"], 2, "BOARD is missing; known are "),
    "verb": (["classify", "digits-w1a2"], 2, "there is no verb 'classify'; popstream --help lists all"),
    "option": (["sim", "digits-w1a2", "--stal", "0.1"], 2, "there is no option --stal; did you mean --stall?"),
    "too much": (["rom", "digits-w1a2", "more"], 2, "'more' is too much; see popstream rom --help"),
    "choice": (["resources", "digits-w1a2", "--family", "xilinx"], 2, "--family must be one of ecp5, ice40, not"),
    "order": (["fold", "icebreaker", "digits-w1a2"], 2, "NET: 'icebreaker' is a board; the network comes first"),
    "an empty list": (["bits", "digits-w1a2", "--bits"], 2, "--bits must be one value or more, apart by spaces; see"),
    "a comma": (["bits", "digits-w1a2", "--bits", "1,2"], 2, "--bits must be a whole number, or several apart by"),
    "a name with a path": (["untrained", "digits-w1a2", "--name", ".."], 2, "--name must be letters, digits, '_', '.'"),
    "below 0": (["netlist", "digits-w1a2", "--flip", "-1"], 2, "--flip must be at least 0, not -1; see"),
    "a host's verb": (["board-sim", "digits-w1a2", "icebreaker", "--", "x"], 2, "popstream host has no verb 'x'; pop"),
    "a huge rate": (["fold", "digits-w1a2", "icebreaker", "--fps", "1e300"], 2, "0 and at most 400,000,000, an image"),
    "block": (["prove", "Skd"], 2, "there is no block 'Skd'; did you mean Skid? known are Skid, LastStage, "),
    "a block without": (["prove", "Table"], 2, "nothing is proven of Table: no stream: numbers in, a number out"),
    "large numbers": (["host", "identify", "--port", "x", "--baud", "99999999"], 2, "be 1 to 3,000,000, not 99,999"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_command_is_one_line_at_once(name, tmp_path):
    (tmp_path / "f.json").write_text(json.dumps({"a": 1}))
    given, expected, said = WRONG[name]
    status, err, seconds = popstream(*(argument.replace("{tmp}", str(tmp_path)) for argument in given))
    assert status == expected, err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert seconds < LOOPS * loop()


def test_a_quote_that_is_not_closed():
    status, err, _ = popstream("boards", POPSTREAM_ARGUMENTS="'x")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith('error: ARGUMENTS "\'x" cannot be split (No closing quotation); close each quote')


def test_a_reader_that_has_enough():
    shown = subprocess.run(
        f"{sys.executable} -m popstream boards | head -n 1", shell=True, cwd=ROOT, capture_output=True, text=True
    )
    assert "boards" in shown.stdout
    assert shown.stderr == ""


def test_without_a_compiler(tmp_path):
    for tool in ("env", "sh"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    status, err, seconds = popstream("sim", "digits-w1a2", "--root", tmp_path / "new", PATH=str(tmp_path))
    assert (status, err.count("\n")) == (1, 1)
    assert re.match(r"error: Verilator needs g\+\+, .*make, .*apt install g\+\+ make ", err)
    assert seconds < LOOPS * loop()


def test_start_up_is_fast():
    status, err, seconds = popstream("--help")
    assert (status, err) == (0, "")
    assert seconds < 1


@pytest.mark.parametrize("name", ["../x", "a/b", "", "-", "x y"])
def test_a_name_that_becomes_a_folder_is_none_of_a_path(name):
    for verb in ("export", "train"):
        status, out, err = run_cli(verb, "--", name)
        assert (status, out) == (2, "")
        assert err.startswith("error: NET")
        assert err.count("\n") == 1


def raising(error: BaseException):
    """A verb that ends with the error."""

    @app.command(show=False)
    def fails() -> None:
        raise error

    return fails


@pytest.fixture
def verb_that_fails():
    yield raising
    app._commands.pop("fails", None)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (options.Failed("two of three\ndiffer"), 1, "error: two of three differ"),
        (options.UsageError("--a and --b exclude each other"), 2, "error: --a and --b exclude each other"),
        (LinkError("no reply"), 1, "error: no reply"),
        (FileNotFoundError(2, "No such file or directory", "x.json"), 1, "error: x.json: No such file or directory"),
        (ValueError("Depth must be 1"), 1, "error: Depth must be 1"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            ModuleNotFoundError("No module named 'ray'", name="ray"), 1,
            "error: package ray is missing; make fails brings it",
        ),
    ],
)  # fmt: skip
def test_failures_are_one_line(verb_that_fails, error, status, said):
    verb_that_fails(error)
    assert run_cli("fails") == (status, "", said + "\n")


def test_what_nobody_foresaw_keeps_its_traceback(verb_that_fails, monkeypatch):
    verb_that_fails(ZeroDivisionError("division by zero"))
    with pytest.raises(ZeroDivisionError):
        run_cli("fails")
    app._commands.pop("fails")
    verb_that_fails(ValueError("Depth must be 1"))
    monkeypatch.setenv("POPSTREAM_TRACEBACK", "1")
    with pytest.raises(ValueError, match="Depth must be 1"):
        run_cli("fails")


def test_makes_arguments_are_added_and_not_passed_on(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["popstream", "sim", "digits-w1a2"])
    monkeypatch.setenv("POPSTREAM_ARGUMENTS", "--images 'a b'")
    assert front.main() == 2
    assert "--images must be a whole number, not 'a b'" in capsys.readouterr().err
    assert "POPSTREAM_ARGUMENTS" not in os.environ
