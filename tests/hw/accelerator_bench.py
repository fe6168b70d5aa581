# amaranth: UnusedElaboratable=no
"""Runs an accelerator with taps in Amaranth's simulator and compares everything with the golden model."""

import random
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.sim import Simulator

from popstream.hw.accelerator import Accelerator
from popstream.hw.folding.drawn import random_folding
from popstream.model.manifest import Network
from popstream.sim import golden
from popstream.sim.bench.top import Tap as Seen
from tests.hw.beats import to_beats
from tests.hw.stream_bench import unpack

QUIET = 50  # cycles without movement after which the last image's pixels that no window needs have passed, too

__all__ = ["HangError", "Result", "compare", "random_folding", "simulate", "skeleton"]


class HangError(AssertionError):
    """No beat has moved anywhere for a long time."""


@dataclass(frozen=True, eq=False)
class Result:
    """labels [N], logits [N, O], taps by node name [N, C, H, W] less their correction, cycle of each result."""

    labels: np.ndarray
    logits: np.ndarray
    taps: dict[str, np.ndarray]
    times: list[int]


def simulate(accelerator: Accelerator, images: np.ndarray, seed: int = 0, stall_in: float = 0.0, stall_out: float = 0.0,
             patience: int = 3000) -> Result:  # fmt: skip
    """Stream images uint8 [N, C, H, W] through; HangError if nothing moves for `patience` cycles."""
    network, taps = accelerator.network, accelerator.taps
    beats = to_beats(images, network.entry_bits, network.input.shape[0])
    rng = random.Random(seed)
    results: list[int] = []
    times: list[int] = []
    words: dict[str, list[int]] = {tap.node: [] for tap in taps}
    flagged = Cat(
        accelerator.i.ready, accelerator.o.valid, *(getattr(accelerator, f"{tap.port}_valid") for tap in taps)
    )
    datas = [getattr(accelerator, f"{tap.port}_data") for tap in taps]
    firsts = accumulate((len(data) for data in datas), initial=0)
    fields = [(tap, first, (1 << len(data)) - 1) for tap, first, data in zip(taps, firsts, datas, strict=False)]
    # Signals, not expressions: the simulator interprets an expression in every cycle, and compiles an assignment.
    seen, leaving, tapped = (Signal(len(Value.cast(v))) for v in (flagged, accelerator.o.payload, Cat(datas)))

    async def bench(ctx: Any) -> None:
        entry = Value.cast(accelerator.i.payload)
        sent = idle = cycle = 0
        offered = ready = False
        while len(results) < len(images) or (taps and idle < QUIET):
            if not offered and sent < len(beats) and rng.random() >= stall_in:
                offered = True
                ctx.set(entry, beats[sent])
                ctx.set(accelerator.i.valid, 1)
            wanted = rng.random() >= stall_out
            if wanted != ready:
                ready = wanted
                ctx.set(accelerator.o.ready, ready)
            _, _, flags, payload, data = await ctx.tick().sample(seen, leaving, tapped)
            idle = 0 if flags >> 2 else idle + 1
            if offered and flags & 1:
                offered, idle = False, 0
                sent += 1
                if sent == len(beats) or stall_in:
                    ctx.set(accelerator.i.valid, 0)
            if flags & 2 and ready:
                results.append(payload)
                times.append(cycle)
            if flags >> 2:
                for index, (tap, first, mask) in enumerate(fields):
                    if flags >> index + 2 & 1:
                        words[tap.node].append(data >> first & mask)
            cycle += 1
            if idle > patience:
                raise HangError(f"Nothing moves since cycle {cycle - idle}: {sent}/{len(beats)} pixels in, "
                                f"{len(results)}/{len(images)} results out")  # fmt: skip
        assert sent == len(beats) or not taps

    top = Module()
    top.submodules.dut = accelerator
    for signal, value in ((seen, flagged), (leaving, accelerator.o.payload), (tapped, Cat(datas))):
        top.d.comb += signal.eq(value)
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(results) == len(images)
    found = {}
    for tap in taps:
        shape, order = network.node(tap.node).shape, (tap.beats, tap.pixels, tap.kept, tap.ahead)
        seen = Seen(tap.node, tap.lanes, tap.width, tap.signed, shape, None, *order)
        values = [unpack(word, tap.width, tap.pixels * tap.lanes, tap.signed) for word in words[tap.node]]
        less = 0 if tap.correction is None else tap.correction[:, None, None]
        found[tap.node] = seen.image(np.array(values)) - less
    logits = np.array([unpack(word >> 8, 32, network.output.shape[0], signed=True) for word in results])
    return Result(np.array([word & 0xFF for word in results]), logits, found, times)


def skeleton(network: Network, folding: Any, reload: Any) -> str:
    """The design without memory contents."""
    text = rtlil.convert(Accelerator(network, folding, reload=reload), name="top", emit_src=False)
    return re.sub(r"connect \\DATA \d+'[01]+", "", text)


def compare(network: Network, images: np.ndarray, result: Result) -> None:
    """AssertionError that names the first node, image, channel, row and column that differs from the golden model; of
    nodes that are brought out.
    """
    logits, taps = golden.run(network, images, [node.name for node in network.nodes])
    for node in network.nodes[1:]:
        if node.name not in result.taps:
            continue
        wrong = np.argwhere(result.taps[node.name] != taps[node.name])
        assert not len(wrong), f"Node {node.name!r} ({node.op}): {len(wrong)} values differ, first at {wrong[0]}"
    assert (result.logits == logits).all()
    assert (result.labels == golden.labels(logits)).all()
