"""Max-pooling of activation codes; the quantizer commutes with it (DoReFa-Net eq. 15), so codes are all it needs."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.accumulate import PartialMaxima
from popstream.hw.lib.stream import value_layout


class MaxPool(wiring.Component):
    """Codes [C, H, W] to the largest of each K x K square, [C, H // K, W // K] (rule R13).

    The maxima of one row of squares lie in a memory of W // K * C/lanes words of `lanes` codes; rows and columns behind
    the last whole square are dropped.

    Latency 2 cycles from the last beat of a square, 3 with the maxima in block RAM; one beat in a cycle.

    Parameters
    ----------
    channels, height, width : C, H, W of the input; H and W at least K.
    bits : A, 1 to 8.
    size : K, 2 to 8.
    lanes : channels a beat on both sides, a divisor of C.

    Members
    -------
    i : In, stream of `lanes` unsigned codes of A bits.
    o : Out, the same.

    Raises
    ------
    ValueError : for a parameter outside of these ranges.
    """

    def __init__(self, channels: int, height: int, width: int, bits: int, size: int, lanes: int):
        if not 1 <= bits <= 8:
            raise ValueError(f"Codes must be 1 to 8 bits, not {bits}")
        if not 2 <= size <= 8:
            raise ValueError(f"Size must be 2 to 8, not {size}")
        if channels < 1 or min(height, width) < size:
            raise ValueError(f"Squares of {size} x {size} do not fit into {channels} channels of {height} x {width}")
        if lanes < 1 or channels % lanes:
            raise ValueError(f"Lanes must divide the {channels} channels, not be {lanes}")
        self.channels = channels
        self.height = height
        self.width = width
        self.bits = bits
        self.size = size
        self.lanes = lanes
        groups = channels // lanes
        self.latency = PartialMaxima.latency_of(unsigned(bits), lanes, width // size * groups, 1, spacing=groups)
        codes = stream.Signature(value_layout(unsigned(bits), lanes))
        super().__init__({"i": In(codes), "o": Out(codes)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        groups, squares = self.channels // self.lanes, self.width // self.size
        rows = self.height // self.size
        group = Signal(range(groups))
        inner_column, inner_row = Signal(range(self.size)), Signal(range(self.size))  # inside a square
        square, row = Signal(range(squares + 1)), Signal(range(rows + 1))  # the last of each is no whole square
        base = Signal(range((squares + 1) * groups))  # address of the square's first group
        last_column = Signal()
        last_row = Signal()
        in_column = self.width - 1 - squares * self.size  # inner column of the image's last, where squares are left
        in_row = self.height - 1 - rows * self.size
        m.d.comb += [
            last_column.eq((square == squares) & (inner_column == in_column) if in_column >= 0
                           else (square == squares - 1) & (inner_column == self.size - 1)),
            last_row.eq((row == rows) & (inner_row == in_row) if in_row >= 0
                        else (row == rows - 1) & (inner_row == self.size - 1)),
        ]  # fmt: skip
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += group.eq(group + 1)
            with m.If(group == groups - 1):
                m.d.sync += [group.eq(0), inner_column.eq(inner_column + 1)]
                with m.If(inner_column == self.size - 1):
                    m.d.sync += [inner_column.eq(0), square.eq(square + 1), base.eq(base + groups)]
                with m.If(last_column):
                    m.d.sync += [inner_column.eq(0), square.eq(0), base.eq(0), inner_row.eq(inner_row + 1)]
                    with m.If(inner_row == self.size - 1):
                        m.d.sync += [inner_row.eq(0), row.eq(row + 1)]
                    with m.If(last_row):
                        m.d.sync += [inner_row.eq(0), row.eq(0)]
        dropped = Signal()
        m.submodules.maxima = maxima = PartialMaxima(unsigned(self.bits), self.lanes, squares * groups, groups)
        m.d.comb += [
            dropped.eq((square == squares) | (row == rows)),
            maxima.i.valid.eq(self.i.valid & ~dropped),
            self.i.ready.eq(maxima.i.ready | dropped),
            maxima.i.payload.values.eq(self.i.payload),
            maxima.i.payload.address.eq(base + group),
            maxima.i.payload.first.eq((inner_column == 0) & (inner_row == 0)),
            maxima.i.payload.last.eq((inner_column == self.size - 1) & (inner_row == self.size - 1)),
            maxima.i.payload.again.eq(inner_column != 0),
            self.o.valid.eq(maxima.o.valid),
            maxima.o.ready.eq(self.o.ready),
        ]
        m.d.comb += [self.o.payload[lane].eq(maxima.o.payload[lane]) for lane in range(self.lanes)]
        return m
