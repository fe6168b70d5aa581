"""What to look at in a trace: signals in groups, for GTKWave (.gtkw) and Surfer (.sucl).

    gtkwave waves.fst waves.gtkw          surfer waves.fst --command-file waves.sucl

First input and output of the accelerator, then a line for each node that is high in the cycles in which a beat of it is
transferred: the pipeline at work. Then a group for each node with the streams of its blocks: valid without ready waits
for room behind, ready without valid waits for data.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from popstream.sim.bench.top import Top

__all__ = ["Group", "Signal", "gtkwave", "surfer", "view", "write"]

DUT = "bench.dut"
STREAM = re.compile(r"(?:[io]\d*|i_\w+?)__(?:valid|ready|payload)(?:\$\d+)?")
MODULE = re.compile(r"^module \\?(?P<name>[\w.$]+) ?\(.*?^endmodule", re.MULTILINE | re.DOTALL)
PORT = re.compile(r"^  (?:input|output) (?:\[(?P<high>\d+):0\] )?\\?(?P<name>[\w$]+) ?;", re.MULTILINE)
ROLES = ("feed", "repack", "buffer", "window", "matvec", "main_fifo", "skip_fifo", "skip_repack")
"""Blocks in the order in which data pass them, the node's own and its fork behind."""
BEGIN, END, BEGIN_CLOSED, END_CLOSED = "@800200", "@1000200", "@c00200", "@1401200"  # GTKWave's flags
PERIOD = 2  # steps of time a cycle
PER_PIXEL, PIXELS = 200, 800  # a zoom of -z shows 2^z / 200 steps a pixel; what fits beside the names
BIT, WORD = "@28", "@22"  # binary, hexadecimal; both to the right


@dataclass(frozen=True)
class Signal:
    """A signal of the trace by its full name, `width` bits."""

    name: str
    width: int = 1


@dataclass(frozen=True)
class Group:
    """Signals under a title; closed: shown on demand."""

    title: str
    signals: list[Signal] = field(default_factory=list)
    closed: bool = True


def streams(verilog: str, module: str) -> dict[str, list[Signal]]:
    """The ports of each of the module's blocks that belong to a stream, by the block's name."""
    found: dict[str, list[Signal]] = {}
    for match in MODULE.finditer(verilog):
        parent, _, block = match["name"].partition(".")
        if parent == module and block and "." not in block:
            ports = ((port["name"], int(port["high"] or 0) + 1) for port in PORT.finditer(match.group()))
            found[block] = [Signal(f"{DUT}.{block}.{name}", width) for name, width in ports if STREAM.fullmatch(name)]
    return found


def view(verilog: str, top: Top) -> list[Group]:
    """The groups for the module `top` in the text of its Verilog."""
    own = ("clk", "rst", "i_valid", "i_ready", "o_valid", "o_ready", "hung")
    words = [("i_payload", top.beat_bits), ("o_payload", top.result_bits), ("cycle", 64)]
    ends = [Signal(f"bench.{name}") for name in own] + [Signal(f"bench.{name}", width) for name, width in words]
    groups = [Group("input and output", ends, closed=False)]
    if top.taps:
        beats = [Signal(f"{DUT}.tap_{tap.port}_valid") for tap in top.taps]
        groups.append(Group("a beat of each node", beats, closed=False))
    blocks = streams(verilog, top.module)
    nodes = sorted((tap.port for tap in top.taps), key=len, reverse=True)
    owners = {name: next((port for port in nodes if name.startswith(f"{port}_")), None) for name in blocks}
    for tap in top.taps:
        own_blocks = sorted(
            (name for name, port in owners.items() if port == tap.port), key=lambda n: place(n, tap.port)
        )
        signals = [Signal(f"{DUT}.tap_{tap.port}_data", tap.bits)]
        groups.append(Group(tap.node, signals + [signal for name in own_blocks for signal in blocks[name]]))
    return groups


def place(block: str, node: str) -> int:
    """Where a block of the node stands in its group."""
    role = block.removeprefix(f"{node}_")
    return ROLES.index(role) if role in ROLES else len(ROLES) + (role == "fork")


def gtkwave(groups: Iterable[Group], trace: str, cycles: int) -> str:
    """The text of a .gtkw file for the trace of that name, so many cycles long, all of it in the window."""
    zoom = math.log2(max(cycles, 1) * PERIOD * PER_PIXEL / PIXELS)

    def lines() -> Iterator[str]:
        yield f'[dumpfile] "{trace}"'
        yield from ("[timestart] 0", f"*-{zoom:.1f} 0", "[size] 1500 900")
        yield from ("[sst_width] 220", "[signals_width] 420", "[sst_expanded] 0")
        for group in groups:
            yield from (BEGIN_CLOSED if group.closed else BEGIN, f"-{group.title}")
            for signal in group.signals:
                yield BIT if signal.width == 1 else WORD
                yield signal.name if signal.width == 1 else f"{signal.name}[{signal.width - 1}:0]"
            yield from (END_CLOSED if group.closed else END, f"-{group.title}")

    return "\n".join(lines()) + "\n"


def surfer(groups: Iterable[Group]) -> str:
    """The text of a .sucl file."""

    def lines() -> Iterator[str]:
        for group in groups:
            yield f"divider_add {group.title}"
            yield from (f"variable_add {signal.name}" for signal in group.signals)
        yield "zoom_fit"

    return "\n".join(lines()) + "\n"


def write(trace: Path, verilog: Path, top: Top, cycles: int) -> tuple[Path, Path]:
    """Write the views beside the trace of so many cycles; returns their paths, GTKWave's first."""
    groups = view(verilog.read_text(), top)
    paths = trace.with_suffix(".gtkw"), trace.with_suffix(".sucl")
    for path, text in zip(paths, (gtkwave(groups, trace.name, cycles), surfer(groups)), strict=True):
        path.write_text(text)
    return paths
