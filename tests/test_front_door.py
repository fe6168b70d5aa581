"""The front door: make targets, dependencies with a reason each, pinned versions, and no host or path anywhere."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = PROJECT["dependencies"] + [r for group in PROJECT["optional-dependencies"].values() for r in group]


def package(requirement: str) -> str:
    return re.split(r"[<>=!~\[ ;]", requirement)[0].lower().replace("_", "-")


def test_help_lists_every_target():
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"sim", "test", "train", "export", "accuracy", "verilog", "resources"} <= set(targets)
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for target in targets:
        assert re.search(rf"^{target}\s+\S", listed, re.MULTILINE), target


def test_every_target_is_made_beside_a_file_of_its_name():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert phony is not None
    assert set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)) == set(phony[1].replace("\\", "").split())


def test_what_is_given_to_one_make_is_not_for_those_that_it_starts():
    text = (ROOT / "Makefile").read_text()
    own = re.findall(r"^([A-Z_]+) :?= ", text, re.MULTILINE)
    given = sorted(set(re.findall(r"\$\((?:value |origin |call \w+,)?([A-Z_]+)\b", text)) - {*own, "MAKEFILE_LIST"})
    assert {"ARGUMENTS", "NET", "SEED", "SPEC"} <= set(given)
    command = ["make", "--eval", "environment: ; @env", "environment", *(f"{name}=given" for name in given)]
    shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [line for line in shown.splitlines() if line.endswith("=given") and not line.startswith("MAKE")] == []


def test_clean_keeps_what_was_trained(tmp_path):
    kept = ["build/net/train/state.pt", "build/sweeps/seeds/run/final.pt"]
    for name in (*kept, "build/net/sim/top.v", "build/net/sim.json", "build/bench.json", "build/other/top.bit"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["make", "-f", ROOT / "Makefile", "clean"], cwd=tmp_path, check=True, capture_output=True)
    files = (path for path in tmp_path.rglob("*") if path.is_file())
    assert sorted(str(path.relative_to(tmp_path)) for path in files) == kept
    subprocess.run(["make", "-f", ROOT / "Makefile", "clean"], cwd=tmp_path / "build", check=True, capture_output=True)


def test_sim_needs_no_torch():
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["sim"]:
        assert package(requirement) != "torch"
    recipe = subprocess.run(["make", "-n", "-B", "sim"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert ".[sim]" in recipe
    assert ".[train]" not in recipe


@pytest.mark.parametrize("requirement", sorted(set(REQUIREMENTS)))
def test_every_dependency_is_pinned_and_has_a_reason(requirement):
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    )
    assert package(requirement) in {name.lower().replace("_", "-") for name in pins}
    lines = [line for line in (ROOT / "pyproject.toml").read_text().splitlines() if f'"{requirement}"' in line]
    assert any("#" in line for line in lines)


def test_no_file_names_a_package_host_or_a_path_of_one_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    forbidden = re.compile(r"--index|--extra|--find|https?://\S*/simple|/home/|/root/")
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".py", ".toml", ".txt", ".md", ".sv", ".vlt") and path != Path(__file__):
            found = forbidden.search(path.read_text())
            assert found is None, f"{name}: {found}"


PIP = """#!/bin/sh
case "$2" in
venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
pip) echo begin >> "$LOG"; sleep 0.1; echo end >> "$LOG" ;;
esac
"""


def test_the_environment_is_set_up_by_one_pip_at_a_time(tmp_path):
    python, log, venv = tmp_path / "python", tmp_path / "log", tmp_path / "venv"
    python.write_text(PIP)
    python.chmod(0o755)
    command = [
        "make",
        "-j4",
        f"PYTHON={python}",
        f"VENV={venv}",
        *(f"{venv}/.{kind}" for kind in ("host", "plot", "sim")),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment | {"LOG": str(log)})
    assert log.read_text().split() == ["begin", "end"] * 4  # core first


def test_an_old_python_is_refused(tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    run = subprocess.run(["make", f"PYTHON={fake}", f"VENV={tmp_path}/venv", f"{tmp_path}/venv/.python"], cwd=ROOT,
                         capture_output=True, text=True)  # fmt: skip
    assert run.returncode != 0
    assert "is older than 3.11; set PYTHON=python3.11 or newer" in run.stdout
