"""A control state machine with a flip-flop a state: on LUT4s less than half of what a binary state's decoding takes."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Signal

__all__ = ["OneHot"]


class OneHot:
    """States of module `m` in its sync domain; the first is the initial one.

    with states.when("SYNC"):
        with m.If(found):
            states.go("HEADER")

    At most one `go` may take effect in a cycle: nothing gives a later one precedence.
    """

    def __init__(self, m: Module, names: Sequence[str]):
        if len(set(names)) != len(names) or len(names) < 2:
            raise ValueError(f"State names must be two or more, each once, not {list(names)}")
        self._m = m
        self._bits = {name: Signal(init=place == 0, name=f"in_{name.lower()}") for place, name in enumerate(names)}
        self._enter = {name: Signal(name=f"to_{name.lower()}") for name in names}
        self._leave = Signal(name="leave")
        for name, bit in self._bits.items():
            m.d.sync += bit.eq(self._enter[name] | (bit & ~self._leave))

    def when(self, name: str) -> Any:
        """Context: this state is the present one."""
        return self._m.If(self._bits[name])

    def go(self, name: str) -> None:
        """The next state, under the conditions around the call."""
        self._m.d.comb += [self._enter[name].eq(1), self._leave.eq(1)]
