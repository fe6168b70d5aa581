"""The host link under Verilator, with the other end of its UART in C++ (bench.cpp): compiled once and driven.

bench = Script(compile_link(link), link)      # the link alone; compile_board(top): a board's complete top around it
bench.send(encode(frame)); frames = bench.reply()
"""

import re
import struct
import subprocess
from pathlib import Path
from typing import Any

from popstream.boards.board.top import Top
from popstream.boards.link.link import HostLink
from popstream.boards.link.protocol import Decoder, Frame
from popstream.sim.verilator.model import Design, compiled
from popstream.sim.verilator.tools import check_tools, environment

__all__ = ["Script", "board_text", "clocks_per_bit", "compile_bench", "compile_board", "compile_link"]

ROOT = Path("build")
SOURCE, EXECUTABLE = "bench.cpp", "Vtop"
CELLS = "cells.v"  # models of the vendor cells in a board's top
OPEN_PINS = "// verilator lint_off PINMISSING"  # a pin that is only read leaves the output side of its cell open
BENCH = """module bench(input clk, input rst, input rx, output tx, output busy);
  wire clk_pin = clk, rx_pin = rx;  // a pin may be an inout, which a port cannot be joined to
  top board ({clock}(clk_pin), .uart_0__rx__io(rx_pin), .uart_0__tx__io(tx){others});
  assign busy = board.link.busy | board.reset;
endmodule
"""
HUNG = 1 << 31
PATIENCE = 64  # intervals, and
LEAST_PATIENCE = 1_000_000  # clocks make a hang


def clocks_per_bit(link: HostLink) -> float:
    """The length of a bit as the link's identity has it."""
    return link.identity.clock_hz / link.identity.baud


def link_text(link: HostLink) -> str:
    """The link as Verilog module `top`: clk, rst, rx, tx, busy."""
    from amaranth.back import verilog

    with environment(AMARANTH_USE_YOSYS="builtin"):
        return str(verilog.convert(link, name="top", strip_internal_attrs=True))


def board_text(top: Top) -> str:
    """Verilog of `top` as its board's build has it, and around it module `bench`: clk, rst, rx, tx, busy.

    clk is the PLL's output, a wire from the oscillator's pin (boards/bench/cells.v); busy is high during the board's
    own reset too, and rst does nothing, since a board is reset by its configuration.
    """
    with environment(AMARANTH_USE_YOSYS="builtin"):
        given = top.board.create().prepare(top, "top", debug_verilog=True).files["top.debug.v"]
    text = re.sub(r"\(\* src = .*? \*\)", "", given if isinstance(given, str) else given.decode())
    ports = [name.strip() for name in re.findall(r"^module top\((.*?)\);", text, re.M | re.S)[0].split(",")]
    clock = next(name for name in ports if name.startswith(f"{top.board.clock}_0__"))
    others = [name for name in ports if name != clock and not name.startswith("uart_0__")]
    bench = BENCH.format(clock=f".{clock}", others="".join(f", .{name}()" for name in others))
    return f"{OPEN_PINS}\n{text}\n{(Path(__file__).parent / CELLS).read_text()}\n{bench}"


def compile_link(link: HostLink, root: Path = ROOT, optimize: int = 3) -> Path:
    """The bench of the link alone; see compile_bench."""
    check_tools(root)
    return compile_bench(link_text(link), "top", root, optimize)


def compile_board(top: Top, root: Path = ROOT, optimize: int = 3) -> Path:
    """The bench of a board's complete top; see compile_bench."""
    check_tools(root)
    return compile_bench(board_text(top), "bench", root, optimize)


def compile_bench(text: str, module: str, root: Path = ROOT, optimize: int = 3) -> Path:
    """The executable of bench.cpp around Verilog `module` (clk, rst, rx, tx, busy), in root/verilator/<key>.

    Compiled unless it is there. Raises BuildError, ValueError.
    """
    sources = {"top.v": text, SOURCE: (Path(__file__).parent / SOURCE).read_text()}
    design = Design(EXECUTABLE, module, sources, f"Verilog of {module}")
    return compiled(design, root, optimize) / EXECUTABLE


class Script:
    """A running bench that does what it is told, clock by clock the same each time; a context manager.

    Parameters
    ----------
    executable, link : from compile_link.
    """

    def __init__(self, executable: Path, link: HostLink):
        self.link = link
        self.bit = clocks_per_bit(link)
        self.patience = PATIENCE * link.identity.interval + LEAST_PATIENCE
        command = [str(executable.resolve()), repr(self.bit)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> "Script":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """End the bench."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=10)

    def _tell(self, letter: str, number: int, data: bytes = b"") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(letter.encode() + struct.pack("<I", number) + data)

    def send(self, data: bytes) -> None:
        """Put bytes on the line."""
        self._tell("S", len(data), data)

    def wait(self, clocks: int) -> None:
        """Leave the line alone."""
        self._tell("W", clocks)

    def wait_gap(self) -> None:
        """Leave it alone for as long as ends a broken frame."""
        self.wait((1 << self.link.gap_bit) + 16)

    def low(self, clocks: int) -> None:
        """Hold the line low: a glitch, or a break."""
        self._tell("L", clocks)

    def reset(self, clocks: int = 2) -> None:
        """Reset the board."""
        self._tell("R", clocks)

    def ask(self) -> None:
        """Wait for the board to be quiet; what has come until then is an `answer`, which is still to be fetched."""
        self._tell("Q", self.patience)

    def answer(self) -> bytes:
        """What had come at the next `ask`. TimeoutError if the board did not become quiet."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.flush()
        (count,) = struct.unpack("<I", self._process.stdout.read(4))
        data = self._process.stdout.read(count & ~HUNG)
        if count & HUNG:
            raise TimeoutError(f"The board was not quiet within {self.patience:,} clocks")
        return data

    def raw_reply(self) -> bytes:
        """What has come since the last reply, once the board is quiet. TimeoutError if it does not become quiet."""
        self.ask()
        return self.answer()

    def reply(self) -> list[Frame]:
        """The frames in raw_reply."""
        return Decoder().feed(self.raw_reply())
