"""Proofs of the blocks that compute on values beat by beat: thresholds, requantization, PReLU, sums, logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from amaranth.hdl import Array, Cat, Const, Mux, Shape, Signal, Value, signed, unsigned

from popstream.boards.proof.contract import Bench
from popstream.boards.proof.follow import Follow, free, largest, walk
from popstream.boards.proof.proofs import Proof
from popstream.hw.blocks.add import Add
from popstream.hw.blocks.head import Classifier
from popstream.hw.blocks.lookup import Lookup
from popstream.hw.blocks.prelu import PReLU
from popstream.hw.blocks.requant import Requant
from popstream.hw.blocks.threshold import Threshold
from popstream.hw.lib.accumulate import PartialMaxima, PartialSums

__all__ = ["PROOFS"]

TURNS = 2  # of the channel groups


def chosen(table: Sequence[int], group: Value, lane: Value, lanes: int) -> Value:
    """The entry of a channel."""
    shape = Shape.cast(range(min(*table, 0), max(*table, 1) + 1))
    return Array(Const(int(entry), shape) for entry in table)[group * lanes + lane]


def saturate(value: Value, bits: int) -> Value:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    return Mux(value < low, low, Mux(value > high, high, value))


def each(bench: Bench) -> tuple[Follow, Callable[[Any], Value]]:
    """Each output beat is of the input beat of the same number; and what gives the followed channel's entry."""
    block = bench.block
    sizes = (TURNS, block.channels // block.lanes)
    f = Follow(bench, sizes, sizes, block.lanes)
    bench.never_idle(block.latency + 1)
    return f, lambda table: chosen([int(entry) for entry in table], f.place[1], f.lane, block.lanes)


def followed(f: Follow, shape: Shape) -> Signal:
    """The followed value."""
    mine = [at == place for at, place in zip(f.at, f.place, strict=True)]
    return f.keep(f.comes & Cat(mine).all(), f.item(shape), "kept")


def number(f: Follow, groups: int) -> Value:
    return f.place[0] * groups + f.place[1]


def threshold(bench: Bench) -> None:
    f, entry = each(bench)
    block = bench.block
    kept = followed(f, block.shape)
    passed = [kept >= entry(column) for column in block.thresholds.T]
    f.expect(sum(passed, Const(0, 1)), unsigned(block.bits), number(f, block.channels // block.lanes))


def prelu(bench: Bench) -> None:
    f, entry = each(bench)
    block = bench.block
    d = followed(f, signed(block.stream_bits)) - entry(block.shift_in)
    bent = (d * entry(block.slope) + (1 << block.shift - 1)) >> block.shift
    result = saturate(Mux(d >= 0, d, bent) + entry(block.shift_out), block.stream_bits)
    f.expect(result, signed(block.stream_bits), number(f, block.channels // block.lanes))


def requant(bench: Bench) -> None:
    f, entry = each(bench)
    block, groups = bench.block, bench.block.channels // bench.block.lanes
    y = followed(f, block.acc_shape) * entry(block.multiplier) + entry(block.bias) + (1 << block.shift - 1)
    total = y >> block.shift
    if block.even:
        total = total - (total[0] & ((y & (1 << block.shift) - 1) == 0))
    if block.skip:
        total = total + skipped(bench, f, groups, block.stream_bits)
    result = saturate(total, block.stream_bits)
    if block.relu:
        result = Mux(result < 0, 0, result)
    f.expect(result, signed(block.stream_bits), number(f, groups))


def skipped(bench: Bench, f: Follow, groups: int, bits: int) -> Signal:
    """The value at i_skip that belongs to the followed one, which does not come before it."""
    port = bench.inputs["i_skip"]
    at = walk(bench, port, (TURNS, groups), "skip_at")
    mine = Cat(a == b for a, b in zip(at, f.place, strict=True)).all() & bench.moves(port)
    lane = Value.cast(port.payload).word_select(f.lane, bits).as_signed()
    come = bench.count(port, "i_skip") > number(f, groups)
    bench.check(~f.due | come, "no sum comes before its skip beat")
    return f.keep(mine, lane, "skipped")


def add(bench: Bench) -> None:
    block = bench.block
    f = Follow(bench, (TURNS, 1), (TURNS, 1), block.lanes)
    total = followed(f, signed(block.bits[0])) + skipped(bench, f, 1, block.bits[1])
    result = saturate(total, block.stream_bits)
    f.expect(Mux((result < 0) & block.relu, 0, result), signed(block.stream_bits), number(f, 1))
    bench.never_idle(block.latency + 1)


def lookup(bench: Bench) -> None:
    f, entry = each(bench)
    block = bench.block
    code = followed(f, unsigned(block.bits))
    found = Array(entry(column) for column in block.table.T)[code]
    f.expect(found, block.shape, number(f, block.channels // block.lanes))


def classifier(bench: Bench) -> None:
    """All logits of one image, and the lowest index of the largest."""
    block, sink = bench.block, bench.outputs["o"]
    beats = block.classes // block.lanes
    f = Follow(bench, (TURNS,), (TURNS, beats))
    logits = []
    for index in range(block.classes):
        part, lane = divmod(index, block.lanes)
        acc = Value.cast(f.source.payload[lane])
        mine = f.comes & (f.at[0] == f.place[0]) & (f.at[1] == part)
        logits.append(f.keep(mine, acc, f"acc{index}") + int(block.bias[index]))
        right = sink.payload.logits[index] == logits[-1]
        bench.check(~f.due | right, "each logit is the class's sum and bias, in order")
    best: Value = logits[0]
    label: Value = Const(0, 8)
    for index, logit in enumerate(logits[1:], 1):
        best, label = largest(best, logit), Mux(logit > best, index, label)
    bench.check(~f.due | (sink.payload.label == label), "the label is the first of the largest logits")
    bench.check(~f.due | (f.sent >= (f.place[0] + 1) * beats), "no result comes before its image")
    bench.never_idle(block.latency + block.classes + 1)


def partial(bench: Bench) -> None:
    """Sums, or maxima, at addresses; the producer marks first, last and again as it must."""
    block, i, o, m = bench.block, bench.inputs["i"], bench.outputs["o"], bench.m
    beat, comes = i.payload, bench.moves(i)
    terms = max(block.terms, 2)
    begun = Array(Signal(range(terms + 1), name=f"begun{k}") for k in range(block.depth))
    sums = Array(Signal(signed(6), name=f"sum{k}") for k in range(block.depth))
    latest, any_yet = Signal(range(block.depth), name="latest"), Signal(name="any_yet")
    at = beat.address
    bench.assume(beat.first == (begun[at] == 0), "a sum begins with its first")
    bench.assume(beat.last | (begun[at] < terms - 1), "a sum ends with its last term")
    if block.spacing == 1:
        bench.assume(beat.again == (any_yet & (latest == at)), "an address that comes again is marked")
    else:
        bench.assume(~any_yet | (latest != at), "an address comes again after the spacing")
    value = Value.cast(beat["values"][0])
    total = Mux(beat.first, block.start + Const(0, 1), sums[at])
    maxima = isinstance(block, PartialMaxima)
    after = Mux(beat.first, value, largest(total, value)) if maxima else total + value
    with m.If(comes):
        m.d.sync += [sums[at].eq(after), begun[at].eq(Mux(beat.last, 0, begun[at] + 1)), latest.eq(at), any_yet.eq(1)]
    place = free(bench, SUMS, "place")
    ended, got = Signal(range(bench.depth + 1), name="ended"), bench.count(o, "o")
    m.d.sync += ended.eq(ended + (comes & beat.last))
    due, kept = o.valid & (got == place), Signal(signed(6), name="kept")
    with m.If(comes & beat.last & (ended == place)):
        m.d.sync += kept.eq(after)
    bench.check(~due | (Value.cast(o.payload[0]) == kept), "each sum is that of its address, in order, once")
    bench.check(~due | (ended > place), "no sum comes before its last term")
    bench.reach(due & (place == SUMS - 1), f"sum {SUMS} comes", bench.depth)
    bench.never_idle(block.latency + 1)


SUMS = 3
PAUSES = 4
FORMULA = "stable, order, formula, never idle, paths"
ROUND = "all channel groups twice, the latency, and four pauses"


def value_proof(block: str, what: str, make: Any, claims: Any, beats: int, latency: int) -> Proof:
    """`beats`: cycles that TURNS turns take."""
    return Proof(block, what, make, claims, FORMULA, beats + latency + PAUSES, ROUND)


VALUES = [[-8, 0, 1, 7], [-1, -1, 3, 2], [-8, 0, 1, 7], [0, 1, 4, -3]]
THRESHOLDS = [[-2, 0, 1], [-1, -1, 3], [-4, 2, 2], [0, 1, 4]]
PROOFS = [
    value_proof("Threshold", "2 bits, 2 lanes of 4", lambda: Threshold(THRESHOLDS, signed(3), 2), threshold, 4, 3),
    value_proof("Threshold", "block RAM", lambda: Threshold(THRESHOLDS, signed(3), 2, "block"), threshold, 4, 5),
    value_proof("PReLU", "2 channels", lambda: PReLU([1, -1], [1, -3], [-1, 2], 1, 3, 1), prelu, 4, 5),
    value_proof("Requant", "2 channels", lambda: Requant([1, -2], [2, 1], 1, 3, True, unsigned(3), 1, False), requant,
                4, 6),
    value_proof("Requant", "with a skip", lambda: Requant([1, -2], [2, 1], 1, 3, False, unsigned(3), 1, True), requant,
                4, 6),
    value_proof("Requant", "with a skip, tables in block RAM",
                lambda: Requant([1, 3], [-2, 1], 1, 3, True, signed(3), 1, True, "block"), requant, 4, 7),
    value_proof("Requant", "with a skip, halves to even",
                lambda: Requant([1, -2], [2, 1], 2, 3, False, signed(3), 1, True, ties="even"), requant, 4, 6),
    value_proof("Add", "2 lanes", lambda: Add((3, 2), 3, False, 2), add, 2, 2),
    value_proof("Add", "with a ReLU, to more bits", lambda: Add((2, 2), 3, True, 1), add, 2, 2),
    value_proof("Lookup", "2 bits, 2 lanes of 4", lambda: Lookup(VALUES, signed(4), 2), lookup, 4, 2),
    value_proof("Lookup", "block RAM", lambda: Lookup(VALUES, signed(4), 2, "block"), lookup, 4, 3),
    value_proof("Classifier", "3 classes", lambda: Classifier([1, -1, 0], unsigned(2), 1), classifier, 10, 3),
    value_proof("Classifier", "4 classes, 2 lanes", lambda: Classifier([1, -1, 0, 2], unsigned(2), 2), classifier,
                12, 3),
    Proof("PartialSums", "2 addresses", lambda: PartialSums(unsigned(2), 1, 2, 3, 1), partial, FORMULA, 16,
          "three sums of three terms, the latency, and four pauses"),
    Proof("PartialSums", "1 address", lambda: PartialSums(signed(2), 1, 1, 3), partial, FORMULA, 16,
          "three sums of three terms, the latency, and four pauses"),
    Proof("PartialSums", "an address rests a beat", lambda: PartialSums(unsigned(2), 1, 3, 2, 0, 2), partial, FORMULA,
          14, "three sums of two terms at three addresses, the latency, and pauses"),
    Proof("PartialMaxima", "2 addresses", lambda: PartialMaxima(unsigned(2), 1, 2), partial, FORMULA, 14,
          "three maxima of two terms, the latency, and four pauses"),
]  # fmt: skip
