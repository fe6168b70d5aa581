"""Folders that are made once: named after all that went into them, whole or not there, swept when nobody uses them.

folder = once(root / key(version, source), ["program"], compile)     # compile(place) fills `place`, which is renamed
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from popstream.model.files import is_left

__all__ = ["alone", "forget", "key", "locked", "once"]

UNUSED_DAYS = 30
ALONE = ".lock"  # of a folder


def key(*parts: str) -> str:
    """16 hex digits of the SHA-256 of the parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def alone(folder: Path, refusal: Exception) -> Iterator[None]:
    """Have `folder` for this process alone; `refusal` is raised where another has it. A folder in which nothing can be
    written needs no lock, as nothing in it can be spoilt."""
    made = not folder.exists()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            stack.callback(leave, folder, made)
            file = stack.enter_context((folder / ALONE).open("w"))
            while not taken(file, folder / ALONE, refusal):  # whoever held it took the file away
                file = stack.enter_context((folder / ALONE).open("w"))
        yield


def taken(file: IO[str], path: Path, refusal: Exception) -> bool:
    """Whether the lock of an open file, still at `path`, is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise refusal from None
    return same(file, path)


def leave(folder: Path, made: bool) -> None:
    """Take the lock away if no other has it, and a folder that was made for it alone."""
    forget(folder / ALONE)
    if made:
        with contextlib.suppress(OSError):  # not empty any more
            folder.rmdir()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of file `path`, alone among all processes; it is free again when this one ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        while True:
            with path.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if same(file, path):  # else whoever held it took the file away
                    yield
                    return
    finally:
        forget(path)


def same(file: IO[str], path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def once(folder: Path, holds: Iterable[str], work: Callable[[Path], None]) -> Path:
    """`folder`, which holds the files `holds`: made by work(a folder beside it) and renamed, unless it is there.

    Who comes second waits for the first. What `work` raises is passed on, and nothing is left.
    """
    files = [folder / name for name in holds]
    sweep(folder.parent)
    if not all(file.exists() for file in files):
        with locked(folder.parent / f".{folder.name}.lock"):
            if not all(file.exists() for file in files):
                shutil.rmtree(folder, ignore_errors=True)  # damaged
                make(folder, work)
    with contextlib.suppress(OSError):  # another's, or on a disk that is only read
        os.utime(folder)  # used today
    return folder


def make(folder: Path, work: Callable[[Path], None]) -> None:
    """Make `folder` by work(a folder beside it)."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        work(beside)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove what nobody used for UNUSED_DAYS, and what killed processes left: hidden, named after their number, or
    locks that none holds."""
    oldest = time.time() - UNUSED_DAYS * 86_400
    for path in root.glob("*") if root.is_dir() else ():
        if is_left(path):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.startswith(".") and path.suffix == ".lock":
            forget(path)
        elif not path.name.startswith("."):
            with contextlib.suppress(OSError):  # another process may sweep, too
                if path.stat().st_mtime < oldest:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def forget(lock: Path) -> None:
    """Take the file of a lock away unless somebody holds it; who waits for it then sees that it is gone."""
    with contextlib.suppress(OSError), lock.open("r+") as file:  # BlockingIOError: it is held
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if same(file, lock):
            lock.unlink()
