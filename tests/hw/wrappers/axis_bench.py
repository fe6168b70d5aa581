"""Drives a Wrapper's ports in Amaranth's simulator, its clock by hand: AXI-Stream on both sides, Wishbone at times."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Module
from amaranth.sim import Simulator

from popstream.hw.wrappers.registers import REGISTERS

HALF = 5e-9


@dataclass
class Run:
    """words: (word, last) as they came; events: each cycle's (begun, done, error); registers: all, at the end."""

    words: list[tuple[int, bool]] = field(default_factory=list)
    events: list[tuple[bool, bool, bool]] = field(default_factory=list)
    registers: dict[str, int] = field(default_factory=dict)


async def cycle(ctx: Any, dut: Any) -> None:
    """A rising edge of aclk, and a falling one."""
    ctx.set(dut.aclk, 1)
    await ctx.delay(HALF)
    ctx.set(dut.aclk, 0)
    await ctx.delay(HALF)


async def access(ctx: Any, dut: Any, name: str, value: int | None = None) -> int:
    """Read or write a register; returns what dat_r holds with ack."""
    ctx.set(dut.wb_adr, REGISTERS.index(name))
    ctx.set(dut.wb_we, value is not None)
    ctx.set(dut.wb_dat_w, value or 0)
    ctx.set(dut.wb_sel, 15)
    ctx.set(dut.wb_cyc, 1)
    ctx.set(dut.wb_stb, 1)
    for _ in range(3):
        await cycle(ctx, dut)
        if ctx.get(dut.wb_ack):
            ctx.set(dut.wb_cyc, 0)
            ctx.set(dut.wb_stb, 0)
            await cycle(ctx, dut)
            assert not ctx.get(dut.wb_ack)
            return ctx.get(dut.wb_dat_r)
    raise AssertionError("no wb_ack")


def run(dut: Any, beats: Sequence[tuple[int, bool]], words: int, seed: int, stall_in: float, stall_out: float) -> Run:
    """Reset, enable, send (pixel, last) beats and take `words` words, with pauses; then read every register."""
    rng = random.Random(seed)
    result = Run()

    async def bench(ctx: Any) -> None:
        await cycle(ctx, dut)
        ctx.set(dut.aresetn, 1)
        if dut.registers:
            ctx.set(dut.s_axis_tvalid, 1)
            for _ in range(10):  # not enabled: what is in front of the gate may fill, and nothing comes out
                await cycle(ctx, dut)
            ctx.set(dut.s_axis_tvalid, 0)
            assert await access(ctx, dut, "status") == 0
            ctx.set(dut.aresetn, 0)
            await cycle(ctx, dut)
            ctx.set(dut.aresetn, 1)
            await access(ctx, dut, "control", 1)
            assert await access(ctx, dut, "control") == 1
        sent = idle = 0
        offered = ready = False
        held: tuple[int, bool] | None = None
        while len(result.words) < words:
            if not offered and sent < len(beats) and rng.random() >= stall_in:
                offered = True
                pixel, last = beats[sent]
                ctx.set(dut.s_axis_tdata, pixel)
                ctx.set(dut.s_axis_tlast, last)
                ctx.set(dut.s_axis_tvalid, 1)
            ready = rng.random() >= stall_out
            ctx.set(dut.m_axis_tready, ready)
            taken = offered and ctx.get(dut.s_axis_tready)
            word = None
            if ctx.get(dut.m_axis_tvalid):
                word = (ctx.get(dut.m_axis_tdata), bool(ctx.get(dut.m_axis_tlast)))
            assert held is None or word == held, "m_axis withdrawn or changed before the transfer"
            done = ready and word is not None and word[1]
            result.events.append((bool(ctx.get(dut.entry.begun)), done, bool(ctx.get(dut.frame_error))))
            await cycle(ctx, dut)
            idle += 1
            if taken:
                offered, idle = False, 0
                sent += 1
                ctx.set(dut.s_axis_tvalid, 0)
            held = word
            if ready and word is not None:
                result.words.append(word)
                held, idle = None, 0
            assert idle < 3000, f"nothing moves: {sent} of {len(beats)} beats, {len(result.words)} of {words} words"
        ctx.set(dut.m_axis_tready, 0)
        assert sent == len(beats)
        if dut.registers:
            result.registers = {name: await access(ctx, dut, name) for name in REGISTERS}

    top = Module()
    top.submodules.dut = dut
    simulator = Simulator(top)
    simulator.add_testbench(bench)
    simulator.run()
    return result
