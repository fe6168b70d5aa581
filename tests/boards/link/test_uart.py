# amaranth: UnusedElaboratable=no
"""The UART against ideal lines: fractional bit times, baud error, glitches, missing stop bits."""

import random

import pytest
from amaranth.sim import Simulator

from popstream.boards.link.uart import UartRx, UartTx, bit_clock

BIT_TIMES = [4, 5.3, 25 / 3, 8, 12, 60]  # clocks


def line_of(pieces, bit):
    """Levels clock by clock: a piece is a byte, or (level, clocks)."""
    levels, time = [], 0.0
    for piece in pieces:
        spans = [piece] if isinstance(piece, tuple) else [
            (level, bit) for level in (0, *((piece >> k & 1) for k in range(8)), 1)
        ]  # fmt: skip
        for level, clocks in spans:
            time += clocks
            levels += [level] * (round(time) - len(levels))
    return levels


def received(levels, bit):
    """What UartRx makes of the levels."""
    dut, found = UartRx(bit * 1e6, 1e6), []
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def bench(ctx):
        for level in [1] * 8 + levels + [1] * round(4 * bit + 8):
            ctx.set(dut.rx, level)
            await ctx.tick()
            if ctx.get(dut.o.valid):
                found.append(ctx.get(dut.o.payload))

    simulator.add_testbench(bench)
    simulator.run()
    return bytes(found)


@pytest.mark.parametrize("bit", BIT_TIMES)
def test_bytes_back_to_back_are_received(bit):
    message = random.Random(0).randbytes(30) + b"\x00\xff\x55\xaa"
    assert received(line_of(message, bit), bit) == message


@pytest.mark.parametrize("error", [-0.02, 0.02])
@pytest.mark.parametrize("bit", [8, 25 / 3, 60])
def test_a_sender_may_be_2_percent_off(bit, error):
    message = random.Random(1).randbytes(20)
    assert received(line_of(message, bit * (1 + error)), bit) == message


@pytest.mark.parametrize("bit", [4, 8])
def test_a_byte_without_stop_bit_is_dropped_and_the_next_is_received(bit):
    broken = [(0, bit), *[(1, bit)] * 8, (0, 3 * bit), (1, 2 * bit)]
    assert received(line_of([0x12, *broken, 0x34], bit), bit) == b"\x12\x34"


def test_a_break_is_no_byte():
    assert received(line_of([(0, 1000), (1, 30), 0x77], 8), 8) == b"\x77"


def test_short_low_pulses_are_no_start_bits():
    assert received(line_of([0x12, (1, 5), (0, 2), (1, 20), (0, 3), (1, 20), 0x34], 8), 8) == b"\x12\x34"


def test_one_wrong_sample_a_bit_is_outvoted():
    levels = line_of(b"\x5a\x00\xff", 9)
    for middle in range(9 + 4, len(levels), 9):
        levels[middle] ^= 1
    assert received(levels, 9) == b"\x5a\x00\xff"


@pytest.mark.parametrize("bit", BIT_TIMES)
def test_the_transmitter_keeps_its_bit_time(bit):
    message = b"\x00\xff\xa5" + random.Random(2).randbytes(5)
    dut, levels = UartTx(bit * 1e6, 1e6), []
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def send(ctx):
        await ctx.tick().repeat(5)
        for byte in message:
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def watch(ctx):
        for _ in range(round(11 * bit * len(message)) + 30):
            levels.append(ctx.get(dut.tx))
            await ctx.tick()

    simulator.add_testbench(send)
    simulator.add_testbench(watch)
    simulator.run()
    place = 0
    for byte in message:
        start = levels.index(0, place)
        place = start + round(10 * bit)
        wanted = line_of([byte], bit)
        edges = sum(a != b for a, b in zip(levels[start:place], wanted[: place - start], strict=True))
        assert edges <= 9, "an edge may be a clock late, and no more"
        middles = [levels[start + int((k + 0.5) * bit)] for k in range(10)]
        assert middles == [0, *((byte >> k & 1) for k in range(8)), 1]


def test_the_bit_clock_is_accurate():
    for clock in (12e6, 24e6, 25e6, 48e6, 60e6, 77.3e6, 127e6):
        for baud in (9600, 115_200, 1e6, 3e6):
            step, width = bit_clock(clock, baud)
            assert abs(step * clock / 2**width / baud - 1) <= 1 / 500


@pytest.mark.parametrize(
    ("clock", "baud", "message"),
    [
        (100e6, 3_000_001, "Baud must be 1 to 3,000,000, not 3,000,001"),
        (100e6, 0, "not 0"),
        (8e6, 3_000_000, "at least 4 clocks, not 2.67"),
        (1e9, 1, "too slow for a clock"),
    ],
)
def test_impossible_rates_are_refused(clock, baud, message):
    with pytest.raises(ValueError, match=message):
        UartRx(clock, baud)
    with pytest.raises(ValueError, match=message):
        UartTx(clock, baud)
