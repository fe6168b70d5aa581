"""The host link's memory in banks: two enabled cycles from an address to its word, whatever is written meanwhile."""

import random

import pytest
from amaranth.sim import Simulator

from popstream.boards.link import buffer as module
from popstream.boards.link.buffer import WIDTH, Buffer


@pytest.mark.parametrize("count", [1, 5, 8, 9, 16, 21])
def test_words_come_two_enabled_cycles_later(count, monkeypatch):
    monkeypatch.setattr(module, "BANK", 8)
    rng = random.Random(count)
    words = [rng.randrange(1 << WIDTH) for _ in range(count)]
    dut = Buffer(words)
    cycles = 300

    async def bench(ctx):
        kept, on_their_way = list(words), []
        for cycle in range(cycles):
            address, enable = rng.randrange(count), rng.random() < 0.6
            write = rng.random() < 0.3
            word = rng.randrange(1 << WIDTH)
            for signal, value in ((dut.address, address), (dut.enable, enable), (dut.write, write), (dut.word, word)):
                ctx.set(signal, value)
            if enable:
                on_their_way.append(kept[address])
            await ctx.tick()
            if write:
                kept[address] = word
            if len(on_their_way) > 1 and enable:
                assert ctx.get(dut.data) == on_their_way[-2], cycle

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
