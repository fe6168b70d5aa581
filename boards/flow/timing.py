"""The clock of a routed design with every path in it: what nextpnr does not time is counted, and timed with margins.

nextpnr's report gives a clock of the paths that it times. Its delays of all wires and cells (SDF) show the rest: a pin
that is wired, but from or to which the cell has no delay, ends a path that nobody looked at. Such pins are counted by
kind of cell. Where a family has margins for all of these kinds, the longest path is found again with them; where it has
none for a kind, no clock can be claimed. Without margins it is nextpnr's own clock to the last digit (a test).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from popstream.boards.flow.delays import CLOCK, Cell, Delays, Pin, read_delays

__all__ = ["MARGINS", "Margin", "Paths", "Timing", "analyse", "longest", "rules"]

# Pads, clock generators and buffers, resets: what is wired to them has no clock to be in time for.
BORDER = frozenset(
    {
        *("TRELLIS_IO", "DCCA", "EHXPLLL"),
        *("SB_IO", "SB_GB", "ICESTORM_PLL"),
        *("IBUF", "OBUF", "IOBUF", "TBUF", "rPLL", "BUFG", "GSR"),
    }
)


@dataclass(frozen=True)
class Margin:
    """What is taken for a kind of cell without known delays, in ns.

    setup: an input is there before the clock. clock: an output is there after the clock. through: an output is there
    after any input, and after the clock; None for a cell whose every path begins or ends in its registers.
    inner: between two of its own registers.
    """

    setup: float = 0.0
    clock: float = 0.0
    through: float | None = None
    inner: float = 0.0


# Gowin: a block RAM's data come 3.46 ns (GW1NR-9C) or 2.26 ns (GW2A-18C) after its clock, and its inputs are set up at
# most 0.44 ns before it, by the vendor's timing as Apicula 0.32 has it; nextpnr 0.11.1 uses this on some ports alone.
# About 30 % is added. Nothing is known there of multipliers: 10 ns is a margin of ours, about twice the time from the
# inputs' registers to the output in Gowin's data sheets.
# iCE40 UP5K: nextpnr takes 0.1 ns for every pin of a multiplier, with or without registers inside. By the vendor's own
# timing, at its slowest corner, as Project IceStorm has it (icefuzz/timings_up5k.txt, SB_MAC16 16x16, at 3cdcf4b): a
# registered output is there 2.12 ns after the clock, a hold input 0.38 ns before it, an input without register 6.50 ns
# before it; through a multiplier 9.05 ns, and 11.23 through one and its adder. To these about 30 % is added.
BLOCK_RAM, MULTIPLIER = Margin(setup=0.6, clock=4.5), Margin(through=10.0)
BLOCK_RAMS = ("SP", "SPX9", "DP", "DPB", "DPX9", "DPX9B", "SDP", "SDPB", "SDPX9B", "pROM", "pROMX9")
UNREGISTERED = {
    "output": "ICESTORM_DSP without output register",
    "adder": "ICESTORM_DSP without register behind its adder",
    "inputs": "ICESTORM_DSP without input registers",
}
MARGINS: Mapping[str, Mapping[str, Margin]] = {
    "ecp5": {},
    "ice40": {
        "ICESTORM_DSP": Margin(0.5, 2.8, inner=14.6),
        UNREGISTERED["inputs"]: Margin(8.5, 2.8),
        UNREGISTERED["output"]: Margin(through=11.8),
        UNREGISTERED["adder"]: Margin(through=14.6),
    },
    "gowin": {
        **dict.fromkeys(BLOCK_RAMS, BLOCK_RAM),
        **dict.fromkeys(("MULT9X9", "MULT18X18", "MULT36X36"), MULTIPLIER),
        "RAM16SDP4": Margin(setup=0.6),
    },
}
# Logic cells of which nextpnr knows every path; a wired pin without one leads nowhere: an input that the LUT's contents
# do not heed, a carry that goes on by a wire to I3 alone, the output of a LUT that is constant, a bit that is not kept.
KNOWN = frozenset({"ICESTORM_LC", "TRELLIS_COMB", "TRELLIS_RAMW"})
UNTRUE = frozenset({"ICESTORM_DSP"})  # nextpnr's delays of these are not the device's


def rules(family: str) -> str:
    """All that decides here, as a text: what was judged by others is judged again."""
    return repr([MARGINS[family], *map(sorted, (BORDER, KNOWN, UNTRUE))])


class Timing(NamedTuple):
    """cells, pins: untimed ones by kind of cell. mhz: with margins; None where nothing is untimed, or for `why`."""

    cells: dict[str, int]
    pins: dict[str, int]
    mhz: float | None = None
    why: str = ""


class Paths:
    """The pins of a routed design, and what lies between them."""

    def __init__(self, delays: Delays):
        self.delays = delays
        self.inputs: defaultdict[str, set[str]] = defaultdict(set)  # wired
        self.outputs: defaultdict[str, set[str]] = defaultdict(set)
        self.driver: dict[Pin, tuple[Pin, int]] = {}
        for source, reader, ps in delays.wires:
            self.outputs[source[0]].add(source[1])
            self.inputs[reader[0]].add(reader[1])
            self.driver[reader] = source, ps

    @cached_property
    def constant(self) -> set[str]:
        """Cells without an input that changes."""
        found: set[str] = set()
        readers = defaultdict(set)
        for source, reader, _ in self.delays.wires:
            readers[source[0]].add(reader[0])
        left = {name: {self.driver[name, port][0][0] for port in self.inputs[name]} for name in self.delays.cells}
        queue = [name for name, sources in left.items() if not sources and self.kind(name) not in BORDER]
        while queue:
            name = queue.pop()
            found.add(name)
            for other in readers[name]:
                left[other].discard(name)
                if not left[other] and other not in found and self.kind(other) not in BORDER:
                    queue.append(other)
        return found

    def kind(self, name: str) -> str:
        """Of a cell."""
        return self.delays.cells[name].kind

    def changing(self, name: str) -> Iterable[str]:
        """A cell's wired inputs that are neither constant nor a clock."""
        for port in self.inputs[name]:
            if not CLOCK.fullmatch(port) and self.driver[name, port][0][0] not in self.constant:
                yield port

    def untimed(self, name: str) -> set[str]:
        """Wired pins of a cell that stand in no delay of it."""
        cell = self.delays.cells[name]
        if cell.kind in BORDER | KNOWN or name in self.constant or not (self.outputs[name] or cell.checks):
            return set()
        pins = {*self.changing(name), *self.outputs[name]}
        if cell.kind in UNTRUE:
            return pins
        return pins - cell.checks.keys() - {port for path in cell.paths for port in path}


class Graph:
    """Delays from pin to pin in ps, where paths begin (after the clock) and where they end (before it)."""

    def __init__(self) -> None:
        self.ahead: defaultdict[Pin, list[tuple[Pin, int]]] = defaultdict(list)
        self.behind = Counter[Pin]()
        self.begins: dict[Pin, int] = {}
        self.ends: dict[Pin, int] = {}

    def link(self, here: Pin, there: Pin, ps: int) -> None:
        """A wire, or a way through a cell."""
        self.ahead[here].append((there, ps))
        self.behind[there] += 1

    def add_known(self, name: str, cell: Cell) -> None:
        """What nextpnr knows of a cell."""
        for (before, after), ps in cell.paths.items():
            if CLOCK.fullmatch(before):
                self.begins[name, after] = ps
            else:
                self.link((name, before), (name, after), ps)
        self.ends |= {(name, port): ps for port, ps in cell.checks.items()}

    def add_margin(self, name: str, inputs: set[str], outputs: set[str], margin: Margin) -> None:
        """What is taken for the untimed pins of a cell."""
        through = None if margin.through is None else round(1000 * margin.through)
        for port in outputs:
            self.begins[name, port] = round(1000 * margin.clock) if through is None else through
        for port in inputs:
            if through is None:
                self.ends[name, port] = round(1000 * margin.setup)
            else:
                for after in outputs:
                    self.link((name, port), (name, after), through)

    def longest(self) -> int | None:
        """From a clock to a clock, in ps; None where a path goes in a circle."""
        worst, arrival, behind = 0, dict(self.begins), self.behind.copy()
        queue = [here for here in {**self.ahead, **self.begins} if not behind[here]]
        while queue:
            here = queue.pop()
            if here in self.ends and here in arrival:
                worst = max(worst, arrival[here] + self.ends[here])
            for there, ps in self.ahead.get(here, ()):
                if here in arrival:
                    arrival[there] = max(arrival.get(there, 0), arrival[here] + ps)
                behind[there] -= 1
                if not behind[there]:
                    queue.append(there)
        return None if any(behind.values()) else worst


def longest(paths: Paths, margins: Mapping[str, Margin]) -> int | None:
    """The longest path in ps, from a clock to a clock; None where a path goes in a circle. `margins`: by instance."""
    graph = Graph()
    for source, reader, ps in paths.delays.wires:
        graph.link(source, reader, ps)
    for name, cell in paths.delays.cells.items():
        if cell.kind in BORDER or name in paths.constant:
            continue
        if cell.kind not in UNTRUE:
            graph.add_known(name, cell)
        if name in margins:
            missing = paths.untimed(name)
            graph.add_margin(name, missing & paths.inputs[name], missing & paths.outputs[name], margins[name])
    inner = round(1000 * max((margin.inner for margin in margins.values()), default=0.0))
    worst = graph.longest()
    return None if worst is None else max(worst, inner)


def slowest(cells: Iterable[Cell]) -> dict[str, Margin]:
    """For cells that were put in for a wire's sake, by kind: as slow as the slowest of their kind that is timed."""
    found: dict[str, int] = {}
    for cell in cells:
        for (source, _), ps in cell.paths.items():
            if not CLOCK.fullmatch(source):
                found[cell.kind] = max(ps, found.get(cell.kind, 0))
    return {kind: Margin(through=ps / 1000) for kind, ps in found.items()}


def analyse(path: Path, family: str, unregistered: Mapping[str, str] = {}) -> Timing:
    """What nextpnr did not time of the design whose delays stand in `path`, an SDF file, and its clock with margins.

    `unregistered`: multipliers on an iCE40 that lack a register, by instance, and where (hw.synthesis.mapped).
    """
    paths = Paths(read_delays(path))
    twins = slowest(paths.delays.cells.values())
    cells, pins, margins, without = Counter[str](), Counter[str](), dict[str, Margin](), set[str]()
    for name, cell in paths.delays.cells.items():
        if missing := paths.untimed(name):
            kind = UNREGISTERED[unregistered[name]] if name in unregistered else cell.kind
            cells[kind] += 1
            pins[kind] += len(missing)
            if margin := MARGINS[family].get(kind) or (None if cell.paths else twins.get(kind)):
                margins[name] = margin
            else:
                without.add(kind)
    counted = dict(sorted(cells.items())), dict(sorted(pins.items()))
    if without:
        return Timing(*counted, why=f"nextpnr has no delays of {', '.join(sorted(without))}, and there is no margin")
    if not cells:
        return Timing(*counted)
    ps = longest(paths, margins)
    return Timing(*counted, why="a path goes in a circle") if ps is None else Timing(*counted, 1e6 / ps)
