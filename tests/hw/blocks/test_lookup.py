# amaranth: UnusedElaboratable=no
"""Lookup against the golden model, under stalls."""

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned

from popstream.hw.blocks.lookup import Lookup
from popstream.model.manifest.node import Node
from popstream.sim.golden import node_function
from tests.hw.beats import STALLS, from_beats, to_beats
from tests.hw.stream_bench import run_stream


def check(table, codes, bits, lanes, seed=0, stalls=(0.4, 0.4), storage="auto", times=None):
    table = np.asarray(table, np.int32)
    whole = np.broadcast_to(table, (codes.shape[1], table.shape[1]))
    dut = Lookup(whole, signed(bits), lanes, storage)
    beats = to_beats(codes, dut.bits, lanes)
    got = run_stream(dut, {"i": beats}, {"o": len(beats)}, seed, *stalls, times=times)["o"]
    expected = node_function(Node("d", "dequantize", tensors={"table": table}), codes)
    np.testing.assert_array_equal(from_beats(got, codes.shape, bits, lanes, signed=True), expected)
    return dut


@pytest.mark.parametrize(("channels", "lanes"), [(1, 1), (6, 2), (5, 1), (4, 4)])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("bits", range(1, 9))
def test_lookup_equals_golden(bits, own, channels, lanes):
    seed = bits + own + channels
    rng = np.random.default_rng(seed)
    table = rng.integers(-64, 64, (channels if own else 1, 2**bits))
    codes = rng.integers(0, 2**bits, (2, channels, 3, 3), np.uint8)
    dut = check(table, codes, 7, lanes, seed, STALLS[seed % len(STALLS)])
    groups = channels // lanes if own else 1
    assert [len(entries) for entries in dut.entries] == [2**bits * groups] * lanes


@pytest.mark.parametrize(("storage", "latency"), [("logic", 2), ("block", 3), ("reload", 3)])
def test_one_beat_a_cycle(storage, latency):
    codes = np.random.default_rng(1).integers(0, 4, (2, 6, 3, 3), np.uint8)
    times = {}
    dut = check([[-8, 3, 7, 0]], codes, 4, 2, 0, (0.0, 0.0), storage, times)
    assert times["i"] == list(range(times["i"][0], times["i"][0] + 54))
    assert times["o"] == [cycle + latency for cycle in times["i"]]
    assert dut.latency == latency


def test_a_lane_of_one_row_beside_one_of_many():
    """The second lane's rows are not equal and lie in block RAM, the first's are one table in LUTs."""
    rng = np.random.default_rng(3)
    table = rng.integers(-8, 8, (16, 16))
    table[::2] = table[0]
    codes = rng.integers(0, 16, (2, 16, 2, 2), np.uint8)
    dut = check(table, codes, 4, 2)
    assert [len(entries) for entries in dut.entries] == [16, 128]
    check(np.full((1, 16), 5), codes, 4, 4)


@pytest.mark.parametrize(("arguments", "message"), [
    (([1, 2], signed(4), 1), "must have the shape"),
    (([[1, 2, 3]], signed(4), 1), "2.bits entries a channel with 1 to 8 bits, not 3"),
    (([[1, 2]], signed(4), 2), "Lanes must divide the 1 channels, not be 2"),
    (([[1, 8]], signed(4), 1), "Entries must be -8 to 7, not 1 to 8"),
    (([[-1, 1]], unsigned(4), 1), "Entries must be 0 to 15, not -1 to 1"),
    (([[1, 2]], signed(4), 1, "disk"), "Storage must be one of"),
])  # fmt: skip
def test_wrong_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        Lookup(*arguments)
