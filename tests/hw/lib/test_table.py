# amaranth: UnusedElaboratable=no
"""Table: entries, their shape, the enable; and the arguments of PartialSums."""

from itertools import product

import numpy as np
import pytest
from amaranth.hdl import Module, Shape, Signal, signed, unsigned
from amaranth.sim import Simulator

from popstream.hw.lib.accumulate import PartialSums
from popstream.hw.lib.table import Table, TablePair, lane_values, range_shape, shape_limits


@pytest.mark.parametrize("values", [[7], [4, 4, 4], [0, 0], [-3, 5, 0, 9, -1], list(range(-50, 60))])
@pytest.mark.parametrize("storage", ["auto", "logic", "block"])
def test_table_reads_its_entries_when_enabled(values, storage):
    dut = Table(values, storage)
    read = []

    async def bench(ctx):
        for address in range(len(values)):
            ctx.set(dut.address, address)
            ctx.set(dut.en, 1)
            await ctx.tick().repeat(dut.latency)
            ctx.set(dut.address, 0)
            ctx.set(dut.en, 0)
            await ctx.tick()
            read.append(ctx.get(dut.o))

    top = Module()
    top.submodules.dut = dut
    heartbeat = Signal()  # gives a constant table a clock domain
    top.d.sync += heartbeat.eq(~heartbeat)
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert read == values
    assert dut.constant == (len(set(values)) == 1)


@pytest.mark.parametrize("sizes", [(1, 2), (5, 3), (16, 40)])
def test_pair_reads_both_tables_when_enabled(sizes):
    rng = np.random.default_rng(sizes)
    tables = [rng.integers(-300, 300, size).tolist() for size in sizes]
    dut = TablePair(*tables)
    read = []

    async def bench(ctx):
        for first, second in product(range(sizes[0]), range(sizes[1])):
            ctx.set(dut.address0, first)
            ctx.set(dut.address1, second)
            ctx.set(dut.en, 1)
            await ctx.tick().repeat(dut.latency)
            ctx.set(dut.address0, 0)
            ctx.set(dut.address1, 0)
            ctx.set(dut.en, 0)
            await ctx.tick()
            read.append((ctx.get(dut.o0), ctx.get(dut.o1)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert read == list(product(*tables))


def test_a_pair_pays_where_one_block_ram_of_two_ports_holds_it():
    assert TablePair.pays(range(64), range(128))
    assert TablePair.pays([0] * 512, [2**18 - 1])
    assert not TablePair.pays([0] * 513, [1])
    assert not TablePair.pays([0], [2**18])
    with pytest.raises(ValueError, match="at least one entry"):
        TablePair([], [1])


@pytest.mark.parametrize(
    ("entries", "storage", "latency"), [(32, "auto", 1), (33, "auto", 2), (33, "logic", 1), (2, "block", 2)]
)
def test_block_ram_takes_a_cycle_more(entries, storage, latency):
    table = Table(range(entries), storage)
    assert (table.latency, table.block) == (latency, latency == 2)


def test_shapes():
    assert Table([0, 7]).shape == unsigned(3)
    assert Table([-9, 7]).shape == signed(5)
    assert range_shape(0, 0) == unsigned(1)
    assert range_shape(-1, -1).signed
    for shape in (unsigned(4), signed(4), signed(1)):
        assert range_shape(*shape_limits(shape)) == Shape.cast(shape)
    assert lane_values([5, 6, 7, 8, 9, 10], 3, 1) == [6, 9]


def test_wrong_table():
    with pytest.raises(ValueError, match="at least one entry"):
        Table([])
    with pytest.raises(ValueError, match="one of auto, logic, registered, block, reload, not 'rom'"):
        Table([1], "rom")


def test_sum_shape_covers_every_sum():
    assert PartialSums(signed(4), 1, 1, 4, initial=2).sum_shape == signed(6)  # -30..30
    assert PartialSums(unsigned(4), 1, 1, 4, initial=3).sum_shape == unsigned(6)  # 0..63
    assert PartialSums(unsigned(4), 1, 1, 4, initial=4).sum_shape == unsigned(7)


@pytest.mark.parametrize(
    ("lanes", "depth", "terms", "initial", "spacing", "message"),
    [
        (0, 1, 1, 0, 1, "not 0, 1, 1 and 1"),
        (1, 0, 1, 0, 1, "not 1, 0, 1 and 1"),
        (1, 1, 0, 0, 1, "not 1, 1, 0 and 1"),
        (1, 1, 1, 0, 0, "not 1, 1, 1 and 0"),
        (1, 1, 1, -1, 1, "not -1"),
    ],
)
def test_wrong_sums(lanes, depth, terms, initial, spacing, message):
    with pytest.raises(ValueError, match=message):
        PartialSums(unsigned(4), lanes, depth, terms, initial, spacing)


def test_sums_in_block_ram_need_beats_between_two_of_an_address():
    for depth, spacing, latency in [(16, 16, 2), (200, 2, 2), (200, 3, 3)]:
        assert PartialSums.latency_of(signed(16), 2, depth, 4, 2, spacing) == latency
