"""Verilated models: each compiled once into a folder named after everything that went into it.

    folder = compiled(Design("Vtop", "top", {"top.v": text, "loop.cpp": loop}), Path("build"), optimize=2)

Every bench is compiled here; each says only what is its own (Design). Verilator's own runtime, which does not depend on
the design, is compiled once for each set of flags.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from popstream.hw.packaging import waivers
from popstream.model.cache import key, make, once
from popstream.model.machine import cores
from popstream.model.progress import Progress, silent
from popstream.sim.verilator.tools import (
    LOG,
    BuildError,
    check_tools,
    environment,
    run_tool,
    verilator_bin,
    versions,
)

__all__ = ["FOLDER", "NATIVE", "STANDARD", "WAIVERS", "Compile", "Design", "compiled"]

FOLDER = "verilator"  # in the root of all that is built
OPTIMIZE = range(4)
WAIVERS = "waivers.vlt"
FLAGS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert")
STANDARD, NATIVE = "-std=c++20", "-march=native"
ONE_UNIT = 2_000_000  # bytes of Verilog that are compiled at once; more are split, for several cores and less memory
RUNTIME = ("verilated*.o", "verilator.o")  # the objects that do not depend on the design
ENOUGH = 0.05  # of the code to be compiled, from which on the rest is estimated
DAY = 86_400  # seconds
POLL_SECONDS = 1.0

Compile = Callable[[Path, "Design", list[str], str], None]


@dataclass(frozen=True)
class Design:
    """What is compiled.

    Parameters
    ----------
    program : the file that comes out.
    top : the top module.
    sources : Verilog and C++ by file name, in the order that Verilator is given them.
    name : of what it is, for errors.
    headers : files that lie beside the sources; the runtime may depend on them.
    c_flags : of the C++ compiler.
    flags : further ones of Verilator, which its runtime depends on too.
    link : of the linker.
    """

    program: str
    top: str
    sources: Mapping[str, str]
    name: str = "Verilog"
    c_flags: str = f"{STANDARD} {NATIVE}"
    flags: tuple[str, ...] = ()
    link: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def make_flags(optimize: int) -> str:
    """Variables for make: the wheel's own name tools of the machine that built it, and leave out the PCH option."""
    variables = {
        "CXX": "g++",
        "LINK": "g++",
        "AR": "ar",
        "PYTHON3": sys.executable,
        "CFG_CXXFLAGS_PCH_I": "-include",  # else: "Vtop__pch.h.fast: linker input file not found"
        "OPT_FAST": f"-O{optimize}",  # the design's code; OPT_SLOW, run once, stays unoptimized
        "OPT_GLOBAL": f"-O{optimize}",  # the runtime's
    }
    return " ".join(f"{name}={value}" for name, value in variables.items())


def verilate(place: Path, design: Design, flags: list[str], variables: str) -> None:
    """Compile the sources in `place` to a program with a C++ loop of its own. BuildError with what the tools said."""
    tool = str(verilator_bin().resolve() / "verilator")
    names = ["--top-module", design.top, "--prefix", design.program, "--Mdir", "."]
    link = ["-LDFLAGS", design.link] if design.link else []
    with environment(VERILATOR_ROOT=None, MAKEFLAGS=None, MAKELEVEL=None, CXXFLAGS=None):
        run_tool([tool, "--cc", "--exe", *flags, *link, *names, WAIVERS, *design.sources], place)
        run_tool(["make", f"-j{cores()}", "-f", f"{design.program}.mk", *variables.split(), design.program], place)


def compiled(
    design: Design, root: Path, optimize: int, compile: Compile = verilate, progress: Progress = silent
) -> Path:
    """The folder of the compiled design, root/verilator/<key>; made unless it is there.

    `compile` calls the tools: on a folder that holds the sources, with flags and make's variables, to be left with the
    program and build.log. `progress` is told what is compiled, and for how long. Raises BuildError, whose log is kept,
    and ValueError.
    """
    if optimize not in OPTIMIZE:
        raise ValueError(f"Optimization must be 0 to {OPTIMIZE[-1]}, not {optimize!r}")
    check_tools(root)
    files, variables = {WAIVERS: waivers(), **design.sources, **design.headers}, make_flags(optimize)
    flags = [*FLAGS, *design.flags, "-CFLAGS", design.c_flags]
    common = key(*versions(), variables, *flags, *design.headers.values())
    parts = (part for file in files.items() for part in file)
    folder = root / FOLDER / key(common, design.program, design.top, design.link, *parts)
    runtime = root / FOLDER / f"runtime-{common}"
    size = sum(len(text) for name, text in files.items() if name.endswith(".v"))

    def work(place: Path) -> None:
        for name, text in files.items():
            (place / name).write_text(text)
        use_runtime(place, runtime)
        try:
            with watched(place, size, progress):
                compile(place, design, flags + (["--output-split", "0"] if size < ONE_UNIT else []), variables)
        except BuildError as error:
            failed = folder.with_name(f"failed-{folder.name}.log")
            shutil.copyfile(place / LOG, failed)
            raise BuildError(f"{design.name}: {error}; log in {failed}") from None
        keep_runtime(place, runtime)
        for path in place.glob("*.gch"):
            path.unlink()  # 100 MB each
        log = place / LOG
        log.write_text(log.read_text().replace(str(place.resolve()), str(folder.resolve())))

    return once(folder, [design.program], work)


@contextmanager
def watched(place: Path, size: int, progress: Progress) -> Iterator[None]:
    """Tell `progress` now and then how far the compilation in `place`, of so many bytes of Verilog, has come."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(POLL_SECONDS):
            progress(state(place, size, time.time()))

    watcher = threading.Thread(target=look, daemon=True)  # at no moment of an interrupt does it keep the process alive
    try:
        if progress is not silent:
            watcher.start()
        yield
    finally:
        stop.set()
        if watcher.ident is not None:
            watcher.join()


def state(place: Path, size: int, now: float) -> str:
    """How many of the C++ files in `place` are compiled, and the seconds that the others take at the same rate, once
    there is enough of them to tell.
    """
    files = {path: path.stat() for path in place.glob("*.cpp")}
    if not list(place.glob("*.mk")):
        return f"Verilator reads {size / 1e6:.1f} MB of Verilog"
    done = [path for path in files if path.with_suffix(".o").exists()]
    text = f"{size / 1e6:.1f} MB of Verilog, {len(done)} of {len(files)} C++ files compiled"
    compiled = sum(files[path].st_size for path in done)
    whole = sum(found.st_size for found in files.values())
    if compiled <= ENOUGH * whole:
        return text
    began = max(found.st_mtime for found in files.values())
    left = (now - began) * (whole / compiled - 1)
    return f"{text}, about {left:.0f} s left"


def use_runtime(folder: Path, runtime: Path) -> None:
    """Put the runtime's objects into `folder`, if they are kept, dated so that make takes them for up to date."""
    later = time.time() + DAY  # their rule names Vtop.mk, which Verilator is yet to write
    for path in runtime.glob("*.o"):
        os.utime(shutil.copyfile(path, folder / path.name), (later, later))
    if runtime.exists():
        os.utime(runtime)  # used today


def keep_runtime(folder: Path, runtime: Path) -> None:
    """Keep the runtime's objects for the next design, if they are not kept yet."""

    def copy(place: Path) -> None:
        for pattern in RUNTIME:
            for path in folder.glob(pattern):
                shutil.copyfile(path, place / path.name)

    if not runtime.exists():
        try:
            make(runtime, copy)
        except OSError:
            if not runtime.exists():  # unless another build was first
                raise
