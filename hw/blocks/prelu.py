"""PReLU on the residual stream: a slope below a shift, both of the channel, and a second shift (ReActNet's RPReLU)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.rounding import saturated
from popstream.hw.lib.skid import LastStage
from popstream.hw.lib.stream import connect, value_layout
from popstream.hw.lib.table import Table, checked_storage, lane_values, range_shape, shape_limits


class PReLU(wiring.Component):
    """d = r - G[c]; p = d if d >= 0, else (d*S[c] + 2^(F-1)) >> F; o = saturate_R(p + Z[c])     (rule R12)

    Five stages: r and G[c] (two, if the tables are in block RAM); d and S[c]; product (one hardware multiplier a lane);
    p and Z[c]; o. Every signal is as wide as the lane's own tables and R demand; the product only as wide as it is for
    d < 0, where it is used.

    One clock enable (output free or taken) moves all stages together, as in `hw.blocks.threshold.Threshold`.

    Latency in attribute `latency`, one beat a cycle.

    Parameters
    ----------
    shift_in, slope, shift_out : G, S, Z, integers [C]; the shifts within signed(R).
    shift : F, 1 to 31.
    stream_bits : R, 2 to 16.
    lanes : channels a beat, a divisor of C.
    storage : of the tables, see `hw.lib.table.Table`.

    Attributes
    ----------
    reads : cycles that the tables take.
    latency : 5 cycles, with tables in block RAM 6.

    Members
    -------
    i : In, stream of `lanes` values signed(R).
    o : Out, the same.

    Raises
    ------
    ValueError : for a parameter outside of these ranges.
    """

    def __init__(
        self,
        shift_in: Any,
        slope: Any,
        shift_out: Any,
        shift: int,
        stream_bits: int,
        lanes: int,
        storage: str = "auto",
    ):
        self.shift_in, self.slope, self.shift_out = (
            np.array(tensor, dtype=np.int64) for tensor in (shift_in, slope, shift_out)
        )
        if self.slope.ndim != 1 or not self.slope.size:
            raise ValueError(f"The slope must have the shape [channels], not {list(self.slope.shape)}")
        if not 1 <= shift <= 31:
            raise ValueError(f"Shift must be 1 to 31, not {shift}")
        if not 2 <= stream_bits <= 16:
            raise ValueError(f"Stream bits must be 2 to 16, not {stream_bits}")
        low, high = shape_limits(signed(stream_bits))
        for what, tensor in (("Shift in", self.shift_in), ("Shift out", self.shift_out)):
            if tensor.shape != self.slope.shape:
                raise ValueError(
                    f"{what} must have the slope's shape {list(self.slope.shape)}, not {list(tensor.shape)}"
                )
            if tensor.min() < low or tensor.max() > high:
                raise ValueError(f"{what} must be {low} to {high}, not {tensor.min()} to {tensor.max()}")
        self.channels = int(self.slope.size)
        if lanes < 1 or self.channels % lanes:
            raise ValueError(f"Lanes must divide the {self.channels} channels, not be {lanes}")
        self.shift = shift
        self.stream_bits = stream_bits
        self.lanes = lanes
        self.storage = checked_storage(storage)
        self.reads = Table.latency_of(self.channels // lanes, storage)
        self.latency = self.reads + 4
        values = stream.Signature(value_layout(signed(stream_bits), lanes))
        super().__init__({"i": In(values), "o": Out(values)})

    def constants(self, lane: int) -> tuple[list[int], list[int], list[int]]:
        """Shifts in, slopes and shifts out of one lane."""
        below, slope, after = (lane_values(t, self.lanes, lane) for t in (self.shift_in, self.slope, self.shift_out))
        return below, slope, after

    def lane_shapes(self, lane: int) -> tuple[Shape, Shape, Shape]:
        """Shapes of d, of the product where d < 0, and of p, of one lane: worst case over its channels."""
        below, slopes, _ = self.constants(lane)
        low, high = shape_limits(signed(self.stream_bits))
        products = [d * slope for g, slope in zip(below, slopes, strict=True) for d in (min(low - g, -1), -1)]
        half = 1 << (self.shift - 1)
        bent = [(product + half) >> self.shift for product in products]
        d_shape = range_shape(min(low - max(below), -1), max(high - min(below), 0))
        p_shape = range_shape(min(*bent, -1), max(*bent, high - min(below)))
        return d_shape, range_shape(min(*products, -1), max(products)), p_shape

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        groups = self.channels // self.lanes
        m.submodules.last = last = LastStage(self.o.payload.shape())
        enable = last.i.ready
        connect(m, last.o, self.o)
        valid = Signal(self.latency - 1)
        group = [Signal(range(groups), name=f"group_{stage}") for stage in range(4)]
        m.d.comb += [self.i.ready.eq(enable), last.i.valid.eq(valid[-1])]
        with m.If(enable):
            m.d.sync += valid.eq(valid << 1 | self.i.valid)
            m.d.sync += [later.eq(earlier) for earlier, later in pairwise(group)]
            with m.If(self.i.valid):
                m.d.sync += group[0].eq(next_of(group[0], groups))
        for lane in range(self.lanes):
            tables = {}
            stages = zip(("shift_in", "slope", "shift_out"), self.constants(lane), (0, 1, 3), strict=True)
            for name, entries, stage in stages:
                m.submodules[f"{name}_{lane}"] = tables[name] = table = Table(entries, self.storage)
                m.d.comb += [table.address.eq(group[stage]), table.en.eq(enable)]
            d_shape, product_shape, p_shape = self.lane_shapes(lane)
            r = self.i.payload[lane]
            for stage in range(self.reads):  # as long as the first table takes
                r, earlier = Signal(signed(self.stream_bits), name=f"r_{stage}_{lane}", reset_less=True), r
                with m.If(enable):
                    m.d.sync += r.eq(earlier)
            d = Signal(d_shape, name=f"d_{lane}", reset_less=True)
            held = Signal(d_shape, name=f"held_{lane}", reset_less=True)
            product = Signal(product_shape, name=f"product_{lane}", reset_less=True)
            p = Signal(p_shape, name=f"p_{lane}", reset_less=True)
            total = Signal(signed(max(p_shape.width, self.stream_bits) + 1), name=f"total_{lane}")
            half = 1 << (self.shift - 1)
            m.d.comb += total.eq(p + tables["shift_out"].o)
            with m.If(enable):
                m.d.sync += [
                    d.eq(r - tables["shift_in"].o),
                    product.eq(d * tables["slope"].o),
                    held.eq(d),
                    p.eq(Mux(held[-1], (product + half) >> self.shift, held)),
                ]
            m.d.comb += last.i.payload[lane].eq(saturated(total, self.stream_bits))
        return m
