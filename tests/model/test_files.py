"""Files are whole or not there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from popstream.model.files import write_json, write_whole


def test_content_and_folder(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"x": [1, 2]})
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": [1, 2]}
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.json"]


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "x.bin"
    write_whole(path, b"before")

    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_beside_is_taken_away(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path, others = tmp_path / "x[1].bin", [f".x[1].bin.{os.getppid()}", ".x[1].bin.1234567890123", ".x1.bin.5"]
    for name in (*others, f".x[1].bin.{gone.pid}"):
        (tmp_path / name).touch()
    write_whole(path, b"whole")
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted([path.name, *others])


def test_an_error_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=r"No space left on device: '.*x\.bin'"):
        write_whole(tmp_path / "x.bin", b"")


def test_nothing_is_written_through_a_link(tmp_path):
    """Neither one in the place of the file, nor one that another user put beside it, in a folder that is everyone's."""
    victim, path = tmp_path / "victim", tmp_path / "x.bin"
    victim.write_bytes(b"mine")
    path.symlink_to(victim)
    (tmp_path / f".x.bin.{os.getpid()}").symlink_to(victim)
    write_whole(path, b"new")
    assert (victim.read_bytes(), path.read_bytes(), path.is_symlink()) == (b"mine", b"new", False)
