"""The package: a wheel that holds all it needs, installed in an empty environment away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import popstream

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "popstream"
USED = """
import numpy as np
from popstream.hw.accelerator import Accelerator
from popstream.hw.solver.solve import solve
from popstream.model.manifest import find, load
network = load(find("digits-w1a2"))
accelerator = Accelerator(network, solve(network))
print(len(accelerator.latencies), popstream.__version__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    return next(folder.glob("popstream-*.whl"))


def test_the_wheel_holds_every_file_of_the_rooms_once(wheel):
    listed = subprocess.run(["git", "ls-files", "popstream", "model", "hw", "sim", "boards"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
    kept = [name for name in listed if not name.startswith("model/underway/")]  # trainings go on in a checkout
    files = {f"popstream/{name.removeprefix('popstream/')}" for name in kept if (ROOT / name).is_file()}
    held = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert sorted(held) == sorted(files)


def test_an_empty_environment_runs_it(wheel, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python, elsewhere = tmp_path / "venv" / "bin" / "python", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{wheel}[sim]", cwd=elsewhere)
    blocks, version = run(python, "-c", f"import popstream\n{USED}", cwd=elsewhere).split()
    assert (int(blocks) > 10, version) == (True, popstream.__version__)
    shown = run(python.with_name("popstream"), "sim", "digits-w1a2", "--images", "3", cwd=elsewhere)
    assert "Every value is equal" in shown
    assert (elsewhere / "build" / "digits-w1a2" / "sim.json").is_file()
