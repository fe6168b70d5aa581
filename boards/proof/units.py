# amaranth: UnusedElaboratable=no
"""Proofs of the matrix-vector unit: its credits, and what comes of a window."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Array, Const, Mux, Signal, Value

from popstream.boards.proof.contract import Bench
from popstream.boards.proof.follow import Follow
from popstream.boards.proof.inside import register
from popstream.boards.proof.proofs import Proof
from popstream.hw.lib.planes import plane_pairs
from popstream.hw.unit.matvec import MatVec
from popstream.hw.unit.sequence import Sequencer
from popstream.model.manifest import weight_integers

__all__ = ["PROOFS"]


def sequencer(bench: Bench) -> None:
    """A group starts with a credit in hand alone; credits are neither lost nor made."""
    block, m = bench.block, bench.m
    away = Signal(range(block.credits + 1), name="away")  # groups that have started and not left
    starts = block.issue & block.first
    m.d.sync += away.eq(away + starts - block.credit)
    bench.assume(~block.credit | (away != 0), "only what has started leaves")
    bench.assume(~bench.before(block.valid & ~block.ready, "waits") | block.valid, "a window stays")
    left, back = register(bench.fragment, "left"), register(bench.fragment, "back")
    granted = bench.before(register(bench.fragment, "granted_next"), "granted_next")
    bench.check(~starts | (left != 0), "no group starts without a credit: they are never negative")
    bench.check(left + back + away == block.credits, "credits in hand, on their way back and away are all there are")
    bench.check(~granted | (left != 0), "a start is granted only with a credit in hand")
    bench.check(~starts | granted, "what starts was granted")
    bench.reach(starts & (left == 1), "the last credit is taken")


def matvec(bench: Bench) -> None:
    """Each channel of each window: its dot product and correction; the output FIFO has room for all that comes."""
    block, source = bench.block, bench.inputs["i"]
    channels, length = block.weights.shape
    parts = channels // block.lanes
    f = Follow(bench, (WINDOWS, parts), (WINDOWS,), block.lanes)
    mine = source.valid & (f.at[0] == f.place[0])
    waits = bench.before(source.valid & ~source.ready, "waits")
    codes = Value.cast(source.payload)
    kept = f.keep(mine & ~waits, codes, "kept")
    seen = Signal(len(codes), name="seen")  # the window, taken or not
    bench.m.d.comb += seen.eq(Mux(mine & ~waits, codes, kept))
    integers = weight_integers(block.weights, block.weight_bits, block.kind)
    sums = []
    for channel in range(channels):
        terms = (seen.word_select(n, block.act_bits) * int(integers[channel, n]) for n in range(length))
        sums.append(sum(terms, Const(int(block.correction[channel]))))
    f.expect(Array(sums)[f.place[1] * block.lanes + f.lane], block.acc_shape)
    bench.check(~f.due | (f.sent + source.valid > f.place[0]), "nothing comes of a window before it is there")
    if not block.turns:
        bench.check(source.ready == bench.before(block.soon, "soon"), "`soon` tells `ready` a cycle ahead")
    else:
        turn = block.simd * block.act_bits
        before = bench.before(codes, "codes")
        after = Mux(bench.before(block.turning, "turning"), before.rotate_right(turn), before)
        bench.assume(~waits | (source.valid & (codes == after)), "a window stays, and turns when it is to")
        home = Signal(range(block.chunks), name="turned")
        step = block.turning
        bench.m.d.sync += home.eq(Mux(step, Mux(home == block.chunks - 1, 0, home + 1), home))
        bench.check(~bench.moves(source) | ((home == 0) & ~step), "a window is taken as it was given")
    full = ~register(bench.fragment, "fifo", "i__ready")
    bench.check(~(register(bench.fragment, "i__valid") & full), "the output FIFO has room for all that comes")
    left = register(bench.fragment, "sequencer", "left")
    starts = block.busy & register(bench.fragment, "sequencer", "first")
    bench.check(~starts | (left != 0), "credits are never negative")
    bench.never_idle(block.latency + block.cycles + 3)


WINDOWS = 2
PAUSES = 3
CREDITS = "two windows, the latency, and three pauses"
UNIT = "stable, order, formula, credits, output FIFO, never idle, paths"


def unit(what: str, weights: list[list[int]], bits: tuple[int, int], simd: int, pe: int, **more: Any) -> Proof:
    def make() -> MatVec:
        return MatVec(np.array(weights), *bits, simd, pe, **more)

    block = make()
    depth = WINDOWS * (block.cycles + block.turns) + block.latency + PAUSES
    return Proof("MatVec", what, make, matvec, UNIT, depth, CREDITS, apart=("i",) if block.turns else ())


def order(groups: int, chunks: int, bits: tuple[int, int], credits: int) -> Proof:
    steps = plane_pairs(*bits)
    return Proof(
        "Sequencer", f"{groups} groups, {chunks} chunks, {len(steps)} steps, {credits} credits",
        lambda: Sequencer(groups, chunks, steps, 1, credits), sequencer, "credits: never negative, none lost", 2,
        "one cycle: where all credits are is named", induction=True,
    )  # fmt: skip


PROOFS = [
    order(2, 2, (1, 2), 3), order(1, 1, (1, 1), 2), order(3, 2, (1, 2), 4),
    unit("lanes, W1A1, 2 chunks", [[1, 0], [0, 0]], (1, 1), 1, 1),
    unit("lanes, W1A2, 2 PE, 2 beats a group", [[1, 0], [0, 1]], (1, 2), 1, 2, lanes=1),
    unit("lanes, W2A2, 2 planes", [[3, 0], [1, 2]], (2, 2), 2, 1, planes=2),
    unit("lanes, W1A1, one chunk", [[1, 0], [0, 1]], (1, 1), 2, 2),
    unit("multipliers", [[3, 0], [1, 2]], (2, 1), 1, 2, arithmetic="mac", lanes=1),
    unit("turning", [[1, 0], [0, 0]], (1, 1), 1, 2, turns=True),
    unit("lanes, signed W2A1", [[3, 1], [2, 0]], (2, 1), 2, 1, kind="signed"),
]  # fmt: skip
