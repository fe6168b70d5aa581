"""A copy of the checkout, in which faults are planted one at a time; the checkout itself is never changed."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from popstream.model.files import is_left
from popstream.mutation.draw import MutationError
from popstream.mutation.worker import Answer, Job

__all__ = ["Tree", "checkout", "copied"]

# What most tests import and no fault is planted in.
PRELOADED = ("numpy", "safetensors.numpy", "torch", "rich.console", "tqdm", "amaranth", "sklearn.datasets")
CHECKOUT = Path(__file__).resolve().parents[2]


def checkout(root: Path = CHECKOUT) -> Path:
    """`root`, which must be popstream's checkout by git, with its tests. MutationError."""
    if not (root / "tests").is_dir() or not (root / ".git").exists():
        raise MutationError(f"{root} is no checkout of popstream by git, with its tests; faults are planted in one")
    return root


def listed(root: Path) -> list[str]:
    """The files of the checkout, as they are there now: those that git tracks or would."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    if done.returncode:
        raise MutationError(f"git lists no files of {root}: {done.stderr.decode(errors='replace').strip()}")
    names = sorted(set(filter(None, done.stdout.decode().split("\0"))))
    return [name for name in names if os.path.lexists(root / name)]


class Tree:
    """A copy in `folder`, and the process that runs its tests. digest: of all its code."""

    def __init__(self, folder: Path, names: list[str]):
        self.folder, self.names = folder, names
        self.texts = 0  # other texts of a file that there were
        self.process: subprocess.Popen[bytes] | None = None
        code = hashlib.sha256()
        for name in names:
            if name.endswith((".py", ".toml")) and not (folder / name).is_symlink():
                code.update(f"{name}\n".encode() + (folder / name).read_bytes())
        self.digest = code.hexdigest()[:16]

    def text(self, file: str) -> str:
        """A file's text."""
        return (self.folder / file).read_text()

    @contextmanager
    def changed(self, file: str, text: str) -> Iterator[None]:
        """The copy with another text of a file, for a while. Its time is one that no other text has, since Python takes
        byte code for that of a text by its time in seconds, and by its size; and it is put back, too."""
        path = self.folder / file
        before, status = path.read_bytes(), path.stat()
        self.texts += 1
        try:
            path.write_text(text)
            os.utime(path, (status.st_atime, int(status.st_mtime) + self.texts))
            yield
        finally:
            path.write_bytes(before)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def do(self, job: Job) -> Answer:
        """Hand a job to the process, which is started where there is none. MutationError where it died."""
        if self.process is None:
            # An installed popstream is the checkout's.
            environment = os.environ | {
                "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
            }  # fmt: skip
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            environment.pop("PYTEST_ADDOPTS", None)  # are for the pytest around this one, if there is one
            self.process = subprocess.Popen(
                [sys.executable, "-m", "popstream.mutation.worker", *PRELOADED], cwd=self.folder, env=environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(msgspec.json.encode(job) + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise MutationError(f"the process that runs the tests died with status {self.process.wait()}")
        return msgspec.json.decode(line, type=Answer)

    def close(self) -> None:
        """End the process, and what it runs."""
        if self.process is not None:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()


@contextmanager
def copied(root: Path, place: Path) -> Iterator[Tree]:
    """A copy of the checkout `root` below `place`, removed in the end; its build/ is a link to one that stays there."""
    place.mkdir(parents=True, exist_ok=True)
    for other in place.glob(".tree.*"):
        if is_left(other):
            shutil.rmtree(other, ignore_errors=True)
    folder = (place / f".tree.{os.getpid()}").resolve()
    try:
        names = listed(root)
        for name in names:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target, follow_symlinks=False)
        (place / "build").mkdir(exist_ok=True)
        (folder / "build").symlink_to((place / "build").resolve())
        tree = Tree(folder, names)
        try:
            yield tree
        finally:
            tree.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
