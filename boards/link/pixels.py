"""Codes of an image, as they come from the host link's memory one a cycle, gathered into pixels."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value

__all__ = ["gather"]


def gather(m: Module, pixel: Any, channels: int, code: Value, advance: Signal) -> tuple[Signal, Value]:
    """Gathers codes into beats of the stream `pixel`, `channels` to each, the first one lowest.

    `code` is the memory's word two cycles of `advance` after it was asked for. Returns "the memory has read a code",
    to be set by whoever asks, and whether it may.
    """
    fetched, found, loaded, newest = Signal(), Signal(), Signal(), Signal(len(code), reset_less=True)
    earlier = Signal(len(code) * (channels - 1), reset_less=True)
    index = Signal(range(channels))
    last = index == channels - 1
    m.d.comb += [pixel.valid.eq(loaded & last), Value.cast(pixel.payload).eq(Cat(earlier, newest))]
    with m.If(advance):
        m.d.sync += [found.eq(fetched), loaded.eq(found), newest.eq(code)]
        with m.If(loaded):
            m.d.sync += [earlier.eq(Cat(earlier, newest) >> len(newest)), index.eq(Mux(last, 0, index + 1))]
    return fetched, ~loaded | ~last | pixel.ready
