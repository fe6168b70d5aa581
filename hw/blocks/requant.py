"""Requantization: accumulators times a multiplier plus a bias, shifted, added to the skip path and saturated."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Module, Shape, ShapeLike, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.multiply import Multiplier
from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.rounding import checked_ties, saturated
from popstream.hw.lib.skid import LastStage
from popstream.hw.lib.stream import connect, value_layout
from popstream.hw.lib.table import RELOAD_MULTIPLIER, Table, checked_storage, lane_values, range_shape, shape_limits


class Requant(wiring.Component):
    """y = (acc*M[c] + B[c] + 2^(F-1)) >> F ; r = saturate_R(y) or saturate_R(skip + y) ; with relu max(r, 0).

    Six stages: operands and M[c] (two, if the table is in block RAM); the same in the registers of the multiplier, one
    a lane; product and B[c] + 2^(F-1); y; skip + y; r. Wide accumulators are multiplied in parts, two stages more. The
    sum and y are as wide as the lane's own M and B and the range of `acc_shape` demand.

    One clock enable moves the stages up to y together: it costs one gate, where a count of the beats in flight would
    need a FIFO as deep as the pipeline. A second moves the last two; the skip beat is joined between them, so it needs
    no registers of its own.

    Latency from i in attribute `latency` (2 cycles from i_skip), one beat a cycle.

    Parameters
    ----------
    multiplier, bias : integers [C]. A constant offset of the raw accumulator (the correction of `MatVec`) is folded
        into the bias by the caller: B - M*correction.
    shift : F, 1 to 31.
    stream_bits : R, 2 to 16.
    relu : whether negative results become 0.
    acc_shape : shape of the accumulators, signed or unsigned.
    lanes : channels a beat, a divisor of C.
    skip : whether there is a second input to add.
    storage : of the tables, see `hw.lib.table.Table`.
    ties : "up", or "even": a half then goes to the even neighbour (rule R25). Whether there is one is seen beside the
        adder, and the lowest bit of y is cleared in the next stage.

    Attributes
    ----------
    reads : cycles that the tables take.
    multiplied : cycles of the multiplier.
    latency : cycles from a transfer at i to the beat at o, if i_skip is there: 6, with tables in block RAM 7, and two
        more with accumulators of more than 18 bits.

    Members
    -------
    i : In, stream of `lanes` values of `acc_shape`.
    i_skip : In, only if `skip`: stream of `lanes` values signed(R).
    o : Out, stream of `lanes` values signed(R).

    Raises
    ------
    ValueError : for a parameter outside of these ranges.
    """

    def __init__(
        self,
        multiplier: Any,
        bias: Any,
        shift: int,
        stream_bits: int,
        relu: bool,
        acc_shape: ShapeLike,
        lanes: int,
        skip: bool,
        storage: str = "auto",
        ties: str = "up",
    ):
        self.multiplier = np.array(multiplier, dtype=np.int64)
        self.bias = np.array(bias, dtype=np.int64)
        if self.multiplier.ndim != 1 or not self.multiplier.size:
            raise ValueError(f"The multiplier must have the shape [channels], not {list(self.multiplier.shape)}")
        if self.bias.shape != self.multiplier.shape:
            raise ValueError(
                f"Bias must have the multiplier's shape {list(self.multiplier.shape)}, not {list(self.bias.shape)}"
            )
        if not 1 <= shift <= 31:
            raise ValueError(f"Shift must be 1 to 31, not {shift}")
        if not 2 <= stream_bits <= 16:
            raise ValueError(f"Stream bits must be 2 to 16, not {stream_bits}")
        self.channels = int(self.multiplier.size)
        if lanes < 1 or self.channels % lanes:
            raise ValueError(f"Lanes must divide the {self.channels} channels, not be {lanes}")
        self.shift = shift
        self.stream_bits = stream_bits
        self.relu = bool(relu)
        self.acc_shape = Shape.cast(acc_shape)
        self.lanes = lanes
        self.skip = bool(skip)
        self.even = checked_ties(ties) == "even"
        self.storage = checked_storage(storage)
        self.reads = Table.latency_of(self.channels // lanes, storage)
        factor = range_shape(int(self.multiplier.min()), int(self.multiplier.max()))
        self.factor = self.reload_shapes()[0] if storage == "reload" else factor
        self.multiplied = Multiplier.latency_of(self.acc_shape, self.factor)
        self.latency = self.reads + self.multiplied + 3
        values = stream.Signature(value_layout(signed(stream_bits), lanes))
        members = {"i": In(stream.Signature(value_layout(self.acc_shape, lanes))), "o": Out(values)}
        if self.skip:
            members["i_skip"] = In(values)
        super().__init__(members)

    def reload_shapes(self) -> tuple[Shape, Shape]:
        """Shapes of M and of B + 2^(F-1) that storage "reload" has room for: RELOAD_MULTIPLIER, and every bias but
        those that saturate whatever is accumulated, for which the largest that has a place does the same.
        """
        reach = (1 << (self.stream_bits + self.shift)) + max(
            abs(m * acc) for m in shape_limits(RELOAD_MULTIPLIER) for acc in shape_limits(self.acc_shape)
        )
        return RELOAD_MULTIPLIER, range_shape(-reach, reach)

    def lane_shapes(self, lane: int) -> tuple[Shape, Shape]:
        """Shapes of the product and of y of one lane: worst case over its channels and all values of `acc_shape`."""
        multiplier, bias = self.constants(lane)
        if self.storage == "reload":  # any: the extremes, each with each
            (least, most), biases = (shape_limits(shape) for shape in self.reload_shapes())
            multiplier, bias = [least, least, most, most], [*biases, *biases]
        acc_limits = shape_limits(self.acc_shape)
        products = [[m * acc for acc in acc_limits] for m in multiplier]
        sums = [b + product for b, row in zip(bias, products, strict=True) for product in row]
        flat = [product for row in products for product in row]
        least = min(sums) >> self.shift
        least -= self.even and least & 1
        return range_shape(min(flat), max(flat)), range_shape(least, max(sums) >> self.shift)

    def constants(self, lane: int) -> tuple[list[int], list[int]]:
        """Multipliers, and biases with the rounding constant 2^(F-1) added, of one lane."""
        half = 1 << (self.shift - 1)
        biases = [bias + half for bias in lane_values(self.bias, self.lanes, lane)]
        if self.storage == "reload":
            low, high = shape_limits(self.reload_shapes()[1])
            biases = [min(max(bias, low), high) for bias in biases]
        return lane_values(self.multiplier, self.lanes, lane), biases

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        groups = self.channels // self.lanes
        enable = Signal()  # of the stages up to y
        m.submodules.last = last = LastStage(self.o.payload.shape())
        free = last.i.ready  # of the two behind
        connect(m, last.o, self.o)
        valid = Signal(self.reads + self.multiplied + 1)
        y_valid = valid[-1]
        joined = y_valid & self.i_skip.valid if self.skip else y_valid
        total_valid = Signal()
        group = Signal(range(groups))
        later_group = [Signal(range(groups), name=f"later_group{k}") for k in range(self.multiplied)]
        m.d.comb += [
            enable.eq(~y_valid | (joined & free)),
            self.i.ready.eq(enable),
            last.i.valid.eq(total_valid),
        ]
        if self.skip:
            m.d.comb += self.i_skip.ready.eq(y_valid & free)
        with m.If(enable):
            m.d.sync += valid.eq(Cat(self.i.valid, valid))
            m.d.sync += [later.eq(earlier) for earlier, later in pairwise([group, *later_group])]
            with m.If(self.i.valid):
                m.d.sync += group.eq(next_of(group, groups))
        with m.If(free):
            m.d.sync += total_valid.eq(joined)

        for lane in range(self.lanes):
            multipliers, biases = self.constants(lane)
            m_shape, b_shape = self.reload_shapes() if self.storage == "reload" else (None, None)
            m.submodules[f"multiplier_{lane}"] = multiplier = Table(multipliers, self.storage, m_shape)
            m.submodules[f"bias_{lane}"] = bias = Table(biases, self.storage, b_shape)
            m.submodules[f"product_{lane}"] = product = Multiplier(self.acc_shape, self.factor)
            product_shape, y_shape = self.lane_shapes(lane)
            y = Signal(y_shape, name=f"y_{lane}", reset_less=True)
            m.d.comb += [
                multiplier.address.eq(group),
                multiplier.en.eq(enable),
                bias.address.eq(later_group[-1]),
                bias.en.eq(enable),
            ]
            acc: Value = self.i.payload[lane]
            for stage in range(self.reads):
                before = acc
                acc = Signal(self.acc_shape, name=f"acc{stage}_{lane}", reset_less=True)
                with m.If(enable):
                    m.d.sync += acc.eq(before)
            m.d.comb += [product.a.eq(acc), product.b.eq(multiplier.o), product.en.eq(enable)]
            known = product.o[: product_shape.width]
            if product_shape.signed:
                known = known.as_signed()
            with m.If(enable):
                m.d.sync += y.eq((known + bias.o) >> self.shift)
            rounded: Value = y
            if self.even:
                # The lowest bits of a sum are all 0 where a ^ b is (a | b) << 1: no carry goes from bit to bit.
                a, b = (Signal(self.shift, name=f"{name}_{lane}") for name in ("low_product", "low_bias"))
                m.d.comb += [a.eq(known), b.eq(bias.o)]
                half = Signal(name=f"half_{lane}", reset_less=True)
                with m.If(enable):
                    m.d.sync += half.eq((a ^ b) == Cat(Const(0, 1), a | b)[: self.shift])
                rounded = Cat(y[0] & ~half, y[1:])
                rounded = rounded.as_signed() if y_shape.signed else rounded
            total_shape = Shape(max(y_shape.width + (not y_shape.signed), self.stream_bits) + self.skip, signed=True)
            total = Signal(total_shape, name=f"total_{lane}", reset_less=True)
            with m.If(free):
                m.d.sync += total.eq(self.i_skip.payload[lane] + rounded if self.skip else rounded)
            m.d.comb += last.i.payload[lane].eq(saturated(total, self.stream_bits, self.relu))
        return m
