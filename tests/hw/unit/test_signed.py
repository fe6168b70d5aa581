# amaranth: UnusedElaboratable=no
"""Units of signed weights: bit-exact under stalls on every arithmetic and storage, in as many cycles as odd ones."""

import numpy as np
import pytest
from amaranth.hdl import Fragment, signed

from popstream.hw.unit.matvec import MatVec
from popstream.hw.unit.plan import weight_matrix
from popstream.model.manifest.node import Node
from popstream.model.rom.planes import weight_words
from tests.hw.stream_bench import pack
from tests.hw.unit.test_convolution import TURNING, chain
from tests.hw.unit.test_matvec import SHAPES, check, random_case

STALLS = [(0.3, 0.3), (0.0, 0.0), (0.0, 0.9), (0.8, 0.0)]
STORAGES = ["auto", "logic", "registered", "block", "reload"]
WIDTHS = [1, 2, 3, 5, 8]


@pytest.mark.parametrize("arithmetic", ["lanes", "mac"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_dot_product_under_stalls(shape, arithmetic):
    """Each shape with two storages, each with stalls of its own, which change from shape to shape."""
    channels, length, weight_bits, act_bits, simd, pe = shape
    place = SHAPES.index(shape)
    for seed in (place % 4, (place + 2) % 4):
        stalls, storage = STALLS[seed], STORAGES[(seed + place // 4) % 4]
        weights, codes = random_case(channels, length, weight_bits, act_bits, 12 if weight_bits < 8 else 3, seed)
        dut = MatVec(weights, weight_bits, act_bits, simd, pe, arithmetic, storage, kind="signed")
        assert dut.acc_shape.signed
        assert not dut.correction.any()
        check(dut, codes, seed=seed, stall_in=stalls[0], stall_out=stalls[1])


@pytest.mark.parametrize("weight_bits", WIDTHS)
@pytest.mark.parametrize("act_bits", WIDTHS)
def test_pairs_of_widths(weight_bits, act_bits):
    """With copies of one PE, every number of planes, and beats of one channel where there is time for them."""
    weights, codes = random_case(4, 6, weight_bits, act_bits, 5)
    for planes in range(1, act_bits + 1):
        if act_bits % planes == 0 and planes in (1, 2, act_bits):
            lanes = 1 if weight_bits * act_bits // planes * 2 > 1 else 2
            dut = MatVec(weights, weight_bits, act_bits, 3, 2, "lanes", "auto", 1, planes, lanes, kind="signed")
            check(dut, codes, seed=planes, stall_in=0.2, stall_out=0.3)
    check(MatVec(weights, weight_bits, act_bits, 2, 2, "mac", kind="signed"), codes)


@pytest.mark.parametrize("arithmetic", ["lanes", "mac"])
@pytest.mark.parametrize("code", [0, 7, 8, 15])
def test_widths_hold_the_extremes(code, arithmetic):
    """All weights 0, 7, -8 or -1."""
    weights = np.full((2, 7), code, dtype=np.uint8)
    codes = np.array([[7] * 7, [0] * 7, [7, 0, 7, 0, 7, 0, 7]])
    dut = MatVec(weights, 4, 3, 7, 1, arithmetic, kind="signed")
    check(dut, codes)
    assert dut.acc_shape == {0: signed(1), 7: signed(10), 8: signed(10), 15: signed(7)}[code]  # 0, 343, -392, -49


@pytest.mark.parametrize("arithmetic", ["lanes", "mac"])
def test_reloadable_accumulators_hold_any_weights(arithmetic):
    """6 products of 3-bit codes and weights of -2 to 1: -84 to 42."""
    for weights in (np.zeros((2, 6), int), np.full((2, 6), 2), np.eye(2, 6, dtype=int)):
        assert MatVec(weights, 2, 3, 3, 1, arithmetic, "reload", kind="signed").acc_shape == signed(8)


@pytest.mark.parametrize("arithmetic", ["lanes", "mac"])
@pytest.mark.parametrize("shape", [(4, 9, 2, 2, 3, 2), (4, 9, 1, 2, 9, 2), (4, 9, 1, 1, 9, 4), (2, 6, 8, 8, 1, 2)])
def test_no_bubbles_and_latency(shape, arithmetic):
    """As many cycles as odd weights take; a cycle more of latency where a sum of one cycle has to be subtracted."""
    channels, length, weight_bits, act_bits, simd, pe = shape
    weights, codes = random_case(channels, length, weight_bits, act_bits, 12)
    odd = MatVec(weights, weight_bits, act_bits, simd, pe, arithmetic)
    dut = MatVec(weights, weight_bits, act_bits, simd, pe, arithmetic, kind="signed")
    times = {}
    check(dut, codes, times, stall_in=0.0, stall_out=0.0)
    assert dut.cycles == odd.cycles
    assert set(np.diff(times["i"])) == {dut.cycles}
    assert times["o"][dut.groups - 1] - times["i"][0] == dut.latency
    assert dut.latency == odd.latency + (arithmetic == "lanes" and dut.plan.group_cycles == 1)


def test_weight_memory_holds_the_words_of_the_rom_image():
    weight = np.random.default_rng(1).integers(0, 8, (6, 4, 3, 3), dtype=np.uint8)
    node = Node("conv", "conv", attributes={"weight_bits": 3, "weights": "signed"}, tensors={"weight": weight})
    dut = MatVec(weight_matrix(node), 3, 2, 12, 2, pes_per_copy=2, kind="signed")
    module = dut.elaborate(None)
    Fragment.get(module, None)  # so that no block counts as forgotten
    assert list(module.submodules.weights0.init) == [pack(bits, 1) for bits in weight_words(node, 12, 2).tolist()]


@pytest.mark.parametrize("stalls", [(0.3, 0.3), (0.0, 0.9)])
@pytest.mark.parametrize("shape", TURNING, ids=str)
def test_convolutions_behind_turning_windows(shape, stalls):
    case, weight_bits, simd, pe, arithmetic, planes = shape
    chain(case, weight_bits, simd, pe, False, stalls, 2, True, arithmetic, planes, "signed")


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize(
    ("case", "weight_bits", "simd"),
    [((4, 5, 4, 2, 3, 1, 1, 2), 2, 36), ((2, 6, 5, 1, 3, 2, 1, 1), 3, 6), ((6, 3, 4, 4, 1, 2, 0, 3), 8, 6)],
)
def test_convolutions(case, weight_bits, simd, prefetch):
    chain(case, weight_bits, simd, 4, prefetch, (0.3, 0.3), kind="signed")


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="Weights must be of a kind of odd, signed, not 'even'"):
        MatVec(np.zeros((2, 2), int), 1, 1, 2, 2, kind="even")
