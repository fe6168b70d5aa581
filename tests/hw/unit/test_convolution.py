# amaranth: UnusedElaboratable=no
"""A Window and the matrix-vector unit behind it: convolutions against NumPy under stalls, and the cycles they take."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.blocks.window import Window
from popstream.hw.unit.matvec import MatVec
from tests.hw.blocks.test_window import beats, windows
from tests.hw.stream_bench import run_stream, unpack
from tests.hw.unit.test_matvec import dot, random_case


class Chain(wiring.Component):
    """A Window and the MatVec behind it."""

    def __init__(self, window, matvec):
        self.window, self.matvec = window, matvec
        i, o = (stream.Signature(port.payload.shape()) for port in (window.i, matvec.o))
        super().__init__({"i": In(i), "o": Out(o)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.window, m.submodules.matvec = self.window, self.matvec
        wiring.connect(m, wiring.flipped(self.i), self.window.i)
        wiring.connect(m, self.window.o, self.matvec.i)
        if self.matvec.turns:
            m.d.comb += self.window.turning.eq(self.matvec.turning)
        elif self.window.prefetch:
            m.d.comb += self.window.soon.eq(self.matvec.soon)
        wiring.connect(m, self.matvec.o, wiring.flipped(self.o))
        return m


def chain(case, weight_bits, simd, pe, prefetch, stalls, images=2, turns=False, arithmetic="lanes", planes=1,
          kind="odd"):  # fmt: skip
    """Runs a convolution and checks it; returns the MatVec and the transfer times."""
    channels, height, width, bits, kernel, stride, padding, lanes = case
    weights, _ = random_case(8, kernel * kernel * channels, weight_bits, bits, 1)
    codes = np.random.default_rng(3).integers(0, 2**bits, (images, channels, height, width))
    matvec = MatVec(weights, weight_bits, bits, simd, pe, arithmetic, planes=planes, turns=turns, kind=kind)
    dut = Chain(Window(*case, prefetch=prefetch, turn=simd if turns else 0), matvec)
    columns = windows(codes, kernel, stride, padding).reshape(-1, weights.shape[1])
    times = {}
    count = len(columns) * matvec.groups
    got = run_stream(dut, {"i": beats(codes, lanes, bits)}, {"o": count}, 4, *stalls, times=times)["o"]
    acc = matvec.acc_shape
    raw = np.array([unpack(beat, acc.width, pe, acc.signed) for beat in got]).reshape(len(columns), -1)
    assert np.array_equal(raw - matvec.correction, dot(weights, columns, weight_bits, kind))
    return dut, times["o"]


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("stalls", [(0.3, 0.3), (0.0, 0.8)])
@pytest.mark.parametrize(
    "case", [(4, 5, 4, 2, 3, 1, 1, 2), (2, 6, 5, 1, 3, 2, 1, 1), (6, 3, 4, 2, 1, 2, 0, 3)], ids=str
)
def test_convolution(case, stalls, prefetch):
    chain(case, 1, case[0], 4, prefetch, stalls)


TURNING = [
    # case, weight bits, simd, pe, arithmetic, planes
    ((4, 5, 4, 2, 3, 1, 1, 2), 1, 4, 4, "lanes", 1),
    ((2, 6, 5, 4, 3, 2, 1, 1), 2, 6, 2, "lanes", 2),
    ((2, 6, 5, 3, 3, 2, 1, 1), 1, 1, 1, "lanes", 3),
    ((4, 4, 4, 2, 3, 1, 1, 1), 4, 1, 1, "mac", 1),
    ((12, 1, 1, 8, 1, 1, 0, 3), 8, 2, 2, "mac", 1),
    ((12, 1, 1, 5, 1, 1, 0, 1), 5, 1, 1, "lanes", 1),
]


@pytest.mark.parametrize("stalls", [(0.3, 0.3), (0.0, 0.9), (0.8, 0.0)])
@pytest.mark.parametrize("shape", TURNING, ids=str)
def test_turning_windows(shape, stalls):
    case, weight_bits, simd, pe, arithmetic, planes = shape
    chain(case, weight_bits, simd, pe, False, stalls, 2, True, arithmetic, planes)


def test_a_turning_window_is_in_use_for_a_cycle_more():
    dut, times = chain((4, 6, 6, 2, 3, 1, 1, 4), 1, 4, 4, False, (0.0, 0.0), turns=True)
    starts = np.array(times[:: dut.matvec.groups]).reshape(2, 6, 6)
    assert set(np.diff(starts, axis=2)[:, :, 1:].ravel()) == {dut.matvec.cycles + 1}


def test_prefetch_hides_the_window():
    """A column a cycle. A row's first window needs two columns, one of which is in the store: one cycle is not hidden.
    Nor is an image's first row, whose 6 columns have no windows."""
    dut, times = chain((4, 6, 6, 2, 3, 1, 1, 4), 1, 36, 4, True, (0.0, 0.0), images=3)
    assert dut.matvec.cycles == 4
    starts = np.array(times[:: dut.matvec.groups]).reshape(3, 6, 6)
    assert set(np.diff(starts, axis=2).ravel()) == {dut.matvec.cycles}
    assert set((starts[:, 1:, 0] - starts[:, :-1, -1]).ravel()) == {dut.matvec.cycles + 1}
    assert (starts[1:, 0, 0] - starts[:-1, -1, -1]).max() <= dut.matvec.cycles + 6


@pytest.mark.parametrize("prefetch", [False, True])
def test_without_prefetch_each_window_waits_for_its_last_beat(prefetch):
    dut, times = chain((4, 6, 6, 2, 3, 1, 1, 2), 1, 36, 4, prefetch, (0.0, 0.0))  # two cycles a position
    assert set(np.diff(times[:: dut.matvec.groups])[:5]) == {dut.matvec.cycles + (not prefetch)}
