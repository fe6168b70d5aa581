# amaranth: UnusedElaboratable=no
"""Proofs of the blocks that walk over an image: windows, pooling, shortcuts, sums at addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Const, Mux, Signal, Value, signed, unsigned

from popstream.boards.proof.contract import Bench
from popstream.boards.proof.follow import Follow, free, largest
from popstream.boards.proof.proofs import ICE40, Proof
from popstream.hw.blocks.head import Pool
from popstream.hw.blocks.maxpool import MaxPool
from popstream.hw.blocks.shortcut import Shortcut
from popstream.hw.blocks.window import Window

__all__ = ["PROOFS"]


IMAGES = 2


def beat_at(place: Sequence[Value | int], sizes: Sequence[int]) -> Value:
    """The beat, counted from the first, at a place: image, row, column, group."""
    beat: Value = Const(0, 1)
    for at, size in zip(place, sizes, strict=True):
        beat = beat * size + at
    return beat


def pool(bench: Bench) -> None:
    block = bench.block
    groups = block.channels // block.lanes
    inputs = (IMAGES, block.pixels, groups)
    f = Follow(bench, (IMAGES, groups), inputs, block.lanes)
    (image, group), here = f.place, f.at
    mine = f.comes & (here[0] == image) & (here[2] == group)
    half = 1 << block.shift - 1 if block.shift else 0
    total = f.gather(mine, f.item(block.shape), lambda old, new: old + new, half, signed(8), "total")
    average, top = total >> block.shift, (1 << block.bits) - 1
    average -= block.even & (half > 0) & average[0] & ((total & (1 << block.shift) - 1) == 0)
    value = Mux(average < 0, 0, Mux(average > top, top, average))
    f.expect(value, unsigned(block.bits), beat_at((image, block.pixels - 1, group), inputs))
    bench.never_idle(block.latency + 1)


def maxpool(bench: Bench) -> None:
    block = bench.block
    groups, size = block.channels // block.lanes, block.size
    inputs = (IMAGES, block.height, block.width, groups)
    f = Follow(bench, (IMAGES, block.height // size, block.width // size, groups), inputs, block.lanes)
    image, row, column, group = f.place
    mine = (
        f.comes & (f.at[0] == image) & (f.at[3] == group) & within(f.at[1], row, size) & within(f.at[2], column, size)
    )
    most = f.gather(mine, f.item(unsigned(block.bits)), largest, 0, unsigned(block.bits), "most")
    last = (image, row * size + size - 1, column * size + size - 1, group)
    f.expect(most, unsigned(block.bits), beat_at(last, inputs))
    bench.never_idle(block.latency + 1)


def within(at: Value, square: Value, size: int) -> Value:
    """Whether a row or column lies in a square's."""
    return (at >= square * size) & (at < square * size + size)


def shortcut(bench: Bench) -> None:
    block = bench.block
    groups, outer, front = (n // block.lanes for n in (block.channels, block.out_channels, block.pad_front))
    stride, shape = block.stride, signed(block.stream_bits)
    inputs = (IMAGES, block.height, block.width, groups)
    f = Follow(bench, (IMAGES, -(-block.height // stride), -(-block.width // stride), outer), inputs, block.lanes)
    image, row, column, out = f.place
    before, inside = out < front, (out >= front) & (out < front + groups)
    group = Mux(before, 0, Mux(inside, out - front, groups - 1))
    mine = f.comes & (f.at[0] == image) & (f.at[3] == group)
    reach = stride - 1 if block.average else 0
    last = (image, row * stride + reach, column * stride + reach, group)
    if block.average:
        mine = mine & within(f.at[1], row, stride) & within(f.at[2], column, stride)
        total = f.gather(mine, f.item(shape), lambda old, new: old + new, 2, signed(block.stream_bits + 2), "total")
        value: Value = total >> 2
    else:
        value = f.keep(mine & (f.at[1] == row * stride) & (f.at[2] == column * stride), f.item(shape), "value")
    needs = beat_at(last, inputs)
    f.expect(Mux(inside, value, 0), shape)
    come = f.sent + (before & f.source.valid)  # zeros in front need the beat behind them only to be offered
    bench.check(~f.due | (come > needs), "no beat comes before what it needs")
    bench.never_idle(block.latency + outer + 1)


def window(bench: Bench) -> None:
    """One code of a window, any one, is followed; it is 0 outside of the image."""
    block, sink = bench.block, bench.outputs["o"]
    kernel, stride, padding = block.kernel, block.stride, block.padding
    inputs = (IMAGES, block.height, block.width, block.groups)
    f = Follow(bench, (IMAGES, block.out_height, block.out_width), inputs)
    image, out_row, out_column = f.place
    ky, kx, group, c = (
        free(bench, size, name)
        for size, name in ((kernel, "ky"), (kernel, "kx"), (block.groups, "group"), (block.lanes, "c"))
    )
    row, column = out_row * stride + ky, out_column * stride + kx  # with the padding
    inside = (row >= padding) & (row < block.height + padding) & (column >= padding)
    inside = inside & (column < block.width + padding)
    mine = (f.at[0] == image) & (f.at[1] + padding == row) & (f.at[2] + padding == column) & (f.at[3] == group)
    code = Value.cast(f.source.payload).word_select(c, block.bits)
    kept = f.keep(f.comes & mine, code, "kept")
    index = (ky * kernel + kx) * block.channels + group * block.lanes + c
    codes = turned(bench)
    found: Value = Const(0, block.bits)
    for number in range(kernel * kernel * block.channels):
        found = Mux(index == number, codes[number * block.bits : (number + 1) * block.bits], found)
    bench.check(
        ~f.due | (found == Mux(inside, kept, block.pad_code)),
        "each code of each window is the image's, or the pad code",
    )
    below = (at * stride + kernel - 1 - padding for at in (out_row, out_column))
    edge = [Mux(at < size, at, size - 1) for at, size in zip(below, (block.height, block.width), strict=True)]
    needs = beat_at((image, *edge, block.groups - 1), inputs)
    bench.check(~f.due | (f.sent > needs), "no beat comes before what it needs")
    if block.prefetch:
        bench.assume(sink.ready == bench.before(bench.free["soon"], "soon"))
    bench.never_idle(window_idle(block))


def turned(bench: Bench) -> Value:
    """The codes of a window as they were before it turned; it is taken when they are so again."""
    block, sink = bench.block, bench.outputs["o"]
    codes = Value.cast(sink.payload)
    if not block.turn:
        return codes
    m, turning, count = bench.m, bench.free["turning"], len(codes) // (block.turn * block.bits)
    turns, result = Signal(range(count), name="turns"), Signal(len(codes), name="turned")
    bench.assume(~turning | (sink.valid & ~sink.ready))
    bench.assume(~bench.moves(sink) | (turns == 0))
    with m.If(turning):
        m.d.sync += turns.eq(Mux(turns == count - 1, 0, turns + 1))
    with m.Switch(turns):
        for number in range(count):
            with m.Case(number):
                m.d.comb += result.eq(codes.rotate_left(number * block.turn * block.bits))
    return result


def window_idle(block: Any) -> int:
    """Most cycles between two beats: rows and columns of padding, which are walked without input."""
    columns, rows = block.width + 2 * block.padding, 2 * block.padding + block.kernel
    return columns * rows * block.groups + block.latency


PAUSES = 4
ROUND = "two images without a pause, the latency, and four pauses"
FORMULA = "stable, order, formula, never idle, paths"


def image_proof(block: str, what: str, make: Any, claims: Any, beats: int, **more: Any) -> Proof:
    """`beats`: cycles that an image takes, in or out, whichever takes longer."""
    depth = IMAGES * beats + make().latency + PAUSES
    return Proof(block, what, make, claims, FORMULA, depth, ROUND, **more)


def window_proof(what: str, *geometry: Any, **more: Any) -> Proof:
    def make() -> Window:
        return Window(*geometry, **more)

    return image_proof("Window", what, make, window, make().load_cycles, apart=("o",) if "turn" in more else ())


PROOFS = [
    image_proof("Pool", "3 pixels, 2 groups", lambda: Pool(4, 3, signed(3), 2, 1, 2), pool, 6),
    image_proof("Pool", "of codes, halves to even", lambda: Pool(2, 3, unsigned(2), 2, 1, 1, "even"), pool, 6),
    image_proof("Pool", "halves to even", lambda: Pool(2, 3, signed(3), 2, 2, 1, "even"), pool, 6),
    image_proof("MaxPool", "3x3, squares of 2x2", lambda: MaxPool(1, 3, 3, 2, 2, 1), maxpool, 9),
    image_proof("MaxPool", "2x2, 2 groups", lambda: MaxPool(2, 2, 2, 2, 2, 1), maxpool, 8),
    image_proof("Shortcut", "stride 1, more channels", lambda: Shortcut(2, 1, 2, 2, 1, "sample", 4, 1, 1), shortcut, 8),
    image_proof("Shortcut", "every second pixel", lambda: Shortcut(1, 3, 2, 2, 2, "sample", 2, 1, 1), shortcut, 8),
    image_proof("Shortcut", "every second pixel, with a queue", lambda: Shortcut(3, 1, 2, 2, 2, "sample", 5, 1, 1),
                shortcut, 6),
    image_proof("Shortcut", "every second pixel, iCE40", lambda: Shortcut(3, 1, 2, 2, 2, "sample", 5, 1, 1), shortcut,
                8, platform=ICE40),
    image_proof("Shortcut", "means of 2x2", lambda: Shortcut(2, 2, 2, 2, 2, "average", 3, 1, 1), shortcut, 8),
    window_proof("2x2, 2 channels, 3x3 kernel", 2, 2, 2, 1, 3, 1, 1, 1),
    window_proof("2x2, 3x3 kernel, pad code 2", 1, 2, 2, 2, 3, 1, 1, 1, pad_code=2),
    window_proof("3x4, 3x3 kernel, no padding", 1, 3, 4, 1, 3, 1, 0, 1),
    window_proof("3x2, 3x3 kernel, stride 2", 1, 3, 2, 1, 3, 2, 1, 1),
    window_proof("1x3, 3x3 kernel, without a store", 1, 1, 3, 1, 3, 1, 1, 1, prefetch=False),
    window_proof("3x3, 3x3 kernel, turning", 2, 3, 3, 1, 3, 1, 0, 1, prefetch=False, turn=9),
    window_proof("3x3, 1x1 kernel, stride 2", 1, 3, 3, 2, 1, 2, 0, 1),
]  # fmt: skip
