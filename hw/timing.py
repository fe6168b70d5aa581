"""Cycles per image of one layer: a window that is shifted in, used for some cycles, and fed by a producer.

The steady interval follows from the recurrences of `window_timing` over the pixels of a few images; no closed form is
needed for rows without windows (top padding, rows that a stride skips) or for the bottom padding, which takes no input.
"""

from dataclasses import dataclass
from functools import cache

__all__ = ["Timing", "WindowGeometry", "window_timing"]

IMAGES = 4


@dataclass(frozen=True)
class WindowGeometry:
    """Input [channels, height, width] and the kernel x kernel windows taken from it."""

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

    @property
    def columns(self) -> range:
        """Columns of the padded image that are walked over, left padding included."""
        last = self.kernel - 1 + (self.out_width - 1) * self.stride
        return range(max(self.padding + self.width - 1, last) + 1)

    @property
    def positions(self) -> int:
        """Pixels shifted in for an image."""
        return len(self.rows) * len(self.columns)


@dataclass(frozen=True)
class Timing:
    """Cycles per image: `compute` on windows, `load` shifting pixels in, `interval` in steady state."""

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
    """Timing of a layer that needs `beats` cycles to shift a pixel in and `cycles` to use a window.

    The producer writes a pixel every `supply` cycles at best, at most `buffer` + 1 pixels ahead of the window.
    """
    g = geometry
    written = shifted = used = 0  # times: last pixel written, last pixel shifted in, last window used up
    exposed = not prefetch and not buffer
    reads: list[int] = []  # time at which each input pixel was taken
    ends: list[int] = []  # time at which each image's last window was used up
    for _ in range(IMAGES):
        for row in g.rows:
            on_row = row >= g.kernel - 1 and (row - g.kernel + 1) % g.stride == 0
            for column in g.columns:
                if row < g.height + g.padding and g.padding <= column < g.width + g.padding:
                    written += supply
                    if len(reads) > buffer:
                        written = max(written, reads[-1 - buffer])
                    if exposed:  # the producer makes the pixel while it is shifted in, and not before
                        shifted += max(0, supply - beats)
                    shifted = max(shifted, written)
                    reads.append(shifted)
                shifted += beats
                if on_row and column >= g.kernel - 1 and (column - g.kernel + 1) % g.stride == 0:
                    if prefetch:  # one cycle to move into the register that `used` frees in its last cycle
                        shifted = max(shifted, used - 1)
                        used = shifted + 1 + cycles
                    else:  # the window's last cycle already shifts
                        used = max(shifted, used) + cycles
                        shifted = used - 1
        ends.append(used)
    return Timing(g.out_height * g.out_width * cycles, g.positions * beats, ends[-1] - ends[-2])
