"""Images marked by a last beat, on their way in; results as marked words, on their way out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from amaranth.hdl import Module, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.pipeline import next_of

__all__ = ["WORD_BITS", "Entry", "Words", "admitted", "result_words"]

WORD_BITS = 32


def admitted(beats: Iterable[tuple[int, bool]], pixels: int) -> tuple[list[int], int]:
    """What Entry makes of (pixel, last) beats: the pixels that go on, and how often `last` was misplaced."""
    out: list[int] = []
    errors = taken = 0
    dropping = False
    for pixel, last in beats:
        if dropping:
            dropping = not last
            continue
        out.append(pixel)
        taken += 1
        if taken == pixels or last:
            errors += last != (taken == pixels)
            out += [0] * (pixels - taken)
            dropping = not last
            taken = 0
    return out, errors


class Entry(wiring.Component):
    """Lets images in, one at a time, and keeps them in step with `last`: a frame of whatever length becomes one image.

    A frame that ends early is filled up with pixels of code 0; of one that goes on beyond the last pixel, the rest is
    dropped. Either raises `error` for a cycle. So a bad frame costs its own result and no other.

    Latency 0, a beat each cycle. `o.valid` does not wait for `o.ready`.

    Parameters
    ----------
    shape : of a pixel.
    pixels : of an image, at least 1.
    framed : whether `i` carries `last`; without, images follow one another by their count alone.

    Members
    -------
    i : In, stream of {"pixel": shape, "last": 1}, without framed of {"pixel": shape}.
    o : Out, stream of {"pixel": shape}.
    enable : In, 1 bit; low: no image begins. One that has begun goes in to its end.
    begun : Out, 1 bit: the first pixel of an image goes on in this cycle.
    inside : Out, 1 bit: an image has begun and not ended.
    error : Out, 1 bit: `last` came early, or did not come, in this cycle.
    """

    def __init__(self, shape: ShapeLike, pixels: int, framed: bool = True) -> None:
        if pixels < 1:
            raise ValueError(f"An image must have at least 1 pixel, not {pixels}")
        self.pixels = pixels
        self.framed = framed
        pixel = {"pixel": shape}
        offered = data.StructLayout(pixel | {"last": 1}) if framed else data.StructLayout(pixel)
        super().__init__(
            {
                "i": In(stream.Signature(offered)),
                "o": Out(stream.Signature(data.StructLayout(pixel))),
                "enable": In(1),
                "begun": Out(1),
                "inside": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count = Signal(range(self.pixels))
        final = Signal()
        opened = Signal()  # what is offered once stays offered, whatever becomes of `enable`
        waiting = Signal()
        filling = Signal()
        dropping = Signal()
        moves = Signal()
        m.d.comb += [
            final.eq(count == self.pixels - 1),
            opened.eq(self.enable | waiting | (count != 0)),
            moves.eq(self.o.valid & self.o.ready),
            self.begun.eq(moves & (count == 0)),
            self.inside.eq(count != 0),
        ]
        m.d.sync += waiting.eq(self.o.valid & ~self.o.ready)
        with m.If(moves):
            m.d.sync += count.eq(next_of(count, self.pixels))
        with m.If(filling):
            m.d.comb += self.o.valid.eq(1)
            with m.If(moves & final):
                m.d.sync += filling.eq(0)
        with m.Elif(dropping):
            m.d.comb += self.i.ready.eq(1)
            if self.framed:
                with m.If(self.i.valid & self.i.payload.last):
                    m.d.sync += dropping.eq(0)
        with m.Else():
            m.d.comb += [
                self.o.valid.eq(self.i.valid & opened),
                self.i.ready.eq(self.o.ready & opened),
                Value.cast(self.o.payload.pixel).eq(Value.cast(self.i.payload.pixel)),
            ]
            if self.framed:
                last = self.i.payload.last
                with m.If(moves & (last != final)):
                    m.d.comb += self.error.eq(1)
                    m.d.sync += [filling.eq(last), dropping.eq(~last)]
        return m


def result_words(label: int, logits: Sequence[int]) -> list[int]:
    """The words of one result as unsigned integers: the label, then the logits in two's complement."""
    return [int(label), *(int(logit) % 2**WORD_BITS for logit in logits)]


class Words(wiring.Component):
    """A result as 1 + O words of 32 bits: the label, then each class's logit; the last one is marked.

    Latency 0; a word each cycle. The result stays at `i` until its last word is taken.

    Parameters
    ----------
    shape : of a result, {"label": unsigned, "logits": array of signed(32)}.

    Members
    -------
    i : In, stream of shape.
    o : Out, stream of {"word": 32, "last": 1}.
    """

    def __init__(self, shape: data.StructLayout) -> None:
        word = data.StructLayout({"word": WORD_BITS, "last": 1})
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(word))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        logits = self.i.payload.logits
        words = [self.i.payload.label, *(logits[index] for index in range(logits.shape().length))]
        index = Signal(range(len(words)))
        final = index == len(words) - 1
        with m.Switch(index):
            for number, word in enumerate(words):
                with m.Case(number):
                    m.d.comb += self.o.payload.word.eq(word)
        m.d.comb += [
            self.o.payload.last.eq(final),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready & final),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += index.eq(next_of(index, len(words)))
        return m
