"""A multiplier with registers before and behind it: on an ECP5 those of the DSP block, which no other cell's reach."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.device import is_ecp5

__all__ = ["Multiplier"]

_BITS = 18  # of an operand of MULT18X18D


class Multiplier(wiring.Component):
    """o = a * b of two cycles ago; free-running.

    A multiplier of an ECP5 takes 3.9 ns, and lies where the device has one: with operands and product in its own
    registers, the ways there and back have a cycle each. Synthesis does not use these registers by itself.

    Parameters
    ----------
    a, b : shapes of the operands, signed or unsigned; those of up to 18 bits, with a sign bit, take one DSP block.

    Attributes
    ----------
    latency : 2.

    Members
    -------
    a, b : In
    o : Out, shape of the product.
    """

    latency = 2

    def __init__(self, a: ShapeLike, b: ShapeLike) -> None:
        shapes = [Shape.cast(shape) for shape in (a, b)]
        product = (Signal(shapes[0]) * Signal(shapes[1])).shape()
        self._fits = self.fits(*shapes)
        super().__init__({"a": In(a), "b": In(b), "o": Out(product)})

    @staticmethod
    def fits(a: Shape, b: Shape) -> bool:
        """Whether operands of these shapes are for one DSP block."""
        return all(shape.width + (not shape.signed) <= _BITS for shape in (a, b))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if is_ecp5(platform) and self._fits:
            m.submodules.dsp = self._dsp()
            return m
        a, b = Signal.like(self.a), Signal.like(self.b)
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.o.eq(a * b)]
        return m

    def _dsp(self) -> Instance:
        ports: dict[str, Any] = {}
        for name, operand in (("A", self.a), ("B", self.b)):
            sign = operand[-1] if operand.shape().signed else Const(0, 1)
            bits = Cat(operand, sign.replicate(_BITS - len(operand)))
            ports |= {f"i_{name}{bit}": bits[bit] for bit in range(_BITS)}
            ports |= {f"i_SIGNED{name}": Const(1, 1), f"i_SOURCE{name}": Const(0, 1)}
            ports |= {f"p_REG_INPUT{name}_{what}": f"{what}0" for what in ("CLK", "CE", "RST")}
        ports |= {f"p_REG_OUTPUT_{what}": f"{what}0" for what in ("CLK", "CE", "RST")}
        ports |= {f"i_C{bit}": Const(0, 1) for bit in range(_BITS)}
        ports |= {f"o_P{bit}": Value.cast(self.o)[bit] for bit in range(len(self.o))}
        return Instance(
            "MULT18X18D", i_CLK0=ClockSignal(), i_CE0=Const(1, 1), i_RST0=Const(0, 1), p_GSR="DISABLED", **ports
        )
