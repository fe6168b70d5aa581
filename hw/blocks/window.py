"""Sliding windows for a convolution: line memory, padding and stride."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.timing import WindowGeometry, window_timing
from popstream.hw.lib.device import is_ice40
from popstream.hw.lib.memory import in_block
from popstream.hw.lib.pipeline import next_of
from popstream.hw.lib.stream import value_layout

__all__ = ["Window"]


class Window(wiring.Component):
    """Turns an image's pixels, in raster order, into the K x K windows that a convolution multiplies.

    o[(ky*K + kx)*C + c] = image[c, y*stride + ky - padding, x*stride + kx - padding] for output pixel (y, x), and
    `pad_code` outside the image. Windows come in raster order, a beat each, out_height * out_width an image.

    One line memory of K-1 rows feeds a store of the next `stride` columns (K pixels each, at most K of them), `lanes`
    codes a row and beat; a row above the image is masked, one below it scanned without input. A full store enters the
    window registers at once, in the cycle in which the window is taken, so that the next columns are loaded while the
    window is in use. The first move on a row clears what stood before: padding on the left, never loaded. Columns of
    padding on the right enter as zeros. Rows on which no window ends are loaded without a move.

    Flip-flops: K*K*C*bits for the window and min(stride, K)*K*C*bits for the store.

    Parameters
    ----------
    channels, height, width : shape of the image.
    bits : width of a code, unsigned.
    kernel : K, odd.
    stride : distance of windows, at least 1.
    padding : zeros on each side, 0 .. K-1.
    lanes : channels of an input beat, a divisor of `channels`.
    prefetch : whether there is a store. Without it beats are shifted into the window itself, all K columns and those of
        padding too, and stand still until `o` is taken: the fewest flip-flops.
    turn : codes by which a complete window is turned each time its reader asks for it, a divisor of K*K*C; 0 for none.
        A reader of `turn` codes at a time then looks at the lowest ones alone, where it would choose among all codes:
        the LUTs before the window's flip-flops do it. Only without prefetch.
    pad_code : code outside of the image. Inside, it is 0 that stands for it: codes are inverted in its bits on their
        way in and out, which lanes and line memory take into their own logic.

    Attributes
    ----------
    out_height, out_width : windows along each axis.
    load_cycles : cycles an image when `o` is always ready and `i` always valid.
    latency : cycles from the transfer of the beat that completes a window until `o` is valid.
    shape : payload layout of `o`.

    Members
    -------
    i : In(stream.Signature(value_layout(unsigned(bits), lanes)))
    o : Out(stream.Signature(ArrayLayout(unsigned(bits), K*K*channels)))
    soon : In(1), only with prefetch: `o.ready` in the next cycle.
    turning : In(1), only with `turn`: the lowest `turn` codes become the highest in the next cycle. While `o` is valid
        and not taken; it is taken in the order in which it was given, after as many turns as go round.
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
        turn: int = 0,
        pad_code: int = 0,
    ) -> None:
        numbers = {"channels": channels, "height": height, "width": width, "bits": bits, "stride": stride}
        for name, value in numbers.items():
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
        codes = kernel * kernel * channels
        if turn < 0 or (turn and (codes % turn or prefetch)):
            raise ValueError(f"A turn must divide the {codes} codes of a window without prefetch, not be {turn} codes")
        self.channels = channels
        self.height = height
        self.width = width
        self.bits = bits
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.lanes = lanes
        self.prefetch = prefetch
        self.turn = turn
        if not 0 <= pad_code < 1 << bits:
            raise ValueError(f"A pad code must have {bits} bits, {pad_code} has not")
        self.pad_code = pad_code
        self.groups = channels // lanes
        self.geometry = WindowGeometry(channels, height, width, kernel, stride, padding)
        self.out_height = self.geometry.out_height
        self.out_width = self.geometry.out_width
        self.load_cycles = window_timing(self.geometry, self.groups, 1, 0, prefetch, 0).interval
        self.latency = self.latency_of(kernel, prefetch)
        self.shape = data.ArrayLayout(unsigned(bits), codes)
        streams = {
            "i": In(stream.Signature(value_layout(unsigned(bits), lanes))),
            "o": Out(stream.Signature(self.shape)),
        }
        beside = {"soon": In(1)} if prefetch else {"turning": In(1)} if turn else {}
        super().__init__(streams | beside)

    @staticmethod
    def latency_of(kernel: int, prefetch: bool) -> int:
        """Latency of a window of that kernel."""
        return 1 + 2 * (kernel > 1) + prefetch

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        load = Signal()  # everything up to the store moves on
        held = self.geometry.moved if self.prefetch else self.kernel
        store = [Signal(held * self.channels * self.bits, name=f"store{row}") for row in range(self.kernel)]
        entering, valid, due = self._scan(m, load, not is_ice40(platform))
        shifted = [Cat(columns[len(codes) :], codes) for columns, codes in zip(store, entering, strict=True)]
        if self.prefetch:
            self._move(m, store, shifted, load, valid, due)
            return m
        full = Signal()
        m.d.comb += [load.eq(~full | self.o.ready), self.o.valid.eq(full)]
        m.d.comb += Value.cast(self.o.payload).eq(self._inverted(Cat(store)))
        with m.If(load):
            m.d.sync += full.eq(valid & due)
        with m.If(load & valid):
            m.d.sync += [columns.eq(codes) for columns, codes in zip(store, shifted, strict=True)]
        if self.turn:
            with m.If(self.turning):
                m.d.sync += Cat(store).eq(Cat(store).rotate_right(self.turn * self.bits))
        return m

    def _move(
        self, m: Module, store: list[Signal], shifted: list[Value], load: Signal, valid: Value, due: Value
    ) -> None:
        """Fills the store, and moves it, or zeros where a block lies to the right of the image, into the window.

        All that moves the window is known a cycle ahead, as `soon` tells what `o.ready` will be, and kept in registers:
        so it has a cycle to reach the window's many flip-flops.
        """
        g = self.geometry
        count, whole = len(g.blocks), g.blocks.index(self.kernel - 1)
        place, following = Signal(range(count)), Signal(range(count))  # block that is next, and the one after it
        first, blank, completes = Signal(init=1), Signal(), Signal(init=whole == 0)  # of the block that is next
        full = Signal()  # the store holds columns that the window has not taken
        busy = Signal()  # the window is complete and has not been taken
        move, clear, wipe = Signal(), Signal(), Signal()  # the window takes a block, its first; zeros
        fill = Signal(init=1)  # the store takes a beat: it is empty, or the window takes what it holds
        now = {"full": full, "busy": busy, "first": first, "blank": blank, "completes": completes}
        after = {name: Signal(name=f"{name}_next") for name in (*now, "move")}
        m.d.comb += [
            following.eq(next_of(place, count)),
            after["full"].eq(Mux(fill, valid & due, full)),
            after["busy"].eq(Mux(move, completes, busy & ~self.o.ready)),
            after["first"].eq(Mux(move, following == 0, first)),
            after["blank"].eq(Mux(move, following >= g.filled, blank)),
            after["completes"].eq(Mux(move, following >= whole, completes)),
            after["move"].eq((after["full"] | after["blank"]) & (~after["busy"] | self.soon)),
            load.eq(fill),
            self.o.valid.eq(busy),
        ]
        m.d.sync += [signal.eq(after[name]) for name, signal in now.items()]
        m.d.sync += fill.eq(~after["full"] | (after["move"] & ~after["blank"]))
        m.d.sync += [
            move.eq(after["move"]),
            clear.eq(after["move"] & after["first"]),
            wipe.eq(after["move"] & after["blank"]),
        ]
        with m.If(move):
            m.d.sync += place.eq(following)
        window = []
        for row, (columns, codes) in enumerate(zip(store, shifted, strict=True)):
            newest = Signal(len(columns), name=f"newest{row}")
            older = Signal((self.kernel - g.moved) * self.channels * self.bits, name=f"older{row}")
            with m.If(fill & valid):
                m.d.sync += columns.eq(codes)
            with m.If(move):
                m.d.sync += [newest.eq(columns), older.eq(Cat(older, newest)[len(newest) :])]
            with m.If(clear):  # synchronous resets: no logic beside the registers
                m.d.sync += older.eq(0)
            with m.If(wipe):
                m.d.sync += newest.eq(0)
            window += [older, newest]
        m.d.comb += Value.cast(self.o.payload).eq(self._inverted(Cat(window)))

    def _inverted(self, codes: Value) -> Value:
        """Codes with the bits of `pad_code` inverted."""
        pattern = sum(self.pad_code << place for place in range(0, len(codes), self.bits))
        return codes ^ pattern if pattern else codes

    def _scan(self, m: Module, load: Value, as_read: bool) -> tuple[list[Value], Value, Value]:
        """Walks over the image while `load`; K rows of codes for the store, whether they are valid and fill it."""
        g = self.geometry
        columns = g.loaded if self.prefetch else g.columns
        group = Signal(range(self.groups))
        column = Signal(range(columns.start, columns.stop), init=columns.start)
        row = Signal(range(g.rows.start, g.rows.stop), init=g.rows.start)
        start = g.place(columns, self.groups, 0, columns.start, g.rows.start)
        at = Signal(len(start), init=sum(bool(flag) << bit for bit, flag in enumerate(start)))
        column_end, row_end, image_end, inside, needs = at  # what follows from the place, in registers of its own
        next_group = next_of(group, self.groups)
        next_column = Mux(column_end, Mux(row_end, columns.start, column + 1), column)
        next_row = Mux(row_end, Mux(image_end, g.rows.start, row + 1), row)

        waits = Signal()  # for a beat on its way through a line memory of so few words
        advance = Signal()
        m.d.comb += [
            advance.eq(load & ~waits & (self.i.valid | ~needs)),
            self.i.ready.eq(load & ~waits & needs),
        ]
        with m.If(advance):
            m.d.sync += [group.eq(next_group), column.eq(next_column), row.eq(next_row)]
            m.d.sync += at.eq(Cat(g.place(columns, self.groups, next_group, next_column, next_row)))
        first = g.blocks[0] if self.prefetch else self.kernel - 1
        column_on_grid = self._grid(m, column, advance & column_end, row_end, columns.start, first)
        row_on_grid = self._grid(m, row, advance & row_end, image_end, g.rows.start, self.kernel - 1)
        due = column_end & column_on_grid & row_on_grid
        newest = Mux(needs, self._inverted(self.i.payload.as_value()), 0)
        if self.kernel == 1:
            return [newest], advance, due
        entering, valid = self._line_memory(m, newest, load, advance, (inside, row_end, image_end), as_read)
        if g.beat_cycles(self.groups) > 1:
            m.d.comb += waits.eq(valid.any())
        marks = Signal(2)
        with m.If(load):
            m.d.sync += marks.eq(Cat(due, marks))
        return entering, valid[-1], marks[-1]

    def _line_memory(
        self, m: Module, newest: Value, load: Value, advance: Value, ends: tuple[Value, Value, Value], as_read: bool
    ) -> tuple[list[Value], Signal]:
        """The K-1 beats above `newest`, 0 outside the image, and `newest`; stores them again moved up by one row.

        `ends`: whether the beat's column is one of the image, ends a row, ends the image. The beats come two cycles of
        `load` after `advance`, from a register; with `as_read` it takes the memory's data as they are, and what lies
        outside the image is made 0 behind it. Second result: whether a beat is one, and two cycles on its way.
        """
        inside, row_end, image_end = ends
        held, beat, depth = self.kernel - 1, self.lanes * self.bits, self.width * self.groups
        block = in_block(depth, held * beat)
        attributes = {"no_rw_check": 1} | ({"ram_style": "block"} if block else {})
        m.submodules.lines = lines = Memory(shape=unsigned(held * beat), depth=depth, init=[], attrs=attributes)
        read, write = lines.read_port(), lines.write_port()
        valid, stores = Signal(2), Signal(2)  # a beat; one that has its place in the memory
        stored = Signal(held)  # which of the rows above belong to this image
        above, shown = Signal(held), Signal(held)  # the same for the data that are read; for those in the register
        latest, last, word = Signal(beat), Signal(beat), Signal(held * beat)

        def masked(rows: Value, which: Value) -> Value:
            return rows & Cat(bit.replicate(beat) for bit in which)

        for port, step in ((read, advance & inside), (write, write.en)):
            with m.If(step):
                m.d.sync += port.addr.eq(next_of(port.addr, depth))
        with m.If(advance & row_end):
            m.d.sync += stored.eq(Mux(image_end, 0, Cat(stored[1:], 1)))
        with m.If(load):
            m.d.sync += [
                valid.eq(Cat(advance, valid)),
                stores.eq(Cat(advance & inside, stores)),
                above.eq(Mux(inside, stored, 0)),
                shown.eq(above),
                latest.eq(newest),
                last.eq(latest),
                word.eq(read.data if as_read and block else masked(read.data, above)),
            ]
        rows = masked(word, shown) if as_read and block else word
        m.d.comb += [read.en.eq(load), write.en.eq(load & stores[1]), write.data.eq(Cat(rows[beat:], last))]
        return [*(rows.word_select(index, beat) for index in range(held)), last], valid

    def _grid(self, m: Module, position: Value, step: Value, end: Value, start: int, first: int) -> Value:
        """High where `position` (moves on `step`, back to `start` on `end`) is `first` or a multiple of stride more."""
        if self.stride == 1:
            return Const(1) if first <= start else position >= first
        # Counts down to the next grid position.
        wait = Signal(range(max(first - start + 1, self.stride)), init=first - start)
        with m.If(step):
            m.d.sync += wait.eq(Mux(wait == 0, self.stride - 1, wait - 1))
            with m.If(end):
                m.d.sync += wait.eq(first - start)
        return wait == 0
