"""Verilated models: compiled once for all that goes into them, errors in a line, tools that are missing, blanks."""

import os
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from popstream.boards.bench import harness
from popstream.sim.bench import build as bench
from popstream.sim.driver import driver
from popstream.sim.verilator import model, tools
from popstream.sim.verilator.model import Design, compiled
from popstream.sim.verilator.tools import LOG, BuildError, check_tools, environment
from tests.sim import standin

DESIGN = Design("program", "top", {"top.v": "module top; endmodule", "loop.cpp": "int main() {}"}, "nothing.v")


class Compiler:
    """Stands in for Verilator and g++; says what it was given."""

    def __init__(self):
        self.calls = []

    def __call__(self, place, design, flags, variables):
        self.calls.append((sorted(path.name for path in place.iterdir()), flags, variables))
        (place / design.program).write_text("program")
        (place / "verilated.o").touch()
        (place / "verilated_random.o").touch()
        (place / "large.gch").touch()
        (place / LOG).write_text(f"in {place.resolve()}")


def test_compiled_once_for_each_thing_that_differs(tmp_path):
    compiler, sources = Compiler(), dict(DESIGN.sources)
    folder = compiled(DESIGN, tmp_path, 1, compiler)
    assert (folder / LOG).read_text() == f"in {folder.resolve()}"
    assert not list(folder.glob("*.gch"))
    assert compiled(DESIGN, tmp_path, 1, compiler) == folder
    assert compiled(replace(DESIGN, name="of another name"), tmp_path, 1, compiler) == folder
    assert len(compiler.calls) == 1
    changes = [
        dict(sources=sources | {"top.v": sources["top.v"] + "\n"}),
        dict(sources=sources | {"more.v": ""}),
        dict(sources=dict(reversed(sources.items()))),
        *(dict(top="bench"), dict(program="Vtop"), dict(c_flags="-std=c++20"), dict(flags=("--timing",))),
        dict(headers={"zlib.h": ""}),
        dict(link="-static"),
    ]
    folders = {compiled(replace(DESIGN, **change), tmp_path, 1, compiler) for change in changes}
    folders |= {compiled(DESIGN, tmp_path, 2, compiler), folder}
    assert len(folders) == len(compiler.calls) == len(changes) + 2


def test_the_tools_count_too(tmp_path, monkeypatch):
    compiler = Compiler()
    compiled(DESIGN, tmp_path, 1, compiler)
    for name in ("versions", "waivers"):
        monkeypatch.setattr(model, name, lambda: "another")
        compiled(DESIGN, tmp_path, 1, compiler)
    assert len(compiler.calls) == 3


def test_the_runtime_is_compiled_once_for_its_flags(tmp_path):
    compiler = Compiler()
    others = [replace(DESIGN, top="bench", sources={"top.v": "", "a.cpp": ""}, program="other", link="-static"), DESIGN]
    for design in [*others, replace(DESIGN, flags=("--timing",)), replace(DESIGN, headers={"zlib.h": ""})]:
        compiled(design, tmp_path, 1, compiler)
    compiled(DESIGN, tmp_path, 2, compiler)
    had = ["verilated_random.o" in files for files, *_ in compiler.calls]
    assert had == [False, True, False, False, False]


def test_large_designs_are_split(tmp_path):
    compiler = Compiler()
    compiled(DESIGN, tmp_path, 1, compiler)
    compiled(replace(DESIGN, sources={"top.v": " " * model.ONE_UNIT}), tmp_path, 1, compiler)
    assert ["--output-split" in flags for _, flags, _ in compiler.calls] == [True, False]


def test_every_bench_is_compiled_here(tmp_path, monkeypatch):
    """cocotb's, the driver and the link's: in one folder, under keys of one kind."""
    seen = []

    def record(design, *_, **__):
        seen.append(design.program)
        return Path("folder")

    verilog = standin.write(tmp_path)
    for module in (bench, driver, harness):
        monkeypatch.setattr(module, "compiled", record)
    bench.build(verilog, "module bench; endmodule")
    driver.build_driver(verilog, standin.top())
    harness.compile_bench("module top; endmodule", "top")
    assert seen == [bench.BENCH, driver.PROGRAM, harness.EXECUTABLE]


def test_progress_says_how_much_is_compiled_and_how_long_the_rest_takes(tmp_path):
    for name, size in (("a", 1000), ("b", 3000), ("tiny", 1)):
        (tmp_path / f"{name}.cpp").write_text("x" * size)
        os.utime(tmp_path / f"{name}.cpp", (100, 100))
    assert model.state(tmp_path, 3_100_000, 101) == "Verilator reads 3.1 MB of Verilog"
    (tmp_path / "Vtop.mk").touch()
    assert model.state(tmp_path, 3_100_000, 103) == "3.1 MB of Verilog, 0 of 3 C++ files compiled"
    (tmp_path / "tiny.o").touch()  # too little to tell anything
    assert model.state(tmp_path, 3_100_000, 104) == "3.1 MB of Verilog, 1 of 3 C++ files compiled"
    (tmp_path / "a.o").touch()
    assert model.state(tmp_path, 3_100_000, 110) == "3.1 MB of Verilog, 2 of 3 C++ files compiled, about 30 s left"
    (tmp_path / "b.o").touch()
    assert model.state(tmp_path, 3_100_000, 140).endswith("3 of 3 C++ files compiled, about 0 s left")


def test_progress_is_told_while_it_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(model, "POLL_SECONDS", 0.01)
    told, compiler, before = [], Compiler(), threading.active_count()

    def slow(*arguments):
        time.sleep(0.1)
        compiler(*arguments)

    compiled(DESIGN, tmp_path, 1, slow, told.append)
    compiled(DESIGN, tmp_path, 1, slow, lambda text: pytest.fail("there is nothing to do"))
    assert told[0] == "Verilator reads 0.0 MB of Verilog"
    assert threading.active_count() == before


def test_a_failure_leaves_a_log_and_nothing_else(tmp_path):
    broken = tmp_path / "broken.v"
    broken.write_text("module top(input clk);\n  wire [3:0] narrow = 8'd200;\nendmodule\n")
    root = tmp_path / "root"
    with pytest.raises(BuildError, match=r"broken.v: %Warning-WIDTHTRUNC: top.v:2:.*; log in .*failed-.*log") as caught:
        bench.build(broken, "module bench(input clk); top dut(clk); endmodule\n", root, 1)
    assert "\n" not in str(caught.value)
    left = list((root / model.FOLDER).iterdir())
    assert [path.suffix for path in left] == [".log"]
    assert "WIDTHTRUNC" in left[0].read_text()


def test_names_the_missing_tools(tmp_path):
    (tmp_path / "make").symlink_to(shutil.which("make") or sys.executable)
    with environment(PATH=str(tmp_path)):
        with pytest.raises(BuildError, match=r"Verilator needs g\+\+, perl: not on the PATH \(Debian: apt install"):
            check_tools()
        with pytest.raises(BuildError, match="Verilator needs"):
            compiled(DESIGN, tmp_path, 1)


def test_a_blank_in_a_path_is_said_at_once(tmp_path, monkeypatch):
    there = tmp_path / "my designs"
    there.mkdir()
    message = r"Verilator's makefiles cannot read a path with a blank, .*/my designs.*; move it"
    with pytest.raises(BuildError, match=message):
        compiled(DESIGN, there / "build", 1, Compiler())
    assert list(there.iterdir()) == []
    monkeypatch.setattr(tools, "verilator_bin", lambda: there / "bin")
    with pytest.raises(BuildError, match=message):
        check_tools(tmp_path)
    monkeypatch.undo()
    monkeypatch.chdir(there)
    with pytest.raises(BuildError, match=message):
        check_tools()


def test_optimization_level(tmp_path):
    with pytest.raises(ValueError, match="Optimization must be 0 to 3, not 4"):
        compiled(DESIGN, tmp_path, 4)


def test_environment(monkeypatch):
    monkeypatch.setenv("POPSTREAM_A", "1")
    monkeypatch.delenv("POPSTREAM_B", raising=False)
    with environment(POPSTREAM_A=None, POPSTREAM_B="2"):
        assert (os.environ.get("POPSTREAM_A"), os.environ.get("POPSTREAM_B")) == (None, "2")
    assert (os.environ.get("POPSTREAM_A"), os.environ.get("POPSTREAM_B")) == ("1", None)


def test_an_interrupt_as_the_watcher_starts_leaves_no_thread_behind(tmp_path, monkeypatch):
    """Ctrl-C between its start and what is watched: a thread that nobody stops would keep the process alive."""
    start, started = threading.Thread.start, []

    def interrupted(thread):
        start(thread)
        started.append(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), model.watched(tmp_path, 1, lambda text: None):
        pass
    assert [(thread.daemon, thread.is_alive()) for thread in started] == [(True, False)]
