"""Help of the command: a screen each, an example that is right, and no library that only the work needs."""

import re
import subprocess
import sys

import pytest

import popstream.cli.front  # noqa: F401 adds the verbs
from popstream.cli.app import app
from popstream.cli.host import host
from tests.command import run_cli

VERBS = [(name,) for name in app if name[0] != "-"] + [("host", name) for name in host if name[0] != "-"]
LINES, COLUMNS = 40, 80


def page(monkeypatch, *verb: str) -> list[str]:
    """A help page as a terminal of 80 columns shows it."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    status, out, err = run_cli(*verb, "--help")
    assert (status, err) == (0, "")
    return out.splitlines()


@pytest.mark.parametrize("verb", [(), *VERBS], ids=" ".join)
def test_help_fits_a_screen(monkeypatch, verb):
    lines = page(monkeypatch, *verb)
    assert len(lines) <= LINES
    assert max(len(line.rstrip()) for line in lines) <= COLUMNS
    assert lines[0].startswith("Usage: popstream")
    assert "ARGS" not in lines[0]  # each argument by its name


def test_every_verb_stands_in_a_group_in_one_line(monkeypatch):
    lines = page(monkeypatch)
    groups = [line for line in lines if re.fullmatch(r"[A-Z].*:", line.rstrip())]
    assert len(groups) == 4
    listed = [line.split()[0] for line in lines if re.match(r"  [a-z]", line)]
    assert sorted(listed) == sorted(verb[0] for verb in VERBS if len(verb) == 1)
    assert not any(line.startswith("   ") for line in lines)  # none goes on in a second line


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != ("host",)], ids=" ".join)
def test_each_verb_has_an_example_that_it_takes_and_says_how_long(monkeypatch, verb):
    lines = [line.rstrip() for line in page(monkeypatch, *verb)]
    (example,) = (line.removeprefix("Example: popstream ") for line in lines if line.startswith("Example: popstream "))
    assert any(line.startswith("Takes ") for line in lines)
    given = example.split()
    assert tuple(given[: len(verb)]) == verb
    command, bound, _ = app.parse_args(given, exit_on_error=False, print_error=False)
    assert command.__name__.rstrip("_").replace("_", "-") == verb[-1]
    assert bound.arguments or len(given) == len(verb)


def test_help_imports_nothing_that_only_the_work_needs():
    heavy = ["torch", "amaranth", "numpy", "ray", "matplotlib", "sklearn", "cocotb"]
    program = (
        "import sys; from popstream.cli import main; main(['--help']); main(['sim', '--help']);"
        f"sys.exit(' '.join(sorted(set(sys.modules) & set({heavy!r}))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_verbs_and_their_options(shell):
    script = app.generate_completion(shell=shell)
    for verb in VERBS:
        assert verb[-1] in script
    assert "stall" in script


def test_version():
    status, out, _ = run_cli("--version")
    assert status == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", out)
