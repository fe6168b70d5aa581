"""What a proof by induction has to know of a block's inside: its registers by name, and the words of its memories."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Fragment, Signal, Value
from amaranth.hdl._ast import SignalSet
from amaranth.hdl._mem import MemoryInstance

__all__ = ["Memory", "part", "register"]


def part(fragment: Any, *path: str) -> Any:
    """The submodule of an elaborated block by its names; LookupError, with those there are, if there is none."""
    for name in path:
        found = [sub for sub, called, _ in fragment.subfragments if called == name]
        if not found:
            there = ", ".join(str(called) for _, called, _ in fragment.subfragments) or "none"
            raise LookupError(f"There is no submodule {name!r}, only {there}")
        fragment = found[0]
    return fragment


def register(fragment: Fragment, *path: str) -> Signal:
    """The register that is called path[-1] in the submodule path[:-1]; LookupError if there is none."""
    inner, name = part(fragment, *path[:-1]), path[-1]
    signals = SignalSet(signal for statements in inner.statements.values() for signal in statements._lhs_signals())
    found = [signal for signal in signals if signal.name == name]
    if len(found) != 1:
        raise LookupError(f"There is no register {name!r}, only {', '.join(sorted(s.name for s in signals))}")
    return found[0]


class Memory:
    """A memory with one read and one write port: their addresses, and its words for the proof to read."""

    def __init__(self, fragment: Fragment, *path: str) -> None:
        self._memory = part(fragment, *path)
        assert isinstance(self._memory, MemoryInstance)
        self.depth = self._memory._data.depth
        self.width = Value.cast(Const(0, self._memory._data.shape)).shape().width
        self.read_address = self._memory._read_ports[0]._addr
        self.write_address = self._memory._write_ports[0]._addr

    @property
    def read_data(self) -> Value:
        """What was read last."""
        return self._memory._read_ports[0]._data

    def word(self, address: Signal, name: str) -> Signal:
        """What is written at `address`."""
        word = Signal(self.width, name=name)
        ports: dict[str, Any] = {"domain": "comb", "addr": address[: len(self.read_address)], "data": word}
        self._memory.read_port(**ports, en=Const(1, 1), transparent_for=())
        return word
