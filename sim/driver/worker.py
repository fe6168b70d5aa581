"""Runs the driver program on some images, wherever Ray puts it: needs nothing but Python and what it is given."""

import hashlib
import os
import resource
import stat
import subprocess
import tempfile
import time
from pathlib import Path

__all__ = ["ProgramError", "run"]

HUNG = 3  # the program's status


class ProgramError(RuntimeError):
    """The program stopped; one line says how."""


def private() -> Path:
    """A folder of this user's alone, for programs; ProgramError where it is anything else."""
    folder = Path(tempfile.gettempdir()) / f"popstream-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()  # of a link itself, not of what it leads to
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ProgramError(f"{folder} must be a folder of this user's; remove it")
    if found.st_mode & 0o077:
        raise ProgramError(f"{folder} can be read or written by others; chmod 700 it, or remove it")
    return folder


def whole(path: Path, program: bytes) -> bool:
    """Whether the file at `path` is the program, and no link."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    with os.fdopen(file, "rb") as content:
        return content.read() == program


def unpack(program: bytes) -> Path:
    """The program as an executable file, once for each user and machine; compared with what is there each time."""
    folder = private()
    path = folder / hashlib.sha256(program).hexdigest()[:16]
    if not whole(path, program):
        file, beside = tempfile.mkstemp(dir=folder)
        with os.fdopen(file, "wb") as content:
            content.write(program)
        os.chmod(beside, 0o700)
        os.replace(beside, path)
    return path


def run(program: bytes, arguments: list[str], beats: bytes, bin_cycles: int = 0) -> tuple[bytes, float, float, bytes]:
    """(output, seconds, processor seconds, counts) of the program on `beats`; counts is empty without bin_cycles.

    ProgramError after a hang or if it cannot run. It ends with this process, whose pipe it reads.
    """
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(prefix="popstream-") as place:
        counts = Path(place) / "counts"
        extra = [str(bin_cycles), str(counts)] if bin_cycles else []
        done = subprocess.run([unpack(program), *arguments, *extra], input=beats, capture_output=True, check=False)
        found = counts.read_bytes() if counts.exists() else b""
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode == HUNG:
        raise ProgramError(f"The accelerator hangs: {said}")
    if done.returncode:
        raise ProgramError(f"The simulator ended with status {done.returncode} on {os.uname().nodename}: {said or '-'}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, time.perf_counter() - began, cpu, found
