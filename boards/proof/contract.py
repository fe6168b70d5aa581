"""The stream contract as properties, and the bench that a block is proven in.

A block's producers keep their side of the contract (assumed), and then so does the block towards its consumers
(asserted): what is offered stays, unchanged, until it is taken. When a producer offers and a consumer takes is free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, ClockDomain, Cover, Fragment, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

__all__ = ["Bench", "streams"]


def streams(block: wiring.Component) -> tuple[dict[str, Any], dict[str, Any]]:
    """A block's stream ports by name: its inputs, its outputs."""
    ports: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    for name, member in block.signature.members.items():
        if member.is_signature and isinstance(member.signature, stream.Signature):
            ports[member.flow is not In][name] = getattr(block, name)
    return ports


class Bench:
    """A block with everything around it free, but for what its producers owe it.

    Parameters
    ----------
    block : the component.
    depth : cycles from reset that are looked at; counters of transfers are wide enough for them.
    platform : as for `elaborate`.
    apart : names of streams whose stability is neither assumed nor asserted here, as something else drives them.

    Attributes
    ----------
    m : the module that everything is added to; `fragment`: the elaborated block; `inputs`, `outputs`: its streams.
    free : what drives the block, signals by name; `shown`: what it answers. They are ports: o.valid is called o_valid.
    reached : cycles in which all that `reach` names must have happened.
    """

    def __init__(self, block: Any, depth: int, platform: Any = None, apart: tuple[str, ...] = ()) -> None:
        self.m = m = Module()
        self.block, self.depth, self.platform = block, depth, platform
        self.clock = m.domains.sync = ClockDomain("sync", reset_less=True)
        m.submodules.dut = self.fragment = Fragment.get(block, platform)
        self.inputs, self.outputs = streams(block)
        self.free: dict[str, Signal] = {}
        self.shown: list[Signal] = []
        self.reached = 0
        for name, port in self.inputs.items():
            self._drive(f"{name}.valid", port.valid)
            self._drive(f"{name}.payload", Value.cast(port.payload))
            self._show(f"{name}.ready", port.ready)
            if name not in apart:
                self._stays(name, port, self.assume)
        for name, port in self.outputs.items():
            self._show(f"{name}.valid", port.valid)
            self._show(f"{name}.payload", Value.cast(port.payload))
            if isinstance(port.ready, Signal):
                self._drive(f"{name}.ready", port.ready)
            if name not in apart:
                self._stays(name, port, self.check)
        for name, member in block.signature.members.items():
            if member.is_port and member.flow is In:
                self._drive(name, Value.cast(getattr(block, name)))

    def _drive(self, name: str, value: Value) -> None:
        self.free[name] = signal = Signal(len(value), name=name.replace(".", "_"))
        self.m.d.comb += value.eq(signal)

    def _show(self, name: str, value: Value) -> None:
        signal = Signal(len(value), name=name.replace(".", "_"))
        self.m.d.comb += signal.eq(value)
        self.shown.append(signal)

    def _stays(self, name: str, port: Any, claim: Callable[..., None]) -> None:
        waits = self.before(port.valid & ~port.ready, f"{name}_waits")
        payload = Value.cast(port.payload)
        claim(~waits | port.valid, f"{name}: valid stays until it is taken")
        claim(~waits | (payload == self.before(payload, f"{name}_payload")), f"{name}: payload stays until it is taken")

    def check(self, holds: Value, name: str) -> None:
        """Assert that `holds` in every cycle."""
        self.m.d.comb += Assert(holds, name)

    def assume(self, holds: Value, name: str = "") -> None:
        """Only runs in which `holds` in every cycle."""
        self.m.d.comb += Assume(holds, name or None)

    def reach(self, happens: Value, name: str, within: int = 30) -> None:
        """There is a run of so many cycles in which it `happens`: what is assumed does not rule it out."""
        self.reached = max(self.reached, within)
        self.m.d.comb += Cover(happens, name)

    def before(self, value: Value, name: str) -> Signal:
        """`value` of the cycle before; 0 in the first."""
        signal = Signal(len(value), name=f"before_{name}")
        self.m.d.sync += signal.eq(value)
        return signal

    def input(self, shape: ShapeLike, name: str) -> Signal:
        """Anything, anew in every cycle."""
        self.free[name] = signal = Signal(shape, name=f"free_{name}")
        return signal

    def constant(self, shape: ShapeLike, name: str) -> Signal:
        """Anything, the same in every cycle; of a range, one of it."""
        signal = self.input(shape, name)
        later = Signal(name=f"later_{name}")
        self.m.d.sync += later.eq(1)
        self.assume(~later | (signal == self.before(signal, name)))
        if isinstance(shape, range):
            self.assume(signal < shape.stop)
        return signal

    def moves(self, port: Any) -> Value:
        """A beat passes in this cycle."""
        return port.valid & port.ready

    def count(self, port: Any, name: str) -> Signal:
        """Beats that have passed before this cycle."""
        counter = Signal(range(self.depth + 1), name=f"passed_{name}")
        self.m.d.sync += counter.eq(counter + self.moves(port))
        return counter

    def never_idle(self, cycles: int, otherwise: Value | None = None) -> None:
        """Where all producers offer and all consumers are ready, a beat passes every so many cycles at the latest."""
        ports = (*self.inputs.values(), *self.outputs.values())
        moves, stalls = Signal(), Signal()
        for port in ports:
            with self.m.If(self.moves(port)):
                self.m.d.comb += moves.eq(1)
        for port in self.inputs.values():
            with self.m.If(~port.valid):
                self.m.d.comb += stalls.eq(1)
        for port in self.outputs.values():
            with self.m.If(~port.ready):
                self.m.d.comb += stalls.eq(1)
        idle = Signal(range(cycles + 2))
        waits = moves | stalls | (0 if otherwise is None else otherwise)
        self.m.d.sync += idle.eq(Mux(waits, 0, idle + (idle <= cycles)))
        self.check(idle <= cycles, f"a beat passes within {cycles} cycles where nothing waits outside")

    def rtlil(self) -> str:
        """The bench in yosys' language; each property's source is its name, which is then what a failure is told by."""
        clock = self.clock.clk  # without it among the ports, the clock would be the constant 0
        return named(rtlil.convert(self.m, ports=[clock, *self.free.values(), *self.shown]))


def named(text: str) -> str:
    """RTLIL whose $check cells have their message as source."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.lstrip().startswith("cell $check "):
            message = next(later for later in lines[number:] if "\\FORMAT" in later).split("\\FORMAT ", 1)[1]
            source = number - 1
            if lines[source].lstrip().startswith("attribute \\src"):
                lines[source] = f"  attribute \\src {message}"
    return "\n".join(lines) + "\n"
