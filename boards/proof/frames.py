"""Proofs of what joins an accelerator to a design: frames in, words out."""

from __future__ import annotations

from amaranth.hdl import Array, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data

from popstream.boards.proof.contract import Bench
from popstream.boards.proof.inside import register
from popstream.boards.proof.proofs import Proof
from popstream.hw.wrappers.frames import Entry, Words

__all__ = ["PROOFS"]


def entry(bench: Bench) -> None:
    """A frame, whatever its length, becomes one image: its first pixels, zeros where it ends early, no more."""
    block, m = bench.block, bench.m
    i, o = bench.inputs["i"], bench.outputs["o"]
    comes, goes = bench.moves(i), bench.moves(o)
    last = i.payload.last if block.framed else 0
    count = Signal(range(block.pixels), name="count")  # pixels of the image that have gone on
    fresh = Signal(init=1, name="fresh")  # the next beat is a frame's first
    final = count == block.pixels - 1
    with m.If(goes):
        m.d.sync += count.eq(Mux(final, 0, count + 1))
    pixel, given = Value.cast(o.payload.pixel), Value.cast(i.payload.pixel)
    begun = count != 0
    if block.framed:
        with m.If(comes):
            m.d.sync += fresh.eq(last)
        bench.check(~(comes & fresh) | (goes & ~begun), "a frame's first pixel begins an image")
        bench.check(~(comes & ~goes) | (~begun & ~fresh), "only what lies behind a whole image is dropped")
        bench.check(~(goes & ~comes) | ((pixel == 0) & begun & fresh), "zeros fill up what ended early, nothing else")
        bench.check(bench.block.error == (comes & goes & (last != final)), "`error` tells of a wrong length, once")
    else:
        bench.check(comes == goes, "each pixel goes on in the cycle in which it comes")
    bench.check(~(comes & goes) | (pixel == given), "what goes on is what comes")
    bench.check(block.begun == (goes & ~begun), "`begun` marks the first pixel of each image")
    bench.check(block.inside == begun, "`inside` lasts from the first pixel to the last")
    waits = bench.before(o.valid & ~o.ready, "waits")
    bench.check(~(o.valid & ~begun & ~waits) | block.enable, "no image begins while not enabled")
    bench.reach(goes & final, "an image is whole")
    inner = bench.fragment  # for induction
    filling = register(inner, "filling")
    bench.check((register(inner, "count") == count) & (count < block.pixels), "it counts the pixels")
    bench.check(register(inner, "waiting") == waits, "it knows what it has offered")
    bench.check(~filling | (begun & fresh), "it fills up an image whose frame has ended")
    if block.framed:
        dropping = register(inner, "dropping")
        bench.check(~dropping | (~begun & ~fresh), "it drops the rest of a frame whose image is whole")
        bench.check(fresh == (filling | (~begun & ~dropping)), "it knows where a frame ends")
    else:
        bench.check(~filling, "without frames nothing is filled up")


def words(bench: Bench) -> None:
    """Label and logits one after the other, the last one marked; then the result goes."""
    i, o, m = bench.inputs["i"], bench.outputs["o"], bench.m
    logits = i.payload.logits
    expected = [i.payload.label, *(logits[index] for index in range(logits.shape().length))]
    index = Signal(range(len(expected)), name="index")
    final = index == len(expected) - 1
    with m.If(bench.moves(o)):
        m.d.sync += index.eq(Mux(final, 0, index + 1))
    wide = Array(Value.cast(word)[:32] if len(Value.cast(word)) == 32 else Value.cast(word) for word in expected)
    bench.check(o.valid == i.valid, "words are offered while there is a result")
    bench.check(~o.valid | (o.payload.word == wide[index]), "label and logits, in order, once")
    bench.check(o.payload.last == final, "the last word is marked")
    bench.check(i.ready == (o.ready & final), "the result goes with its last word")
    bench.check(register(bench.fragment, "index") == index, "it counts the words")
    bench.reach(bench.moves(i), "a result goes")


def result(classes: int) -> data.StructLayout:
    return data.StructLayout({"label": 8, "logits": data.ArrayLayout(signed(32), classes)})


STEP = "one cycle: each follows from the last"
FRAMES = "stable, one image a frame, fill, drop, error, paths"
PROOFS = [
    Proof("Entry", "3 pixels", lambda: Entry(unsigned(2), 3), entry, FRAMES, 2, STEP, induction=True),
    Proof("Entry", "1 pixel", lambda: Entry(unsigned(2), 1), entry, FRAMES, 2, STEP, induction=True),
    Proof("Entry", "3 pixels, without frames", lambda: Entry(unsigned(2), 3, False), entry,
          "stable, each pixel once, enable, paths", 2, STEP, induction=True),
    Proof("Words", "2 classes", lambda: Words(result(2)), words, "stable, order, last, paths", 2, STEP, induction=True),
]  # fmt: skip
