"""A folder is one process's at a time: the second is told so at once, and nothing is left of the lock."""

import subprocess
import sys

import pytest

from popstream.boards.fitting.capacity import fold
from popstream.boards.flow import build as flow
from popstream.boards.known import find
from popstream.model.cache import ALONE, alone
from popstream.model.manifest import find as find_network
from popstream.model.manifest import load
from tests.command import run_cli

HOLD = """
import sys, time
from pathlib import Path
from popstream.model.cache import alone
with alone(Path(sys.argv[1]), RuntimeError("busy")):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another process has."""
    folder = tmp_path / "out" / "soak"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    yield folder
    holder.kill()
    holder.communicate()
    with alone(folder, RuntimeError("busy")):  # free again, and as new
        (folder / "used").touch()
    assert [path.name for path in folder.iterdir()] == ["used"]


def test_the_second_is_refused(held):
    with pytest.raises(RuntimeError, match="busy"), alone(held, RuntimeError("busy")):
        pytest.fail("two have it")
    assert [path.name for path in held.iterdir()] == [ALONE]


def test_a_folder_that_was_made_for_the_lock_goes_with_it(tmp_path):
    with pytest.raises(ValueError, match="wrong"), alone(tmp_path / "new", RuntimeError("busy")):
        raise ValueError("wrong")
    assert list(tmp_path.iterdir()) == []


def test_a_second_campaign(held):
    status, out, err = run_cli("soak", "--count", "manifests=1", "--root", held.parent)
    assert (status, out) == (1, "")
    assert err == f"error: {held} is that of a campaign that runs; wait for it, or give another --root\n"


def test_a_second_training(held):
    pytest.importorskip("torch")
    status, _, err = run_cli("train", "digits-w1a2", "--out", held, "--device", "cpu")
    assert (status, err) == (1, f"error: {held} is that of a training that runs; wait for it, or give another --out\n")


def test_a_second_build(held, monkeypatch):
    monkeypatch.setattr(flow, "build_alone", lambda *given: pytest.fail("it went on"))
    board, network = find("icebreaker"), load(find_network("digits-w1a2"))
    with pytest.raises(flow.ToolError, match="is that of a build that runs; wait for it, or give another --out"):
        flow.build(board, network, fold(board, network, None), 24.0, range(1), held, None)
