"""Runs inside the simulator: drives two wrapped accelerators in one design with cocotbext-axi, and pauses both sides.

The working directory holds designs.json (per design: images, seed, pause, short; registers) and images-<design>.npy,
codes uint8 [N, C, H, W]; answer-<design>.npz takes labels int64 [N], logits int32 [N, O], errors and, of the design
with registers, their contents.
"""

import json
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from popstream.hw.wrappers.registers import REGISTERS


def pauses(seed: int, chance: float) -> Any:
    """Whether to pause, cycle by cycle, for ever."""
    rng = random.Random(seed)
    while True:
        yield rng.random() < chance


class Wishbone:
    """A master of classic cycles on bench.wb_*."""

    def __init__(self, dut: Any):
        self.dut = dut

    async def access(self, address: int, value: int | None = None) -> int:
        """Read a word, or write one; the data of the answer."""
        dut = self.dut
        await FallingEdge(dut.aclk)
        dut.wb_adr.value, dut.wb_dat_w.value, dut.wb_we.value = address, value or 0, value is not None
        dut.wb_sel.value = 0xF
        dut.wb_cyc.value = dut.wb_stb.value = 1
        while not int(dut.wb_ack.value):
            await FallingEdge(dut.aclk)
        data = int(dut.wb_dat_r.value)
        dut.wb_cyc.value = dut.wb_stb.value = 0
        await FallingEdge(dut.aclk)
        return data


class Errors:
    """Counts the cycles in which <design>_frame_error is high."""

    def __init__(self, dut: Any, name: str):
        self.count = 0
        cocotb.start_soon(self.watch(dut.aclk, getattr(dut, f"{name}_frame_error")))

    async def watch(self, clock: Any, signal: Any) -> None:
        while True:
            await RisingEdge(clock)
            self.count += int(signal.value)


async def stream(dut: Any, name: str, settings: dict[str, Any]) -> None:
    """Send every image as one frame, `short` of them without their last pixels, and keep what comes back."""
    codes = np.load(f"images-{name}.npy")
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, f"{name}_s_axis"), dut.aclk, dut.aresetn, False)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, f"{name}_m_axis"), dut.aclk, dut.aresetn, False)
    errors = Errors(dut, name)
    source.set_pause_generator(pauses(settings["seed"], settings["pause"]))
    sink.set_pause_generator(pauses(settings["seed"] + 1, settings["pause"]))
    for number, image in enumerate(codes):
        pixels = image.transpose(1, 2, 0).reshape(-1, image.shape[0])
        if number in settings["short"]:
            pixels = pixels[: -settings["missing"]]
        await source.send(AxiStreamFrame(pixels.tobytes()))
    frames = [await sink.recv() for _ in codes]
    words = np.array([np.frombuffer(bytes(frame.tdata), "<i4") for frame in frames])
    await ClockCycles(dut.aclk, 100)
    assert sink.empty(), "a result too many"
    np.savez(f"answer-{name}.npz", labels=words[:, 0], logits=words[:, 1:], errors=errors.count)


@cocotb.test()
async def stream_images(dut: Any) -> None:
    """All designs at once; then the registers."""
    designs = json.loads(Path("designs.json").read_text())
    Clock(dut.aclk, 2, unit="step").start()  # from outside: of a clock within, an edge is seen after what it changes
    await ClockCycles(dut.aclk, 4)
    dut.aresetn.value = 1  # before the drivers are made: they see a reset by its edges alone, and would send within it
    await ClockCycles(dut.aclk, 1)
    running = [cocotb.start_soon(stream(dut, name, settings)) for name, settings in designs.items()]
    bus = Wishbone(dut)
    await bus.access(REGISTERS.index("control"), 1)
    for task in running:
        await task
    found = {name: await bus.access(address) for address, name in enumerate(REGISTERS)}
    Path("registers.json").write_text(json.dumps(found))
