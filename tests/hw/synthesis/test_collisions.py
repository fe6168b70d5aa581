# amaranth: UnusedElaboratable=no
"""Memories that promise not to be read where they are written: yosys is told, and no such word is used."""

import random

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module, Mux, Signal, Value, unsigned
from amaranth.lib.memory import Memory

from popstream.hw.blocks import window
from popstream.hw.blocks.shortcut import Shortcut
from popstream.hw.lib import accumulate, fifo
from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.synthesis.collisions import heed_promises
from popstream.model.manifest.node import Node
from popstream.sim.golden import node_function
from tests.hw.beats import from_beats, to_beats
from tests.hw.blocks.test_window import CASES, build
from tests.hw.stream_bench import run_stream

STALLS = [(0.0, 0.0), (0.3, 0.3), (0.0, 0.7), (0.7, 0.0)]


class Port:
    """A port's signals."""

    def __init__(self, port, data):
        self.addr, self.en, self.data = port.addr, port.en, data


class Poisoned(Elaboratable):
    """A Memory with a read and a write port whose word is wrong in every bit if it was written when it was read."""

    def __init__(self, **arguments):
        self.memory = Memory(**arguments)
        self.depth = self.memory.depth

    def read_port(self):
        self.read = self.memory.read_port()
        self.shown = Signal(len(Value.cast(self.read.data)))
        shape = self.memory.shape
        return Port(self.read, self.shown if isinstance(shape, type(unsigned(1))) else shape(self.shown))

    def write_port(self):
        self.write = self.memory.write_port()
        return self.write

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        wrong = Signal()
        with m.If(self.read.en):
            m.d.sync += wrong.eq(self.write.en & (self.write.addr == self.read.addr))
        data = Value.cast(self.read.data)
        m.d.comb += self.shown.eq(Mux(wrong, ~data, data))
        return m


@pytest.fixture
def poisoned(monkeypatch):
    for module in (accumulate, fifo, window):
        monkeypatch.setattr(module, "Memory", Poisoned)


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize(("width", "depth"), [(10, 3), (10, 16), (44, 34), (44, 67), (9, 130)])
def test_fifo(poisoned, width, depth, stalls):
    source = random.Random(depth)
    beats = [source.getrandbits(width) for _ in range(4 * depth + 50)]
    assert run_stream(StreamFifo(unsigned(width), depth), {"i": beats}, {"o": len(beats)}, 1, *stalls)["o"] == beats


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize(("lanes", "wide"), [(1, 24), (2, 4), (4, 2)])
def test_partial_sums(poisoned, lanes, wide, stalls):
    x = np.random.default_rng(lanes).integers(-(2**15), 2**15, (2, 8, 4, wide), np.int32)
    attributes = {"stride": 2, "reduce": "average", "out_channels": 16, "pad_front": 4}
    expected = node_function(Node("s", "shortcut", attributes=attributes), x)
    dut = Shortcut(8, 4, wide, 16, 2, "average", 16, 4, lanes)
    got = run_stream(dut, {"i": to_beats(x, 16, lanes)}, {"o": expected.size // lanes}, 2, *stalls)["o"]
    np.testing.assert_array_equal(from_beats(got, expected.shape, 16, lanes, signed=True), expected)


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("case", [case for case in CASES if case[4] > 1][::2])
def test_line_memory(poisoned, case, prefetch):
    dut, given, wanted = build(case, prefetch)
    for stalls in ((0.0, 0.0), (0.4, 0.4)):
        assert run_stream(dut, {"i": given}, {"o": len(wanted)}, 3, *stalls)["o"] == wanted
        dut, given, wanted = build(case, prefetch)


class Both(Elaboratable):
    """A FIFO, and a memory that promises nothing."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = StreamFifo(unsigned(40), 100)
        m.submodules.other = other = Memory(shape=40, depth=100, init=[])
        other.read_port()
        other.write_port()
        return m


def test_only_promises_are_heeded():
    text = rtlil.convert(Both(), ports=())
    assert text.count("COLLISION_X_MASK 1'0") == 2
    heeded = heed_promises(text)
    assert heeded.count("COLLISION_X_MASK 1'0") == heeded.count("COLLISION_X_MASK 1'1") == 1
    promised = heeded.index("COLLISION_X_MASK 1'1")
    assert heeded.index("no_rw_check") < promised < heeded.index("\nend", promised)
    assert heeded.replace("COLLISION_X_MASK 1'1", "COLLISION_X_MASK 1'0") == text
