"""Sliding windows for a convolution: line memory, padding and stride."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.stream import value_layout

__all__ = ["Window"]


class Window(wiring.Component):
    """Turns an image's pixels, in raster order, into the K x K windows that a convolution multiplies.

    o[(ky*K + kx)*C + c] = image[c, y*stride + ky - padding, x*stride + kx - padding] for output pixel (y, x), 0 outside
    the image. Windows come in raster order, a beat each, out_height * out_width an image; images follow without a gap.

    One line memory of K-1 rows feeds K shift registers of K pixels, which move by `lanes` codes a beat. Positions are
    scanned in raster order over the padded image, less the rows above the image (those are masked) and what no window
    needs below and right of it; each position takes channels/lanes cycles, an image `load_cycles`.

    Parameters
    ----------
    channels, height, width : shape of the image.
    bits : width of a code, unsigned.
    kernel : K, odd.
    stride : distance of windows, at least 1.
    padding : zeros on each side, 0 .. K-1.
    lanes : channels of an input beat, a divisor of `channels`.
    prefetch : keep the finished window in a register of its own, so that the next one is shifted in while `o` waits.
        Without it the shift registers stand still until `o` is taken (K*K*channels*bits flip-flops less).

    Attributes
    ----------
    out_height, out_width : windows along each axis.
    load_cycles : cycles an image when `o` is always ready.
    latency : cycles from the transfer of the beat that completes a window until `o` is valid.
    shape : payload layout of `o`.

    Members
    -------
    i : In(stream.Signature(value_layout(unsigned(bits), lanes)))
    o : Out(stream.Signature(ArrayLayout(unsigned(bits), K*K*channels)))
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        bits: int,
        kernel: int,
        stride: int,
        padding: int,
        lanes: int,
        prefetch: bool = True,
    ) -> None:
        for name, value in {
            "channels": channels,
            "height": height,
            "width": width,
            "bits": bits,
            "stride": stride,
        }.items():
            if value < 1:
                raise ValueError(f"Window {name} must be at least 1, not {value}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"Kernel must be odd and positive, not {kernel}")
        if not 0 <= padding < kernel:
            raise ValueError(f"Padding must be 0 .. {kernel - 1} for kernel {kernel}, not {padding}")
        if min(height, width) + 2 * padding < kernel:
            raise ValueError(f"A {height}x{width} image with padding {padding} is smaller than kernel {kernel}")
        if lanes < 1 or channels % lanes:
            raise ValueError(f"Lanes must divide the {channels} channels, {lanes} do not")
        self.channels = channels
        self.height = height
        self.width = width
        self.bits = bits
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.lanes = lanes
        self.prefetch = prefetch
        self.groups = channels // lanes
        self.out_height = (height + 2 * padding - kernel) // stride + 1
        self.out_width = (width + 2 * padding - kernel) // stride + 1
        # The scan ends, on each axis, at the image's edge or at the last window's, whichever is later.
        self._last_row = max(padding + height - 1, kernel - 1 + (self.out_height - 1) * stride)
        self._last_column = max(padding + width - 1, kernel - 1 + (self.out_width - 1) * stride)
        self.load_cycles = (self._last_row - padding + 1) * (self._last_column + 1) * self.groups
        self.latency = 2 if prefetch else 1
        self.shape = data.ArrayLayout(unsigned(bits), kernel * kernel * channels)
        super().__init__(
            {
                "i": In(stream.Signature(value_layout(unsigned(bits), lanes))),
                "o": Out(stream.Signature(self.shape)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        held = self.kernel - 1
        columns = self._last_column + 1

        group = Signal(range(self.groups))
        column = Signal(range(columns))
        row = Signal(range(self.padding, self._last_row + 1), init=self.padding)
        column_end = group == self.groups - 1
        row_end = column_end & (column == self._last_column)
        image_end = row_end & (row == self._last_row)

        inside_columns = (column >= self.padding) & (column < self.padding + self.width)
        inside_rows = row < self.padding + self.height
        full = Signal()  # the shift registers hold a window that `o` has not taken over
        free = Signal()
        room = ~full | free
        needs = inside_columns & inside_rows
        advance = Signal()
        m.d.comb += [
            advance.eq(room & (self.i.valid | ~needs)),
            self.i.ready.eq(room & needs),
        ]
        with m.If(advance):
            m.d.sync += group.eq(Mux(column_end, 0, group + 1))
            with m.If(column_end):
                m.d.sync += column.eq(Mux(row_end, 0, column + 1))
            with m.If(row_end):
                m.d.sync += row.eq(Mux(image_end, self.padding, row + 1))

        newest = Signal(self.lanes * self.bits)
        m.d.comb += newest.eq(Mux(needs, self.i.payload.as_value(), 0))
        entering = [newest]
        if held:
            entering = self._line_memory(m, newest, advance, inside_columns, row_end, image_end) + entering

        shifts = [Signal(self.kernel * self.channels * self.bits, name=f"row{index}") for index in range(self.kernel)]
        with m.If(advance):
            for shift, codes in zip(shifts, entering, strict=True):
                m.d.sync += shift.eq(Cat(shift[len(codes) :], codes))

        column_on_grid = self._grid(m, column, advance & column_end, row_end, 0)
        row_on_grid = self._grid(m, row, advance & row_end, image_end, self.padding)
        with m.If(advance):
            m.d.sync += full.eq(column_end & column_on_grid & row_on_grid)
        with m.Elif(free):
            m.d.sync += full.eq(0)

        window = Cat(shifts)
        if self.prefetch:
            m.d.comb += free.eq(~self.o.valid | self.o.ready)
            with m.If(free):
                m.d.sync += self.o.valid.eq(full)
            with m.If(free & full):
                m.d.sync += Value.cast(self.o.payload).eq(window)
        else:
            m.d.comb += [free.eq(self.o.ready), self.o.valid.eq(full), Value.cast(self.o.payload).eq(window)]
        return m

    def _line_memory(
        self, m: Module, newest: Value, advance: Value, inside_columns: Value, row_end: Value, image_end: Value
    ) -> list[Value]:
        """The K-1 beats above `newest`, 0 outside the image; stores them again moved up by one row, `newest` last."""
        held = self.kernel - 1
        beat = self.lanes * self.bits
        depth = self.width * self.groups
        m.submodules.lines = lines = Memory(shape=unsigned(held * beat), depth=depth, init=[], attrs={"no_rw_check": 1})
        read = lines.read_port()
        write = lines.write_port()
        address = Signal(range(depth))
        following = Signal(range(depth), init=1 % depth)
        step = advance & inside_columns
        # The read runs one cycle ahead of its use. With depth 1 it meets the write to the same word, but then a padding
        # column comes before the next use and the word is read again.
        m.d.comb += [
            read.addr.eq(Mux(step, following, address)),
            write.addr.eq(address),
            write.data.eq(Cat(read.data[beat:], newest)),
            write.en.eq(step),
        ]
        with m.If(step):
            m.d.sync += [address.eq(following), following.eq(Mux(following == depth - 1, 0, following + 1))]
        stored = Signal(held)  # which of the rows above belong to this image
        with m.If(advance & image_end):
            m.d.sync += stored.eq(0)
        with m.Elif(advance & row_end):
            m.d.sync += stored.eq(Cat(stored[1:], 1))
        return [Mux(inside_columns & stored[index], read.data.word_select(index, beat), 0) for index in range(held)]

    def _grid(self, m: Module, position: Value, step: Value, end: Value, start: int) -> Value:
        """High where `position` (moves on `step`, back to `start` on `end`) ends a window on the stride grid."""
        first = self.kernel - 1
        if self.stride == 1:
            return position >= first
        # Counts down to the next grid position.
        wait = Signal(range(max(first - start + 1, self.stride)), init=first - start)
        with m.If(step):
            m.d.sync += wait.eq(Mux(wait == 0, self.stride - 1, wait - 1))
            with m.If(end):
                m.d.sync += wait.eq(first - start)
        return wait == 0
