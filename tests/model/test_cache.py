"""Folders that are made once: by whoever comes first, whole or not at all, and swept when nobody uses them."""

import os
import subprocess
import sys
import time

import pytest

from popstream.model import cache
from popstream.model.cache import key, locked, once

SCRIPT = """
import sys, time
from pathlib import Path
from popstream.model.cache import locked, once
folder = Path(sys.argv[1])
def work(place):
    (place / "whole").write_text("yes")
    with (folder.parent.parent / "made").open("a") as file:
        file.write("x")
    time.sleep(0.3)
once(folder, ["whole"], work)
"""
HOLD = """
import sys, time
from pathlib import Path
from popstream.model.cache import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_keys_tell_parts_apart():
    assert key("ab", "c") != key("a", "bc")
    assert key("ab") == key("ab")
    assert len(key("ab")) == 16


def test_several_processes_make_it_once(tmp_path):
    folder = tmp_path / "root" / "folder"
    several = [subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)]) for _ in range(3)]
    assert [process.wait() for process in several] == [0, 0, 0]
    assert (tmp_path / "made").read_text() == "x"
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    assert (folder / "whole").read_text() == "yes"


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    began = time.monotonic()
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -KILL {holder.pid}"])
    with locked(tmp_path / "lock"):
        assert time.monotonic() - began > 0.4
    holder.stdout.close()
    holder.wait()
    killer.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_folder_is_made_again(tmp_path):
    made = []

    def work(place):
        made.append(place)
        (place / "whole").touch()

    for _ in range(2):
        assert once(tmp_path / "folder", ["whole"], work) == tmp_path / "folder"
    (tmp_path / "folder" / "whole").unlink()
    (tmp_path / "folder" / "rest").touch()
    once(tmp_path / "folder", ["whole"], work)
    assert len(made) == 2
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["whole"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_failure_leaves_nothing(tmp_path):
    def work(place):
        (place / "half").touch()
        raise ValueError("no further")

    with pytest.raises(ValueError, match="no further"):
        once(tmp_path / "folder", ["whole"], work)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_and_nobody_uses_is_swept(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stay = [f".mine.{os.getpid()}", "young", ".hidden"]
    for name in (*stay, f".folder.{gone.pid}", "old"):
        (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / "old.log").touch()
    long_ago = time.time() - (cache.UNUSED_DAYS + 1) * 86_400
    for name in ("old", "old.log", ".hidden"):
        os.utime(tmp_path / name, (long_ago, long_ago))
    once(tmp_path / "young", ["deep"], lambda place: pytest.fail("made again"))
    assert {path.name for path in tmp_path.iterdir()} == set(stay)


def test_a_lock_of_a_killed_process_is_swept_and_one_that_is_held_stays(tmp_path):
    (tmp_path / "young").mkdir()
    (tmp_path / ".gone.lock").touch()
    with locked(tmp_path / ".held.lock"):
        once(tmp_path / "young", [], lambda place: pytest.fail("made again"))
        assert {path.name for path in tmp_path.iterdir()} == {"young", ".held.lock"}
    assert {path.name for path in tmp_path.iterdir()} == {"young"}


def test_use_keeps_a_folder(tmp_path):
    (tmp_path / "folder" / "whole").mkdir(parents=True)
    before = time.time() - 20 * 86_400
    os.utime(tmp_path / "folder", (before, before))
    once(tmp_path / "folder", ["whole"], lambda place: pytest.fail("made again"))
    assert (tmp_path / "folder").stat().st_mtime > before + 86_400
