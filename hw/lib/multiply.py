"""A multiplier with registers before and behind it: on an ECP5 those of the DSP block, which no other cell's reach."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.device import is_ecp5

__all__ = ["MULTIPLIER_BITS", "Multiplier"]

MULTIPLIER_BITS = 18  # of an operand of MULT18X18D
FEW_BITS = 6  # of a second part that is multiplied in logic


class Multiplier(wiring.Component):
    """o = a * b of `latency` cycles with `en` ago.

    A multiplier of an ECP5 takes 3.9 ns, and lies where the device has one: with operands and product in its own
    registers, the ways there and back have a cycle each. Synthesis does not use these registers by itself. A wide `a`
    is multiplied in two parts, the upper in logic where it is of few bits, with registers outside of the blocks, as has
    the sum.

    Parameters
    ----------
    a, b : shapes of the operands, signed or unsigned; those of up to 18 bits, with a sign bit, take one DSP block, as
        with an `a` of up to 23, and two with one of up to 35.

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
        if bits[1] > MULTIPLIER_BITS or bits[0] > 2 * MULTIPLIER_BITS - 1:
            return 0
        return 1 if Multiplier.rest_of(a, b) <= FEW_BITS else 2

    @staticmethod
    def rest_of(a: Shape, b: Shape) -> int:
        """Bits of the upper part of a wide `a`, 0 of a narrow one."""
        return a.width - (MULTIPLIER_BITS - 1) if a.width + (not a.signed) > MULTIPLIER_BITS else 0

    @classmethod
    def latency_of(cls, a: Shape, b: Shape) -> int:
        """Latency with operands of these shapes."""
        return 2 if cls.blocks_of(a, b) == 1 and not cls.rest_of(a, b) else 4

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if is_ecp5(platform) and self.blocks:
            if self.latency == 2:
                m.submodules.dsp = self._dsp(self.a, self.o)
            else:
                self._in_parts(m)
            return m
        a, b = Signal(self.shapes[0], reset_less=True), Signal(self.shapes[1], reset_less=True)
        products = [Signal.like(self.o, name=f"product{k}", reset_less=True) for k in range(self.latency - 1)]
        m.d.comb += self.o.eq(products[-1])
        with m.If(self.en):
            m.d.sync += [a.eq(self.a), b.eq(self.b), products[0].eq(a * b)]
            m.d.sync += [later.eq(earlier) for earlier, later in pairwise(products)]
        return m

    def _in_parts(self, m: Module) -> None:
        """A wide `a`, of which each part has its product two cycles later."""
        low, high = self.a[: MULTIPLIER_BITS - 1], self.a[MULTIPLIER_BITS - 1 :]
        if self.a.shape().signed:
            high = high.as_signed()
        products = [
            Signal((part * self.b).shape(), name=f"{name}_inside") for name, part in (("low", low), ("high", high))
        ]
        m.submodules.low = self._dsp(low, products[0])
        if self.blocks == 2:
            m.submodules.high = self._dsp(high, products[1])
            upper: Value = products[1]
        else:
            upper = self._pairs(m, high)
        outside = [
            Signal.like(product, name=f"{name}_outside")
            for name, product in zip(("low", "high"), products, strict=True)
        ]
        with m.If(self.en):
            m.d.sync += [outside[0].eq(products[0]), outside[1].eq(upper)]
            m.d.sync += self.o.eq((outside[1] << MULTIPLIER_BITS - 1) + outside[0])

    def _pairs(self, m: Module, high: Value) -> Value:
        """`high` * self.b of two cycles ago, as what is left to add of the sums of two bits' products each."""
        bits, b = Signal.like(high, name="bits"), Signal.like(self.b, name="held")
        with m.If(self.en):
            m.d.sync += [bits.eq(high), b.eq(self.b)]
        top = len(bits) - 1
        parts = [Mux(bits[bit], b, 0) << bit for bit in range(len(bits))]
        if high.shape().signed:
            parts[top] = -parts[top]
        sums = []
        for bit in range(0, len(parts), 2):
            pair = sum(parts[bit + 1 : bit + 2], parts[bit])
            sums.append(Signal(Value.cast(pair).shape(), name=f"pair{bit}"))
            with m.If(self.en):
                m.d.sync += sums[-1].eq(pair)
        return sum(sums[1:], sums[0])

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
