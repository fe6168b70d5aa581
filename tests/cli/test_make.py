"""make's targets are verbs of the command: whatever a variable holds reaches it as one word, and no shell runs it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

import popstream.cli.front  # noqa: F401 adds the verbs
from popstream.cli.app import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Makefile").read_text()


def make(target: str, *variables: str) -> subprocess.CompletedProcess:
    """`make target` in an environment that is set up."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ready = [part for stamp in re.findall(r"\$\(VENV\)/(\.\w+)", TEXT) for part in ("-o", f".venv/{stamp}")]
    command = ["make", *ready, target, *variables]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


VALUES = ["a;touch {m}", "$(touch {m})", "`touch {m}`", "a'; touch {m} '", '"; touch {m} "', "a\\' & touch {m}"]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_one_word_that_no_shell_reads(tmp_path, value):
    mark = tmp_path / "ran"
    given = value.format(m=mark)
    done = make("sim", f"NET={given}")
    assert done.returncode == 2
    assert f"error: NET: {given!r} is no network" in done.stderr
    assert not mark.exists()


@pytest.mark.parametrize(("variable", "target"), [
    ("NET", "rom"), ("N", "sim"), ("STALL", "sim"), ("SEED", "bitstreams"), ("BOARD", "fold"), ("FREQ", "fold"),
    ("FPS", "fold"), ("SEEDS", "bitstream"), ("RTL", "accuracy"), ("SPEC", "sweep"), ("FAMILY", "resources"),
    ("BAUD", "board-sim"), ("ARGUMENTS", "rom"),
])  # fmt: skip
def test_no_variable_is_run(tmp_path, variable, target):
    """Nor by make itself, which would take $(shell ...) for a call."""
    mark = tmp_path / "ran"
    board = [] if variable == "BOARD" else ["BOARD=icebreaker"]
    done = make(target, "NET=digits-w1a2", *board, f"{variable}=x;touch {mark};$(shell touch {mark})`touch {mark}`")
    assert done.returncode == 2
    assert not mark.exists()
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "x;touch" in said


def test_every_variable_is_quoted():
    """In recipes a variable of the user's stands in quotes, or is asked only whether it is there."""
    given = set(re.search(r"^unexport (.*)$", TEXT, re.MULTILINE)[1].split()) - {"PYTHON"}
    recipes = "\n".join(line for line in TEXT.splitlines() if line.startswith("\t"))
    assert [name for name in sorted(given) if re.search(rf"\$[({{]{name}[)}}]", recipes)] == []


def test_the_targets_are_verbs():
    targets = set(re.findall(r"^([a-z-]+):.*## ", TEXT, re.MULTILINE))
    called = set(re.findall(r"\$\(RUN\) ([a-z-]+)", TEXT))
    assert called <= set(app)
    assert called == targets - {"help", "test", "check", "docs", "lint", "clean", "fuzz"}  # fuzz is soak --fuzz


def test_arguments_are_options_of_the_verb(tmp_path):
    done = make("rom", "NET=digits-w1a2", f"ARGUMENTS=--root '{tmp_path}/a b'")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a b" / "digits-w1a2" / "rom.bin").exists()
