"""Runs inside the simulator: streams images through the bench of sim/bench/top.py and collects the results.

The working directory holds the request and takes the answer (sim/bench/run.py writes the one and reads the other):

    images.npy     codes uint8 [N, C, H, W]
    process        the number of the simulator's process, from the start; none where a file `stop` is there
    request.json   bits, classes, burst, settle, stall, i_hold, o_hold, seed, patience, tap_images, interrupt, parent
    progress       one byte for each result, as it comes
    answer.npz     labels int64 [N], logits int32 [N, O], accepted and emitted int64 [N]: the cycles of the first beat
                   and of the result; fewer rows after a hang
    answer.json    cycles, wall and cpu (seconds of the simulation), python (seconds spent here), hang (null, or where)
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import First, Timer, ValueChange

PERIOD = 2  # steps of time for a cycle of the bench's clock
TAIL = 256  # cycles after the last result in which none may follow
PR_SET_PDEATHSIG = 1  # of Linux's prctl


def encode(images: np.ndarray, bits: int, burst: int) -> list[int]:
    """Bursts of `burst` pixels as integers: pixel after pixel, channel after channel, from the lowest bit up."""
    pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).reshape(-1, burst * images.shape[1])
    planes = (pixels[..., None] >> np.arange(bits, dtype=np.uint8)) & 1
    packed = np.packbits(planes.reshape(len(pixels), -1), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


class Bench:
    """One run: the driver and the monitor, and what they recorded."""

    def __init__(self, dut: Any, images: np.ndarray, request: dict[str, Any]):
        self.dut, self.images, self.request = dut, images, request
        self.results: list[int] = []
        self.accepted: list[int] = []
        self.emitted: list[int] = []
        self.python = 0.0  # seconds

    async def interrupt(self) -> None:
        """Offer images for `interrupt` cycles and record nothing: the reset that follows finds all stages at work."""
        await self.reset(tapped=0)
        driver = cocotb.start_soon(self.drive())
        await Timer(self.request["interrupt"] * PERIOD, unit="step")
        driver.cancel()
        self.dut.offered.value = 0  # as the reset, which comes next, leaves `taken`
        self.accepted.clear()

    async def reset(self, tapped: int) -> None:
        """Start the clock and reset for a few cycles, with the settings applied; `tapped` images are recorded."""
        dut, request = self.dut, self.request | {"tap_images": tapped}
        dut.rst.value = 1
        for name in ("seed", "patience", "tap_images", "i_hold", "o_hold"):
            getattr(dut, name).value = request[name]
        if not request["settle"]:
            self.set_stall()
        dut.run.value = 1
        await Timer(4 * PERIOD, unit="step")
        dut.rst.value = 0

    def set_stall(self) -> None:
        """Pauses on both sides from now on."""
        probability = int(self.request["stall"] * 2**16)
        self.dut.i_stall.value = probability
        self.dut.o_stall.value = probability

    async def drive(self) -> None:
        """Offer burst after burst; each is taken before the next one is given, without a cycle between them."""
        dut, request = self.dut, self.request
        pixels = self.images.shape[2] * self.images.shape[3]
        per_image = pixels // request["burst"]
        offered = 0
        for image in range(len(self.images)):
            begun = time.perf_counter()
            for part, burst in enumerate(encode(self.images[image : image + 1], request["bits"], request["burst"])):
                offered ^= 1
                dut.burst.value = burst
                dut.offered.value = offered
                self.python += time.perf_counter() - begun
                await ValueChange(dut.taken)
                begun = time.perf_counter()
                if part == 0:
                    self.accepted.append(int(dut.first_cycle.value))
            assert part + 1 == per_image

    async def monitor(self) -> None:
        """Record each result and its cycle."""
        dut, settle = self.dut, self.request["settle"]
        progress = os.open("progress", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            while len(self.results) < len(self.images):
                await ValueChange(dut.emitted)
                begun = time.perf_counter()
                self.results.append(int(dut.result.value))
                self.emitted.append(int(dut.emit_cycle.value))
                os.write(progress, b".")
                if len(self.results) == settle:
                    self.set_stall()
                self.python += time.perf_counter() - begun
        finally:
            os.close(progress)

    async def run(self) -> str | None:
        """Everything; returns what went wrong, if something did."""
        dut, count = self.dut, len(self.images)
        if self.request["interrupt"]:
            await self.interrupt()
        await self.reset(self.request["tap_images"])
        driver = cocotb.start_soon(self.drive())
        monitor = cocotb.start_soon(self.monitor())
        await First(monitor, ValueChange(dut.hung))
        if monitor.done() and not driver.done():  # pixels that no result needs may still be waiting to go in
            await First(driver, ValueChange(dut.hung), ValueChange(dut.emitted))  # results without end are no hang
        if monitor.done() and int(dut.emit_cycle.value) != self.emitted[-1]:
            driver.cancel()
            return self.too_many()
        if not (monitor.done() and driver.done()):
            taken = len(self.accepted)
            monitor.cancel()
            driver.cancel()
            return (
                f"no beat moved for {self.request['patience']} cycles at cycle {int(dut.cycle.value)}: "
                f"{taken} of {count} images accepted, {len(self.results)} results"
            )
        if not int(dut.drained.value):  # nor does a result wait for all of what taps record
            await First(ValueChange(dut.drained), ValueChange(dut.hung), ValueChange(dut.emitted))
        await Timer(TAIL * PERIOD, unit="step")
        return self.too_many() if int(dut.emit_cycle.value) != self.emitted[-1] else None

    def too_many(self) -> str:
        return f"a result too many at cycle {int(self.dut.emit_cycle.value)}, after {len(self.images)} images"


def be_stoppable(parent: int) -> None:
    """Say which process this is, and end with `parent`, the one that waits for it, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    Path("process").write_text(str(os.getpid()))
    if os.getppid() != parent or Path("stop").exists():  # it had ended before, or wants this to
        os._exit(1)


@cocotb.test()
async def stream_images(dut: Any) -> None:
    """Answer the request in the working directory."""
    request = json.loads(Path("request.json").read_text())
    be_stoppable(request["parent"])
    bench = Bench(dut, np.load("images.npy"), request)
    begun, cpu = time.perf_counter(), time.process_time()
    wrong = await bench.run()
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    classes, count = request["classes"], len(bench.results)
    packed = b"".join((result >> 8).to_bytes(4 * classes, "little") for result in bench.results)
    np.savez(
        "answer.npz",
        labels=np.array([result & 0xFF for result in bench.results], np.int64),
        logits=np.frombuffer(packed, "<i4").reshape(count, classes).astype(np.int32),
        accepted=np.array(bench.accepted, np.int64),
        emitted=np.array(bench.emitted, np.int64),
    )
    answer = {"cycles": int(dut.cycle.value), "wall": wall, "cpu": cpu, "python": bench.python, "hang": wrong}
    Path("answer.json").write_text(json.dumps(answer))
    assert wrong is None, wrong
