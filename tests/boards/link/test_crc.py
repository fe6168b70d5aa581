# amaranth: UnusedElaboratable=no
"""The CRC in hardware against its model."""

import random

from amaranth.sim import Simulator

from popstream.boards.link.crc import SerialCrc
from popstream.boards.link.protocol import crc32


def simulate(bench):
    dut = SerialCrc()
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def run(ctx):
        async def step(byte, drain=0):
            ctx.set(dut.data, byte)
            ctx.set(dut.drain, drain)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.drain, 1 - drain)  # is looked at with start alone
            for _ in range(8):
                assert ctx.get(dut.busy)
                await ctx.tick()
            assert not ctx.get(dut.busy)
            return ctx.get(dut.byte)

        async def clear():
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)

        await bench(ctx, dut, step, clear)

    simulator.add_testbench(run)
    simulator.run()


def test_sums_equal_the_model():
    async def bench(ctx, dut, step, clear):
        rng = random.Random(0)
        for size in (0, 1, 2, 9, 40):
            message = rng.randbytes(size)
            await clear()
            for byte in message:
                assert await step(byte) == byte
            drained = bytes([await step(0, drain=1) for _ in range(4)])
            assert drained == crc32(message).to_bytes(4, "little")

    simulate(bench)


def test_a_wrong_byte_of_the_sum_is_seen_and_forgotten_by_clear():
    async def bench(ctx, dut, step, clear):
        rng = random.Random(1)
        for place in (None, 0, 1, 2, 3):
            message = rng.randbytes(5)
            await clear()
            assert not ctx.get(dut.wrong)
            for byte in message:
                await step(byte)
            check = bytearray(crc32(message).to_bytes(4, "little"))
            if place is not None:
                check[place] ^= 1 << rng.randrange(8)
            for byte in check:
                await step(byte, drain=1)
            assert ctx.get(dut.wrong) == (place is not None)

    simulate(bench)
