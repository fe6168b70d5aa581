# amaranth: UnusedElaboratable=no
"""A wrapped accelerator against the golden model: results, registers, frames of wrong lengths, under stalls."""

import random
from itertools import chain

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from popstream.hw.accelerator import Accelerator
from popstream.hw.solver.solve import solve
from popstream.hw.wrappers.frames import admitted, result_words
from popstream.hw.wrappers.registers import ID, Registers, counted
from popstream.hw.wrappers.wrapper import Wrapper
from popstream.sim import golden
from tests.hw.beats import from_beats, to_beats
from tests.hw.wrappers.axis_bench import run
from tests.networks import random_images, random_network

IMAGES = 6


@pytest.fixture(scope="module")
def network():
    """Codes of 3 bits in bytes, so that padding shows."""
    options = dict(height=3, width=4, channels=(3,), strides=(1,), first_bits=(2, 3), last_bits=(2, 2), blocks=1)
    return random_network(5, convs_per_block=1, **options)


def framed(network, seed):
    """Beats (pixel, last) of IMAGES frames, the second too long and the fourth too short; noise in the spare bits."""
    rng = random.Random(seed)
    images = random_images(network.input, seed, IMAGES)
    pixels = np.prod(images.shape[2:])
    spare = 0xFF << network.entry_bits & 0xFF
    beats = []
    for number, image in enumerate(images):
        words = to_beats(image[None], 8, image.shape[0])
        words += [0x050607] * 5 if number == 1 else []
        words = words[:-4] if number == 3 else words
        noisy = [word | (rng.getrandbits(24) & spare * 0x010101) for word in words]
        beats += [(word, index == len(words) - 1) for index, word in enumerate(noisy)]
    codes, errors = admitted(((word & ~(spare * 0x010101), last) for word, last in beats), pixels)
    return beats, from_beats(codes, images.shape, 8, images.shape[1]).astype(np.uint8), errors


@pytest.mark.parametrize(("stall_in", "stall_out"), [(0.0, 0.0), (0.5, 0.5), (0.0, 0.95)])
@pytest.mark.parametrize("registers", [False, True])
def test_axi_stream(network, registers, stall_in, stall_out):
    beats, codes, errors = framed(network, 3)
    assert errors == 2
    logits = golden.run_batches(network, codes)
    words = [result_words(label, row) for label, row in zip(golden.labels(logits), logits.tolist(), strict=True)]
    dut = Wrapper(Accelerator(network, solve(network, 200)), "axi", registers)
    found = run(dut, beats, sum(map(len, words)), 9, stall_in, stall_out)
    assert [word for word, _ in found.words] == list(chain(*words))
    assert [last for _, last in found.words] == [index == len(row) - 1 for row in words for index in range(len(row))]
    expected = counted(found.events)
    assert (expected["images"], expected["errors"], expected["flight"]) == (IMAGES, 2, 0)
    if registers:
        head = dict(id=ID, hash=int(network.hash[:8], 16), control=1, status=0)
        assert found.registers == head | {name: expected[name] for name in ("images", "errors", "interval", "latency")}
        assert min(expected["interval"], expected["latency"]) > len(words[0])


def test_plain_with_registers(network):
    """The accelerator's own streams; nothing goes in until enabled, and busy while an image is inside."""
    dut = Wrapper(Accelerator(network, solve(network, 200)), "plain", True)
    codes = random_images(network.input, 1, 1)
    results, busy = [], []

    async def bench(ctx):
        ctx.set(dut.wb_adr, 3)
        ctx.set(dut.wb_cyc, 1)
        ctx.set(dut.wb_stb, 1)
        ctx.set(dut.i.valid, 1)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.wb_dat_r) == 0
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.wb_adr, 2)
        ctx.set(dut.wb_we, 1)
        ctx.set(dut.wb_dat_w, 1)
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.i.ready), "written without wb_sel"
        ctx.set(dut.wb_sel, 1)
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(2)
        ctx.set(dut.wb_we, 0)
        ctx.set(dut.wb_adr, 3)
        for beat in to_beats(codes, network.entry_bits, network.input.shape[0]):
            ctx.set(dut.i.payload.as_value(), beat)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        while not ctx.get(dut.o.valid):
            await ctx.tick()
        busy.append(ctx.get(dut.wb_dat_r))
        results.append([ctx.get(dut.o.payload.label), *(ctx.get(logit) for logit in dut.o.payload.logits)])
        ctx.set(dut.o.ready, 1)
        await ctx.tick().repeat(4)
        busy.append(ctx.get(dut.wb_dat_r))

    top = Module()
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    logits = golden.run_batches(network, codes)
    assert results == [[int(golden.labels(logits)[0]), *logits[0].tolist()]]
    assert busy == [1 << 16 | 1, 0]


@pytest.mark.parametrize("seed", range(4))
def test_counters_against_events(seed):
    """Any order of events that a pipeline with several images in flight can give."""
    rng = random.Random(seed)
    events: list[tuple[bool, bool, bool]] = []
    flight = 0
    for _ in range(400):
        begun, done = rng.random() < 0.1, flight > 0 and rng.random() < 0.1
        flight += begun - done
        events.append((begun, done, rng.random() < 0.05))
    dut = Registers(0x12345678)
    found = {}

    async def bench(ctx):
        for begun, done, error in events:
            ctx.set(dut.begun, begun)
            ctx.set(dut.done, done)
            ctx.set(dut.error, error)
            await ctx.tick()
        for signal in (dut.begun, dut.done, dut.error):
            ctx.set(signal, 0)
        ctx.set(dut.wb_cyc, 1)
        ctx.set(dut.wb_stb, 1)
        for address, name in enumerate(("id", "hash", "control", "status", "images", "errors", "interval", "latency")):
            ctx.set(dut.wb_adr, address)
            await ctx.tick().repeat(2)
            found[name] = ctx.get(dut.wb_dat_r)

    top = Module()
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    expected = counted(events)
    assert expected["latency"] > 0
    assert found.pop("status") == expected.pop("flight") << 16 | (flight > 0)
    assert found == dict(id=ID, hash=0x12345678, control=0) | expected


def test_counted_by_hand():
    begun, done, idle = (True, False, False), (False, True, False), (False, False, False)
    events = [begun, idle, begun, idle, done, idle, begun, (False, True, True), idle, idle, done]
    assert counted(events[:5]) == dict(images=1, errors=0, interval=0, latency=4, flight=1)
    assert counted(events) == dict(images=3, errors=1, interval=3, latency=4, flight=0)


@pytest.mark.parametrize(
    ("bus", "registers", "message"),
    [
        ("wishbone", True, "Bus must be plain or axi, not 'wishbone'"),
        ("plain", False, "A wrapper without AXI-Stream and registers is the accelerator itself"),
    ],
)
def test_arguments(network, bus, registers, message):
    with pytest.raises(ValueError, match=message):
        Wrapper(Accelerator(network, solve(network, 200)), bus, registers)


def test_a_hash_of_more_than_a_word():
    with pytest.raises(ValueError, match="Hash must be 32 bits, not 0x100000000"):
        Registers(1 << 32)
