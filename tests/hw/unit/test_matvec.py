# amaranth: UnusedElaboratable=no
"""Matrix-vector unit: bit-exact under stalls, back to back without; behind a Window in test_convolution.py."""

import numpy as np
import pytest
from amaranth.hdl import Assert, Fragment, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.timing import WindowGeometry
from popstream.hw.unit.matvec import MatVec
from popstream.hw.unit.plan import weight_matrix
from popstream.model.manifest.node import Node
from popstream.model.rom.planes import weight_words
from tests.hw.stream_bench import pack, run_stream, unpack


def random_case(channels, length, weight_bits, act_bits, count, seed=0):
    rng = np.random.default_rng(seed + 100 * length + weight_bits)
    weights = rng.integers(0, 2**weight_bits, (channels, length), dtype=np.uint8)
    codes = rng.integers(0, 2**act_bits, (count, length))
    codes[0], codes[-1] = 2**act_bits - 1, 0
    return weights, codes


def dot(weights, codes, weight_bits, kind="odd"):
    """The defining sum: weights times codes, [count, Co]."""
    q = weights.astype(np.int64)
    half = 2 ** (weight_bits - 1)
    return codes @ ((q + half) % (2 * half) - half if kind == "signed" else 2 * q - (2 * half - 1)).T


def check(dut, codes, times=None, **stalls):
    offered = [pack(row, dut.act_bits) for row in codes.tolist()]
    got = run_stream(dut, {"i": offered}, {"o": len(codes) * dut.groups * dut.beats}, times=times, **stalls)["o"]
    width, sign = dut.acc_shape.width, dut.acc_shape.signed
    raw = np.array([unpack(beat, width, dut.lanes, sign) for beat in got]).reshape(len(codes), -1)
    assert np.array_equal(raw - dut.correction, dot(dut.weights, codes, dut.weight_bits, dut.kind))


SHAPES = [
    # Co, N, W, A, simd, pe
    (4, 9, 1, 1, 9, 4),  # a window each cycle
    (4, 9, 1, 1, 9, 2),
    (3, 27, 1, 2, 27, 3),
    (4, 9, 1, 2, 1, 1),  # one lane
    (6, 12, 2, 3, 4, 3),
    (2, 10, 3, 2, 5, 1),
    (3, 8, 8, 8, 8, 3),
    (2, 6, 8, 8, 1, 2),
    (5, 15, 4, 1, 3, 5),
    (1, 1, 1, 1, 1, 1),
    (10, 4, 8, 2, 2, 5),
    (2, 40, 1, 5, 4, 2),
    (3, 5, 5, 7, 5, 1),
]


def test_weight_memory_holds_the_words_of_the_rom_image():
    weight = np.random.default_rng(1).integers(0, 8, (6, 4, 3, 3), dtype=np.uint8)
    node = Node("conv", "conv", attributes={"weight_bits": 3}, tensors={"weight": weight})
    dut = MatVec(weight_matrix(node), 3, 2, 12, 2, pes_per_copy=2)
    module = dut.elaborate(None)
    Fragment.get(module, None)  # so that no block counts as forgotten
    inverted = 1 - weight_words(node, 12, 2)
    assert list(module.submodules.weights0.init) == [pack(bits, 1) for bits in inverted.tolist()]


@pytest.mark.parametrize("arithmetic", ["lanes", "mac"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_dot_product_under_stalls(shape, arithmetic):
    channels, length, weight_bits, act_bits, simd, pe = shape
    for seed, (stall_in, stall_out) in enumerate([(0.3, 0.3), (0.0, 0.0), (0.0, 0.9), (0.8, 0.0)]):
        weights, codes = random_case(channels, length, weight_bits, act_bits, 12 if weight_bits < 8 else 3, seed)
        dut = MatVec(weights, weight_bits, act_bits, simd, pe, arithmetic)
        check(dut, codes, seed=seed, stall_in=stall_in, stall_out=stall_out)


@pytest.mark.parametrize("weight_bits", [1, 2, 5, 6, 7])
@pytest.mark.parametrize("act_bits", [1, 5, 6, 7])
def test_pairs_of_widths(weight_bits, act_bits):
    weights, codes = random_case(2, 6, weight_bits, act_bits, 5)
    check(MatVec(weights, weight_bits, act_bits, 3, 1), codes)
    if weight_bits == act_bits:
        check(MatVec(weights, weight_bits, act_bits, 2, 2, "mac"), codes)


@pytest.mark.parametrize("arithmetic", ["lanes", "mac"])
@pytest.mark.parametrize("value", [0, 1])
def test_widths_hold_the_extremes(value, arithmetic):
    weights = np.full((2, 7), 15 * value, dtype=np.uint8)
    codes = np.array([[7] * 7, [0] * 7, [7, 0, 7, 0, 7, 0, 7]])
    dut = MatVec(weights, 4, 3, 7, 1, arithmetic)
    check(dut, codes)
    if arithmetic == "lanes":
        assert dut.acc_shape.width == (7 * 15 * 7).bit_length()


@pytest.mark.parametrize("storage", ["auto", "logic", "registered", "block"])
@pytest.mark.parametrize("copy", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(10, 6, 1, 1, 6, 5), (5, 6, 1, 1, 6, 5), (10, 6, 1, 2, 3, 5), (5, 6, 1, 3, 6, 5)])
def test_copies_and_storage(shape, copy, storage):
    channels, length, weight_bits, act_bits, simd, pe = shape
    weights, codes = random_case(channels, length, weight_bits, act_bits, 10)
    check(MatVec(weights, weight_bits, act_bits, simd, pe, storage=storage, pes_per_copy=copy), codes)


@pytest.mark.parametrize("arithmetic", ["lanes", "mac"])
@pytest.mark.parametrize("simd", [36, 18, 9])
def test_lanes_follow_what_is_near(simd, arithmetic):
    """In chunks, with choices among them, and with registers behind every second level."""
    near = WindowGeometry(4, 8, 8, 3, 1, 1).near
    weights, codes = random_case(4, 36, 2, 2, 6)
    check(MatVec(weights, 2, 2, simd, 2, arithmetic, levels=2, near=near), codes)
    chunks = np.array(MatVec(weights, 2, 2, simd, 2, arithmetic).plan.chunked(near)).reshape(-1, simd)
    assert sorted(chunks.ravel()) == list(range(36))
    channels, rows = chunks % 4, chunks // 12
    assert (np.diff(rows, axis=1) >= 0).all()  # along a chunk's lanes: row by row
    assert (rows == rows[0]).all()  # choices are made among neighbours
    assert (np.ptp(channels, axis=0) <= 1).all()


@pytest.mark.parametrize("arithmetic", ["lanes", "mac"])
@pytest.mark.parametrize("copy", [None, 1])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_bubbles_and_latency(shape, copy, arithmetic):
    channels, length, weight_bits, act_bits, simd, pe = shape
    weights, codes = random_case(channels, length, weight_bits, act_bits, 40 if weight_bits < 3 else 4)
    dut = MatVec(weights, weight_bits, act_bits, simd, pe, arithmetic, pes_per_copy=copy)
    planes = weight_bits * act_bits if arithmetic == "lanes" else 1
    assert dut.cycles == channels // pe * (length // simd) * planes
    times = {}
    check(dut, codes, times, stall_in=0.0, stall_out=0.0)
    assert set(np.diff(times["i"])) == {dut.cycles}
    assert set(np.diff(times["o"])) == {dut.cycles // dut.groups}
    assert times["i"][0] == dut.cycles + 2  # three cycles after reset
    assert times["o"][dut.groups - 1] - times["i"][0] == dut.latency


WIDTHS = [1, 2, 3, 4, 8]
PLANES = [(w, a, planes) for w in WIDTHS for a in WIDTHS for planes in range(1, a + 1) if a % planes == 0]


@pytest.mark.parametrize(("weight_bits", "act_bits", "planes"), PLANES)
def test_planes(weight_bits, act_bits, planes):
    """Every number of planes, with storage, copies and lanes changing from case to case."""
    number = PLANES.index((weight_bits, act_bits, planes))
    storage, copy = ["logic", "block", "registered"][number % 3], [2, 1, 3, 4][number % 4]
    leave(weight_bits, act_bits, planes, [1, 2, 4][number % 3], storage, copy)


@pytest.mark.parametrize("storage", ["logic", "registered", "block"])
@pytest.mark.parametrize("copy", [4, 2, 1])
@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("planes", [1, 2])
def test_lanes(planes, lanes, copy, storage):
    leave(1, 2, planes, lanes, storage, copy)


def leave(weight_bits, act_bits, planes, lanes, storage, copy):
    """Two groups of 4 channels leave in beats of `lanes`, or as few more as their cycles allow."""
    weights, codes = random_case(8, 6, weight_bits, act_bits, 4)
    cycles = weight_bits * act_bits // planes * 2
    lanes = max(lanes, 4 // cycles)
    dut = MatVec(weights, weight_bits, act_bits, 3, 4, "lanes", storage, copy, planes, lanes)
    assert dut.cycles == 2 * cycles
    check(dut, codes, seed=copy, stall_in=0.2, stall_out=0.3)
    times = {}
    check(dut, codes, times, stall_in=0.0, stall_out=0.0)
    assert set(np.diff(times["i"])) == {dut.cycles}
    assert set(np.diff(times["o"][dut.beats - 1 :: dut.beats])) == {cycles}
    assert times["o"][dut.beats - 1] + cycles - times["i"][0] == dut.latency


def test_stopped_output_holds_what_was_issued():
    weights, codes = random_case(4, 9, 1, 1, 60)
    dut = MatVec(weights, 1, 1, 9, 4)
    offered = [pack(row, 1) for row in codes.tolist()]
    with pytest.raises(AssertionError, match=f"'i': '{dut.depth}/60'"):
        run_stream(dut, {"i": offered}, {"o": 60}, 0, 0.0, 1.0, timeout_cycles=100)


class Announced(wiring.Component):
    """A MatVec that says a cycle ahead, at `soon`, when it takes a window."""

    def __init__(self, matvec):
        self.matvec = matvec
        i, o = (stream.Signature(port.payload.shape()) for port in (matvec.i, matvec.o))
        super().__init__({"i": In(i), "o": Out(o)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.matvec = self.matvec
        wiring.connect(m, wiring.flipped(self.i), self.matvec.i)
        wiring.connect(m, self.matvec.o, wiring.flipped(self.o))
        started, announced = Signal(), Signal()
        m.d.sync += [started.eq(1), announced.eq(self.matvec.soon)]
        m.d.sync += Assert(~started | (announced == self.matvec.i.ready))
        return m


@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.3, 0.3), (0.0, 0.9), (0.9, 0.0)])
@pytest.mark.parametrize(("simd", "pe", "planes"), [(6, 4, 2), (6, 4, 1), (6, 8, 2), (3, 4, 2), (2, 2, 1)])
def test_ready_is_announced_a_cycle_ahead(simd, pe, planes, stalls):
    """With groups of one cycle, of two and more, and with a window of one cycle in all."""
    weights, codes = random_case(8, 6, 1, 2, 30)
    matvec = MatVec(weights, 1, 2, simd, pe, planes=planes)
    offered = [pack(row, 2) for row in codes.tolist()]
    run_stream(Announced(matvec), {"i": offered}, {"o": 30 * matvec.groups}, 3, *stalls)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"weight_bits": 9}, "Weight width must be 1 .. 8 bits, not 9"),
        ({"act_bits": 0}, "Activation width must be 1 .. 8 bits, not 0"),
        ({"weight_bits": 1}, "codes of 1 bits must be 0 .. 1, not 0 .. 3"),
        ({"weights": np.zeros((4, 6))}, r"integers \[Co, N\], not float64 \[4, 6\]"),
        ({"simd": 4}, "divide the 6 codes of a window, 4 does not"),
        ({"pe": 3}, "divide the 4 output channels, 3 does not"),
        ({"arithmetic": "dsp"}, "'lanes' or 'mac', not 'dsp'"),
        ({"storage": "flash"}, "Storage must be one of auto, logic, registered, block, reload, not 'flash'"),
        ({"pes_per_copy": 3}, "1 .. 2, not 3"),
        ({"planes": 3}, "Planes must divide the 2 planes of the codes, 3 does not"),
        ({"planes": 2, "arithmetic": "mac"}, "planes must be 1, not 2"),
        ({"lanes": 3}, "Lanes must divide the 2 channels of a group, 3 does not"),
        ({"simd": 6, "weight_bits": 2, "planes": 2, "pe": 4, "lanes": 1}, "takes 2 cycles: lanes must be at least 2"),
        ({"simd": 6, "turns": True}, "A window of one chunk, here of 6 codes, does not turn"),
    ],
)
def test_arguments_are_checked(override, message):
    weights = np.arange(24).reshape(4, 6) % 4
    arguments = {"weights": weights, "weight_bits": 2, "act_bits": 2, "simd": 3, "pe": 2}
    with pytest.raises(ValueError, match=message):
        MatVec(**{**arguments, **override})
