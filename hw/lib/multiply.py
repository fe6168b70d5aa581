"""A multiplier with registers before and behind it: on an ECP5 those of the DSP block, which no other cell's reach."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.device import is_ecp5

__all__ = ["MULTIPLIER_BITS", "Multiplier"]

MULTIPLIER_BITS = 18  # of an operand of MULT18X18D


class Multiplier(wiring.Component):
    """o = a * b of `latency` cycles with `en` ago.

    A multiplier of an ECP5 takes 3.9 ns, and lies where the device has one: with operands and product in its own
    registers, the ways there and back have a cycle each. Synthesis does not use these registers by itself. A wide `a`
    is multiplied in two parts, which have registers outside of their blocks, as has the sum.

    Parameters
    ----------
    a, b : shapes of the operands, signed or unsigned; those of up to 18 bits, with a sign bit, take one DSP block, and
        two with an `a` of up to 35.

    Attributes
    ----------
    latency : 2, or 4 with an operand of more than 18 bits.

    Members
    -------
    a, b : In
    en : In(1), init 1: all registers move on.
    o : Out, shape of the product.
    """

    def __init__(self, a: ShapeLike, b: ShapeLike) -> None:
        self.shapes = Shape.cast(a), Shape.cast(b)
        self.blocks = self.blocks_of(*self.shapes)
        self.latency = self.latency_of(*self.shapes)
        product = (Signal(self.shapes[0]) * Signal(self.shapes[1])).shape()
        super().__init__({"a": In(a), "b": In(b), "en": In(1, init=1), "o": Out(product)})

    @staticmethod
    def blocks_of(a: Shape, b: Shape) -> int:
        """DSP blocks for operands of these shapes on an ECP5; 0 for those that are left to synthesis."""
        bits = [shape.width + (not shape.signed) for shape in (a, b)]
        if bits[1] > MULTIPLIER_BITS:
            return 0
        return 1 if bits[0] <= MULTIPLIER_BITS else 2 if bits[0] <= 2 * MULTIPLIER_BITS - 1 else 0

    @classmethod
    def latency_of(cls, a: Shape, b: Shape) -> int:
        """Latency with operands of these shapes."""
        return 2 if cls.blocks_of(a, b) == 1 else 4

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if is_ecp5(platform) and self.blocks == 1:
            m.submodules.dsp = self._dsp(self.a, self.o)
            return m
        if is_ecp5(platform) and self.blocks == 2:
            low, high = self.a[: MULTIPLIER_BITS - 1], self.a[MULTIPLIER_BITS - 1 :]
            if self.a.shape().signed:
                high = high.as_signed()
            parts = []
            for name, part in (("low", low), ("high", high)):
                inside, outside = (Signal((part * self.b).shape(), name=f"{name}_{at}") for at in ("inside", "outside"))
                m.submodules[name] = self._dsp(part, inside)
                with m.If(self.en):
                    m.d.sync += outside.eq(inside)
                parts.append(outside)
            with m.If(self.en):
                m.d.sync += self.o.eq((parts[1] << MULTIPLIER_BITS - 1) + parts[0])
            return m
        a, b = Signal(self.shapes[0], reset_less=True), Signal(self.shapes[1], reset_less=True)
        products = [Signal.like(self.o, name=f"product{k}", reset_less=True) for k in range(self.latency - 1)]
        m.d.comb += self.o.eq(products[-1])
        with m.If(self.en):
            m.d.sync += [a.eq(self.a), b.eq(self.b), products[0].eq(a * b)]
            m.d.sync += [later.eq(earlier) for earlier, later in pairwise(products)]
        return m

    def _dsp(self, a: Value, o: Signal) -> Instance:
        """`o` = `a` * self.b of two cycles ago, in one DSP block, whose upper bits `o` may lack."""
        ports: dict[str, Any] = {}
        for name, operand in (("A", a), ("B", self.b)):
            sign = operand[-1] if operand.shape().signed else Const(0, 1)
            bits = Cat(operand, sign.replicate(MULTIPLIER_BITS - len(operand)))
            ports |= {f"i_{name}{bit}": bits[bit] for bit in range(MULTIPLIER_BITS)}
            ports |= {f"i_SIGNED{name}": Const(1, 1), f"i_SOURCE{name}": Const(0, 1)}
            ports |= {f"p_REG_INPUT{name}_{what}": f"{what}0" for what in ("CLK", "CE", "RST")}
        ports |= {f"p_REG_OUTPUT_{what}": f"{what}0" for what in ("CLK", "CE", "RST")}
        ports |= {f"i_C{bit}": Const(0, 1) for bit in range(MULTIPLIER_BITS)}
        ports |= {f"o_P{bit}": Value.cast(o)[bit] for bit in range(len(o))}
        return Instance(
            "MULT18X18D", i_CLK0=ClockSignal(), i_CE0=self.en, i_RST0=Const(0, 1), p_GSR="DISABLED", **ports
        )
