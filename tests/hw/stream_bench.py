"""Drives the streams of one block in Amaranth's simulator: payload lists in and out, random stalls on both sides."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from amaranth.hdl import Elaboratable, Module, Signal, Value
from amaranth.lib.wiring import Component, In
from amaranth.sim import Simulator


def pack(values: Iterable[int], width: int) -> int:
    """Concatenates `values`, each cut to `width` bits (two's complement), the first one in the lowest bits."""
    word = 0
    for index, value in enumerate(values):
        word |= (int(value) & ((1 << width) - 1)) << (index * width)
    return word


def unpack(word: int, width: int, lanes: int, signed: bool = False) -> list[int]:
    """Splits a payload into `lanes` numbers of `width` bits: the inverse of `pack`."""
    values = [(word >> (lane * width)) & ((1 << width) - 1) for lane in range(lanes)]
    if signed:
        values = [value - (1 << width) if value >> (width - 1) else value for value in values]
    return values


def run_stream(
    dut: Elaboratable,
    inputs: dict[str, Sequence[int]],
    outputs: dict[str, int],
    seed: int = 0,
    stall_in: float = 0.3,
    stall_out: float = 0.3,
    timeout_cycles: int = 5000,
    drain: int = 8,
    times: dict[str, list[int]] | None = None,
) -> dict[str, list[int]]:
    """Runs `dut` from reset until every input beat is accepted and every output beat is collected.

    Payloads are raw integers: the payload's bits, whatever its shape (`pack` and `unpack` convert lanes). If `dut` has
    an input `soon`, the single output's `ready` is announced there a cycle ahead.

    Parameters
    ----------
    inputs : port name -> payloads to offer, in order.
    outputs : port name -> number of beats to collect.
    seed : seed of the stalls.
    stall_in, stall_out : chance, each cycle, that a source offers nothing new, or that a sink is not ready.
    timeout_cycles : cycles in a row without any transfer, after which the run fails.
    drain : cycles after the last transfer in which no further output may become valid.
    times : if given, filled with port name -> cycle of each transfer (0 is the first cycle after reset).

    Returns
    -------
    port name -> collected payloads as unsigned integers.

    Raises
    ------
    AssertionError : on a timeout, on surplus output, and where an output breaks the stream contract (`valid` withdrawn,
        or payload changed, before the transfer).
    """
    rng = random.Random(seed)
    collected: dict[str, list[int]] = {name: [] for name in outputs}
    cycles: dict[str, list[int]] = {name: [] for name in (*inputs, *outputs)}

    async def bench(ctx: Any) -> None:
        sources = {name: getattr(dut, name) for name in inputs}
        sinks = {name: getattr(dut, name) for name in outputs}
        payloads = {name: Value.cast(port.payload) for name, port in (sources | sinks).items()}
        masks = {name: (1 << len(payload)) - 1 for name, payload in payloads.items()}
        sent = dict.fromkeys(inputs, 0)
        offered = dict.fromkeys(inputs, False)
        ready = dict.fromkeys(outputs, False)
        pending: dict[str, int | None] = dict.fromkeys(outputs)
        watched = [port.ready for port in sources.values()]
        for name, port in sinks.items():
            watched += [port.valid, payloads[name]]
        members = dut.signature.members if isinstance(dut, Component) else {}
        soon = dut.soon if "soon" in members and members["soon"].flow is In else None
        announced = False
        idle = drained = cycle = 0
        while drained < drain + 1:
            for name, port in sources.items():
                if not offered[name] and sent[name] < len(inputs[name]) and rng.random() >= stall_in:
                    offered[name] = True
                    ctx.set(payloads[name], inputs[name][sent[name]])
                    ctx.set(port.valid, 1)
            for name, port in sinks.items():
                wanted = len(collected[name]) < outputs[name] and rng.random() >= stall_out
                if soon is not None:
                    wanted, announced = announced, rng.random() >= stall_out
                    ctx.set(soon, announced)
                if wanted != ready[name]:
                    ready[name] = wanted
                    ctx.set(port.ready, wanted)
            _, _, *sampled = await ctx.tick().sample(*watched)
            idle += 1
            for name, accepted in zip(sources, sampled, strict=False):
                if offered[name] and accepted:
                    offered[name], idle = False, 0
                    sent[name] += 1
                    cycles[name].append(cycle)
                    ctx.set(sources[name].valid, 0)
            for index, name in enumerate(sinks):
                valid, payload = sampled[len(sources) + 2 * index : len(sources) + 2 * index + 2]
                payload &= masks[name]
                if pending[name] is not None:
                    assert valid, f"{name}: valid withdrawn before the transfer, cycle {cycle}"
                    assert payload == pending[name], f"{name}: payload changed before the transfer, cycle {cycle}"
                pending[name] = payload if valid and not ready[name] else None
                if valid and ready[name]:
                    assert len(collected[name]) < outputs[name], f"More output than expected on {name}"
                    collected[name].append(payload)
                    cycles[name].append(cycle)
                    idle = 0
            cycle += 1
            done = all(sent[name] == len(inputs[name]) for name in inputs)
            done = done and all(len(collected[name]) == outputs[name] for name in outputs)
            drained = drained + 1 if done else 0
            progress = {name: f"{sent[name]}/{len(inputs[name])}" for name in inputs}
            progress |= {name: f"{len(collected[name])}/{outputs[name]}" for name in outputs}
            assert idle < timeout_cycles, f"No transfer in {timeout_cycles} cycles, at cycle {cycle}: {progress}"
        surplus = [name for name in sinks if pending[name] is not None]
        assert not drain or not surplus, f"More output than expected on {surplus}"

    top = Module()
    top.submodules.dut = dut
    heartbeat = Signal()  # gives a purely combinational block its clock domain
    top.d.sync += heartbeat.eq(~heartbeat)
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    if times is not None:
        times.update(cycles)
    return collected
