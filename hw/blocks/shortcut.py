"""Shortcut of a residual block without weights: subsampling by picking or averaging pixels, and padding of channels."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.accumulate import PartialSums
from popstream.hw.lib.device import is_ice40
from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.stream import connect, value_layout

REDUCTIONS = ("sample", "average")


class Shortcut(wiring.Component):
    """Stream x [C, H, W] to stream [out_channels, ceil(H/stride), ceil(W/stride)] of signed(R) values.

    Stride 1: the pixels as they are. Stride 2, "sample": x[:, ::2, ::2]. Stride 2, "average": (x00+x01+x10+x11 + 2) >>
    2 of each 2x2 square; the partial sums of one row of squares lie in a memory of W/2 * C/lanes words of `lanes` sums,
    R + 2 bits each. Then output channel pad_front + c is channel c, all others are 0: their beats are inserted before
    (as soon as the pixel's first beat is there) and after those of the pixel.

    A FIFO that holds a pixel lies between the two where both are done, so that a beat a cycle goes in while zeros go
    out; an iCE40, which has no memory in LUTs, waits instead.

    Latency from the last beat that is needed: 1 cycle, "average" 3 cycles, 4 with the sums in block RAM; and that of
    the FIFO.

    Parameters
    ----------
    channels, height, width : C, H, W of the input; H and W even for "average".
    stream_bits : R, 2 to 16.
    stride : 1 or 2.
    reduce : "sample" or "average" (no difference at stride 1).
    out_channels : at least pad_front + channels.
    pad_front : number of zero channels in front.
    lanes : channels a beat on both sides, a divisor of channels, out_channels and pad_front.

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
        channels: int,
        height: int,
        width: int,
        stream_bits: int,
        stride: int,
        reduce: str,
        out_channels: int,
        pad_front: int,
        lanes: int,
    ):
        if channels < 1 or height < 1 or width < 1:
            raise ValueError(f"Channels, height and width must be at least 1, not {channels}, {height} and {width}")
        if not 2 <= stream_bits <= 16:
            raise ValueError(f"Stream bits must be 2 to 16, not {stream_bits}")
        if stride not in (1, 2):
            raise ValueError(f"Stride must be 1 or 2, not {stride}")
        if reduce not in REDUCTIONS:
            raise ValueError(f"Reduction must be one of {', '.join(REDUCTIONS)}, not {reduce!r}")
        if pad_front < 0 or out_channels < pad_front + channels:
            raise ValueError(f"{out_channels} output channels cannot hold {channels} channels behind {pad_front} zeros")
        if lanes < 1 or channels % lanes or out_channels % lanes or pad_front % lanes:
            raise ValueError(
                f"Lanes must divide channels ({channels}), output channels ({out_channels}) and front padding "
                f"({pad_front}), not be {lanes}"
            )
        self.average = stride == 2 and reduce == "average"
        if self.average and (height % 2 or width % 2):
            raise ValueError(f"Averaging needs an even height and width, not {height} x {width}")
        self.channels = channels
        self.height = height
        self.width = width
        self.stream_bits = stream_bits
        self.stride = stride
        self.reduce = reduce
        self.out_channels = out_channels
        self.pad_front = pad_front
        self.lanes = lanes
        squares, groups = width // 2, channels // lanes
        self._sums = (signed(stream_bits), lanes, squares * groups, 4, 2, groups)
        self.queued = groups if stride == 2 and out_channels > channels and groups > 2 else 0  # beats
        self.latency = 1 + (PartialSums.latency_of(*self._sums) if self.average else 0)
        self.latency += StreamFifo.latency_of(groups, stream_bits * lanes) if self.queued else 0
        values = stream.Signature(value_layout(signed(stream_bits), lanes))
        super().__init__({"i": In(values), "o": Out(values)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        reduced = stream.Signature(value_layout(signed(self.stream_bits), self.lanes)).create()
        if self.stride == 1:
            wiring.connect(m, wiring.flipped(self.i), wiring.flipped(reduced))
        else:
            self._subsample(m, reduced)
        if self.queued and not is_ice40(platform):
            m.submodules.queue = queue = StreamFifo(value_layout(signed(self.stream_bits), self.lanes), self.queued)
            connect(m, reduced, queue.i)
            reduced = queue.o
        self._pad(m, reduced)
        return m

    def _subsample(self, m: Module, reduced: Any) -> None:
        """Drives `reduced` with the picked or averaged pixels of `i`."""
        groups = self.channels // self.lanes
        group = Signal(range(groups))
        column = Signal(range(self.width))
        row = Signal(range(self.height))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += group.eq(next_of(group, groups))
            with m.If(group == groups - 1):
                m.d.sync += column.eq(next_of(column, self.width))
                with m.If(column == self.width - 1):
                    m.d.sync += row.eq(next_of(row, self.height))
        odd_column = column[0] if self.width > 1 else 0
        odd_row = row[0] if self.height > 1 else 0
        if not self.average:
            dropped = Signal()
            m.d.comb += [
                dropped.eq(odd_column | odd_row),
                reduced.valid.eq(self.i.valid & ~dropped),
                reduced.payload.eq(self.i.payload),
                self.i.ready.eq(reduced.ready | dropped),
            ]
            return
        squares = self.width // 2
        m.submodules.sums = sums = PartialSums(*self._sums)
        base = Signal(range(squares * groups))  # address of the first group of the square
        with m.If(self.i.valid & self.i.ready & (group == groups - 1) & odd_column):
            m.d.sync += base.eq(base + groups)
            with m.If(column == self.width - 1):
                m.d.sync += base.eq(0)
        m.d.comb += [
            sums.i.valid.eq(self.i.valid),
            self.i.ready.eq(sums.i.ready),
            sums.i.payload.values.eq(self.i.payload),
            sums.i.payload.address.eq(base + group),
            sums.i.payload.first.eq(~odd_column & ~odd_row),
            sums.i.payload.last.eq(odd_column & odd_row),
            sums.i.payload.again.eq(odd_column),
            reduced.valid.eq(sums.o.valid),
            sums.o.ready.eq(reduced.ready),
        ]
        m.d.comb += [reduced.payload[lane].eq(sums.o.payload[lane] >> 2) for lane in range(self.lanes)]

    def _pad(self, m: Module, reduced: Any) -> None:
        """Drives `o`, a register, with the beats of `reduced` and those of the zero channels around them."""
        groups = self.out_channels // self.lanes
        front = self.pad_front // self.lanes
        back = front + self.channels // self.lanes
        group, following = Signal(range(groups)), Signal(range(groups))
        inside, after = Signal(init=front == 0), Signal()  # `group` is one of the channels, or one behind them
        free, step, zero = Signal(), Signal(), Signal()
        m.d.comb += [
            following.eq(next_of(group, groups)),
            free.eq(~self.o.valid | self.o.ready),
            step.eq(free & (reduced.valid | after)),
            reduced.ready.eq(free & inside),
            zero.eq(free & ~inside),
        ]
        with m.If(free):
            m.d.sync += [self.o.valid.eq(reduced.valid | after), self.o.payload.eq(reduced.payload)]
        with m.If(zero):  # the registers' synchronous reset
            m.d.sync += Value.cast(self.o.payload).eq(0)
        with m.If(step):
            m.d.sync += [
                group.eq(following),
                inside.eq((following >= front) & (following < back)),
                after.eq(following >= back),
            ]
