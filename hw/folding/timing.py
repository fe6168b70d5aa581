"""Cycles per image of one layer: a window that is filled column by column, used for some cycles, and fed by a producer.

The steady interval follows from the recurrences of `window_timing` over the columns of a few images; no closed form is
needed for rows without windows (top padding, rows that a stride skips) or for the bottom padding, which takes no input.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["Timing", "WindowGeometry", "window_timing"]

IMAGES = 4
LINE_BEATS = 3  # beats between a read of the line memory and the first read that sees what is written back for it


@dataclass(frozen=True)
class WindowGeometry:
    """Input [channels, height, width] and the kernel x kernel windows taken from it.

    Positions count over the padded image. On a row that ends windows, the window registers move by blocks of `stride`
    columns, of which `moved` enter; block ends lie on the windows' grid of columns, before the first window too.
    """

    channels: int
    height: int
    width: int
    kernel: int
    stride: int
    padding: int

    @property
    def out_height(self) -> int:
        return (self.height + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def out_width(self) -> int:
        return (self.width + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def rows(self) -> range:
        """Rows of the padded image that are walked over: from the image's first to its, or the last window's, last."""
        last = self.kernel - 1 + (self.out_height - 1) * self.stride
        return range(self.padding, max(self.padding + self.height - 1, last) + 1)

    def on_row(self, row: int) -> bool:
        """Whether windows end on `row`."""
        return row >= self.kernel - 1 and (row - self.kernel + 1) % self.stride == 0

    @property
    def columns(self) -> range:
        """Columns of the padded image from the first to its, or the last window's, last; left padding included."""
        last = self.kernel - 1 + (self.out_width - 1) * self.stride
        return range(max(self.padding + self.width - 1, last) + 1)

    @property
    def positions(self) -> int:
        """Columns of all rows."""
        return len(self.rows) * len(self.columns)

    @property
    def moved(self) -> int:
        """Columns that enter the window at once."""
        return min(self.stride, self.kernel)

    @property
    def blocks(self) -> range:
        """Last columns of the blocks of a row: from the first block with a column of the image to the last window."""
        first = self.padding + (self.kernel - 1 - self.padding) % self.stride
        return range(first, self.kernel + (self.out_width - 1) * self.stride, self.stride)

    @property
    def filled(self) -> int:
        """Blocks of a row that have a column of the image; those after them are padding alone."""
        return sum(end - self.moved + 1 < self.padding + self.width for end in self.blocks)

    @property
    def loaded(self) -> range:
        """Columns of a row that are written to the store: those of the image, and padding in a block with one of them.

        Padding on the left comes of a cleared window, blocks of padding on the right enter as zeros: neither is loaded.
        """
        first = min(self.padding, max(0, self.blocks[0] - self.moved + 1))
        return range(first, max(self.padding + self.width - 1, self.blocks[self.filled - 1]) + 1)

    @property
    def near(self) -> list[int]:
        """A window's codes, numbered (ky*K + kx)*C + c, so that each follows the one that it moves to."""
        of_row = range(self.kernel * self.channels)
        return [ky * len(of_row) + place for ky in range(self.kernel) for c in range(self.channels)
                for place in of_row[c :: self.channels]]  # fmt: skip

    def place(self, columns: range, groups: int, group: Any, column: Any, row: Any) -> tuple[Any, ...]:
        """Of a beat's place, in numbers or in hardware: whether it is the last of its column, of its row, of the image;
        whether its column is one of the image; whether a beat belongs there. `columns` are those of a row.
        """
        column_end = group == groups - 1
        row_end = column_end & (column == columns[-1])
        inside: Any = True
        if columns.start < self.padding:
            inside &= column >= self.padding
        if columns.stop > self.padding + self.width:
            inside &= column < self.padding + self.width
        needs = inside & (row < self.padding + self.height)
        return column_end, row_end, row_end & (row == self.rows[-1]), inside, needs

    def beat_cycles(self, beats: int) -> int:
        """Cycles of a beat: 1, but where a row has less than LINE_BEATS beats, each waits for the one before it."""
        return LINE_BEATS if self.kernel > 1 and self.width * beats < LINE_BEATS else 1


@dataclass(frozen=True)
class Timing:
    """Cycles per image: `compute` on windows, `load` bringing columns in, `interval` in steady state."""

    compute: int
    load: int
    interval: int

    @property
    def bubbles(self) -> int:
        """Cycles in which neither side alone is the reason to wait."""
        return self.interval - max(self.compute, self.load)


@cache
def window_timing(
    geometry: WindowGeometry, beats: int, cycles: int, supply: int, prefetch: bool, buffer: int
) -> Timing:
    """Timing of a layer that needs `beats` cycles to load a column and `cycles` to use a window.

    The producer writes a pixel every `supply` cycles at best, at most `buffer` + 1 pixels ahead of the window.

    With prefetch a column store of its own is loaded, and a full store moves into the window in one cycle, which is the
    window's last cycle of use or later:

        loaded = max(loaded, written, moved) + beats        the store is full in cycle `loaded`
        moved  = max(loaded, free)
        free   = moved + cycles                             (moved + 1 if that completes no window)

    Blocks of padding move as soon as the window is free, while the store is loaded for the next row. Without prefetch
    every column, padding too, is loaded into the window itself, which stands still until its last cycle of use.
    """
    g = geometry
    each = beats * g.beat_cycles(beats)
    blocks = frozenset(g.blocks)
    columns = g.loaded if prefetch else g.columns
    first_window = g.kernel - 1
    written = loaded = moved = free = 0
    exposed = not prefetch and not buffer
    reads: list[int] = []  # time at which each input pixel was taken
    ends: list[int] = []  # time at which each image's last window was used up
    for _ in range(IMAGES):
        for row in g.rows:
            on_row = g.on_row(row)
            for column in columns:
                loaded = max(loaded, moved)
                if row < g.height + g.padding and g.padding <= column < g.width + g.padding:
                    written += supply
                    if len(reads) > buffer:
                        written = max(written, reads[-1 - buffer])
                    if exposed:  # the producer makes the pixel while it is shifted in, and not before
                        loaded += max(0, supply - beats)
                    loaded = max(loaded, written)
                    reads.append(loaded)
                loaded += each
                if not on_row or column not in blocks:
                    continue
                if prefetch:
                    moved = max(loaded, free)
                    free = moved + (cycles if column >= first_window else 1)
                elif column >= first_window:  # the window's last cycle already shifts
                    free = moved = max(loaded, free) + cycles - 1
            if on_row and prefetch:
                for column in g.blocks[g.filled :]:
                    free += cycles if column >= first_window else 1
        ends.append(free)
    return Timing(g.out_height * g.out_width * cycles, len(g.rows) * len(columns) * each, ends[-1] - ends[-2])
