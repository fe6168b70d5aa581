# amaranth: UnusedElaboratable=no
"""Adder trees against Python's sum and bit_count, a new word each cycle."""

import random

import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from popstream.hw.lib.popcount import AdderTree, PopCount
from tests.hw.stream_bench import pack


def free_run(dut, words):
    """Feeds one word each cycle; returns what `o` shows `dut.latency` cycles after each."""
    seen = []

    async def bench(ctx):
        for word in words + [0] * dut.latency:
            ctx.set(Value.cast(dut.i), word)
            await ctx.delay(1e-9)
            seen.append(ctx.get(dut.o))
            await ctx.tick()

    simulator = Simulator(dut)
    if dut.latency:
        simulator.add_clock(1e-8)
        simulator.add_testbench(bench)
        simulator.run()
        return seen[dut.latency :]

    async def combinational(ctx):
        for word in words:
            ctx.set(Value.cast(dut.i), word)
            seen.append(ctx.get(dut.o))

    simulator.add_testbench(combinational)
    simulator.run()
    return seen


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 27, 33, 64, 100, 144, 257])
def test_popcount(n):
    rng = random.Random(n)
    words = [0, (1 << n) - 1, 1, 1 << (n - 1)] + [rng.getrandbits(n) for _ in range(40)]
    assert free_run(PopCount(n), words) == [word.bit_count() for word in words]


@pytest.mark.parametrize("n", range(1, 9))
def test_popcount_of_every_word(n):
    words = list(range(1 << n))
    assert free_run(PopCount(n), words) == [word.bit_count() for word in words]


@pytest.mark.parametrize("planes", [1, 2, 4])
@pytest.mark.parametrize("n", [9, 24, 100, 144])
def test_neighbours_are_added_first(n, planes):
    """An adder of the first level takes three codes: two leaves and a carry, that stand side by side."""
    codes = PopCount._sides(n, planes)
    leaves = PopCount._trees(n, planes)[0]
    for adder in range(leaves // 2):
        some = [codes[2 * adder], codes[2 * adder + 1], *codes[leaves + adder : leaves + adder + 1]]
        assert max(some) - min(some) <= 5, some
    assert sorted(codes) == list(range(n))


@pytest.mark.parametrize("levels", [2, 3, 4])
@pytest.mark.parametrize("n", [1, 2, 3, 9, 24, 100, 144])
def test_registers_behind_some_levels(n, levels):
    dense, sparse = PopCount(n), PopCount(n, levels=levels)
    assert sparse.latency == -(-dense.latency // levels)
    words = [random.Random(n).getrandbits(n) for _ in range(40)]
    assert free_run(sparse, words) == [word.bit_count() for word in words]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 4), (-1, 1), (-128, 127), (-5, 1), (-65025, 65025)])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 11])
def test_adder_tree(low, high, n):
    rng = random.Random(n)
    rows = [[low] * n, [high] * n] + [[rng.randint(low, high) for _ in range(n)] for _ in range(30)]
    dut = AdderTree(low, high, n)
    width = len(Value.cast(dut.i)) // n
    assert free_run(dut, [pack(row, width) for row in rows]) == [sum(row) for row in rows]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PopCount(0), "at least 1 bit, not 0"),
        (lambda: PopCount(8, levels=0), "at least 1 level between registers, not 0"),
        (lambda: AdderTree(0, 3, 0), "at least 1 number, not 0"),
        (lambda: AdderTree(1, 3, 2), "not 1 .. 3"),
    ],
)
def test_arguments_are_checked(build, message):
    with pytest.raises(ValueError, match=message):
        build()
