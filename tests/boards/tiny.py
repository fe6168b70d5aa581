"""A link without an accelerator: small enough to be placed and routed within a test."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Echo(wiring.Component):
    """tx is the highest bit of a count of the cycles in which rx is high; arguments of the real link are ignored."""

    rx: In(1, init=1)
    tx: Out(1)
    busy: Out(1)

    def __init__(self, *arguments: Any, width: int = 24):
        self.width = width
        super().__init__()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count = Signal(self.width)
        m.d.sync += count.eq(count + self.rx)
        m.d.comb += [self.tx.eq(count[-1]), self.busy.eq(~self.rx)]
        return m
