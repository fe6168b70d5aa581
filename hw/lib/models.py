"""Models for a simulator in the place of the blocks that take most of its time; same ports, values and cycles.

A design is elaborated with them for the platform SIMULATION; their Verilog, MODELS, goes with it. They are a line or a
few of Verilog each, not for synthesis: tests/hw/lib/test_models.py compares them with what they stand for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amaranth.hdl import ClockSignal, Const, Instance, Module, ResetSignal, Signal, Value

from popstream.hw.lib.planes import bit_planes

__all__ = ["MODELS", "SIMULATION", "is_simulation", "model_count", "model_planes"]

MODELS = Path(__file__).with_suffix(".sv")
"""Verilog of the modules that stand for the blocks."""

SHUFFLED = (2, 4, 8)  # bits of codes that planes_model takes


class _Simulation:
    """The platform of a design that is only simulated."""

    device = "simulation"


SIMULATION = _Simulation()


def is_simulation(platform: Any) -> bool:
    """Whether models stand for blocks."""
    return platform is SIMULATION


def model_count(
    m: Module, i: Value, j: Value | None, o: Value, *, n: int, planes: int, gate: int, latency: int
) -> None:
    """Drive `o` by the model of a PopCount; gate: 0 without `j`, 1 for Xor, 2 for And."""
    sizes = {"N": n, "PLANES": planes, "GATE": gate, "LATENCY": latency, "IN": len(i), "OUT": len(o)}
    m.submodules.model = Instance(
        "popcount_model", **{f"p_{name}": size for name, size in sizes.items()},
        i_clk=ClockSignal(), i_rst=ResetSignal(), i_i=i, i_j=Const(0, planes * n) if j is None else j, o_o=o,
    )  # fmt: skip


def model_planes(m: Module, codes: Value, bits: int) -> list[Value]:
    """The planes of codes of `bits` bits, as bit_planes gives them: there a simulator moves bit by bit."""
    if bits not in SHUFFLED:
        return bit_planes(codes, bits)
    number, planes = len(codes) // bits, Signal(len(codes))
    m.submodules += Instance("planes_model", p_N=number, p_BITS=bits, i_i=codes, o_o=planes)
    return [planes.word_select(plane, number) for plane in range(bits)]
