# amaranth: UnusedElaboratable=no
"""The camera example: frames with pauses in and between lines against NumPy, then through the accelerator to golden."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from examples.camera import Camera, CameraClassifier
from popstream.sim import golden
from tests.hw.stream_bench import pack, unpack
from tests.networks import random_network


def simulate(dut, bench, *more):
    top = Module()
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    for other in more:
        simulator.add_testbench(other, background=True)
    simulator.run()


async def show(ctx, dut, frame, rng, gap):
    """A frame uint8 [C, height, width], with pauses in and between lines, and `gap` cycles behind."""
    ctx.set(dut.frame, 1)
    await ctx.tick().repeat(rng.randint(1, 3))
    for line in frame.transpose(1, 2, 0):
        for pixel in line:
            ctx.set(dut.pixel.as_value(), pack(pixel, 8))
            ctx.set(dut.line, 1)
            await ctx.tick()
        ctx.set(dut.line, 0)
        await ctx.tick().repeat(rng.randint(1, 4))
    ctx.set(dut.frame, 0)
    await ctx.tick().repeat(gap)


def averaged(frame, shape, scale):
    """What the camera's image must be."""
    channels, rows, columns = shape
    top, left = (frame.shape[1] - scale * rows) // 2, (frame.shape[2] - scale * columns) // 2
    middle = frame[:, top : top + scale * rows, left : left + scale * columns].astype(int)
    return middle.reshape(channels, rows, scale, columns, scale).sum((2, 4)) // scale**2


@pytest.mark.parametrize(
    ("shape", "width", "height", "scale"), [((3, 4, 5), 13, 11, 2), ((1, 3, 3), 3, 3, 1), ((2, 2, 3), 14, 9, 4)]
)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_image(shape, width, height, scale, stall):
    rng = random.Random(width)
    frames = np.random.default_rng(height).integers(0, 256, (3, shape[0], height, width), dtype=np.uint8)
    dut = Camera(shape, width, height)
    assert dut.scale == scale
    pixels = []

    async def take(ctx):
        while True:
            ctx.set(dut.o.ready, rng.random() >= stall)
            _, _, valid, ready, payload = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload.as_value())
            if valid and ready:
                pixels.append(unpack(payload, 8, shape[0]))

    async def bench(ctx):
        for frame in frames:
            await show(ctx, dut, frame, rng, 20 + 6 * shape[1] * shape[2])
        assert ctx.get(dut.skipped) == 0

    simulate(dut, bench, take)
    expected = [averaged(frame, shape, scale).transpose(1, 2, 0).reshape(-1, shape[0]) for frame in frames]
    assert pixels == np.concatenate(expected).tolist()


def test_a_frame_without_room_is_skipped_whole():
    frames = np.random.default_rng(1).integers(0, 256, (3, 1, 4, 4), dtype=np.uint8)
    dut = Camera((1, 2, 2), 4, 4)
    pixels = []

    async def take(ctx):
        async for *_, valid, ready, payload in ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload[0]):
            if valid and ready:
                pixels.append(payload)

    async def bench(ctx):
        await show(ctx, dut, frames[0], random.Random(0), 3)
        await show(ctx, dut, frames[1], random.Random(0), 3)
        assert ctx.get(dut.skipped) == 1
        ctx.set(dut.o.ready, 1)
        await ctx.tick().repeat(10)
        await show(ctx, dut, frames[2], random.Random(0), 10)
        assert ctx.get(dut.skipped) == 1

    simulate(dut, bench, take)
    assert pixels == [value for number in (0, 2) for value in averaged(frames[number], (1, 2, 2), 2).ravel()]


def test_with_the_accelerator():
    network = random_network(
        6, height=4, width=5, channels=(3,), strides=(1,), convs_per_block=1, first_bits=(2, 8), last_bits=(2, 2)
    )
    frames = np.random.default_rng(2).integers(0, 256, (4, 3, 9, 12), dtype=np.uint8)
    dut = CameraClassifier(network, 12, 9, interval=200)
    results = []

    async def take(ctx):
        ctx.set(dut.o.ready, 1)
        async for *_, valid, payload in ctx.tick().sample(dut.o.valid, dut.o.payload.as_value()):
            if valid:
                results.append([payload & 0xFF, *unpack(payload >> 8, 32, network.output.shape[0], signed=True)])

    async def bench(ctx):
        for frame in frames:
            await show(ctx, dut, frame, random.Random(3), 150)
        await ctx.tick().repeat(500)
        assert ctx.get(dut.skipped) == 0

    simulate(dut, bench, take)
    codes = np.array([averaged(frame, (3, 4, 5), 2) for frame in frames]).astype(np.uint8)
    logits = golden.run_batches(network, codes)
    assert results == [[int(label), *row] for label, row in zip(golden.labels(logits), logits.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((3, 32, 32), 31, 480), "A frame must be at least 32x32 pixels, not 31x480"),
        (((3, 32, 32), 640, 480, 3), "Scale must be a power of two, 1 to 15, not 3"),
        (((3, 32, 32), 640, 480, 16), "Scale must be a power of two, 1 to 15, not 16"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Camera(*arguments)


def test_codes_of_other_bits():
    network = random_network(1, first_bits=(2, 4), height=4, width=4)
    with pytest.raises(ValueError, match="the input of random has 4"):
        CameraClassifier(network, 8, 8)
