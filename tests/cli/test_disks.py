"""A full disk, and a folder that is only read, in the commands that work for long: status, line, nothing left."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.cli.working import COMMANDS, QUIET, ROOT

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="disks are mounted in a namespace of their own")


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
