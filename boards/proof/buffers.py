"""Proofs of what only carries beats: FIFOs of every kind, skid buffers, forks, changes of lanes."""

from __future__ import annotations

from math import gcd
from typing import Any

from amaranth.hdl import Cat, Mux, Signal, Value

from popstream.boards.proof.contract import Bench
from popstream.boards.proof.inside import Memory, part, register
from popstream.boards.proof.order import Order, holds
from popstream.boards.proof.proofs import ICE40, Proof
from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.skid import LastStage, Skid
from popstream.hw.lib.stream import Fork, Repack

__all__ = ["PROOFS"]

Place = tuple[Any, Any]
WIDTH = 2  # of payloads: nothing that is decided depends on one
STEP = "one cycle: the block's places are named, and what they hold is due"
NO_PATH = (("o_ready", "i_ready"), ("i_valid", "o_valid"), ("i_payload", "o_payload"))


def kept(bench: Bench, *path: str) -> Place:
    """What a skid buffer keeps."""
    return register(bench.fragment, *path, "full"), lambda position: register(bench.fragment, *path, "kept")


def staged(bench: Bench, *path: str) -> list[Place]:
    """The places of a LastStage; its `ready` is low while both are taken."""
    inner = part(bench.fragment, *path)
    full, _ = skid = kept(bench, *path, "skid")
    valid, payload = register(inner, "i__valid"), register(inner, "i__payload")
    bench.check(register(inner, "ready") == ~(valid & full), "it is ready but where both places are taken")
    return [skid, (valid, lambda position: payload)]


def skid(bench: Bench) -> None:
    holds(bench, Order(bench, 1, passes=True, within=0), [kept(bench)])


def wires(bench: Bench) -> None:
    """A block that is no more than its wires."""
    holds(bench, Order(bench, 0, passes=True, within=0), [])


def last_stage(bench: Bench) -> None:
    holds(bench, Order(bench, 2, within=0), staged(bench))


def last_register(bench: Bench) -> None:
    """On an iCE40: the output register alone."""
    payload = register(bench.fragment, "i__payload")
    holds(bench, Order(bench, 1, within=0), [(register(bench.fragment, "i__valid"), lambda position: payload)])


def register_fifo(bench: Bench) -> None:
    """A FIFO of one beat."""
    o = bench.outputs["o"]
    holds(bench, Order(bench, 1, within=0), [(o.valid, lambda position: Value.cast(o.payload))])


def fifo(bench: Bench) -> None:
    """A FIFO with a memory: words[read address ...], the memory's read register, and what follows it."""
    block, inner = bench.block, bench.fragment
    order = Order(bench, block.depth, within=block.latency - 1)
    memory = Memory(inner, "memory")
    level, empty, valid = (register(inner, name) for name in ("level", "empty", "valid"))
    apart = block.apart and bench.platform is None
    written, beat = (register(inner, "write__en"), register(inner, "beat")) if apart else (0, 0)
    stored = Signal(range(block.depth), name="stored")  # of `level` words one may be on its way to the memory
    skids = block.skids and bench.platform is None
    words = block.depth - 1 - block.block - skids
    at = Signal(range(2 * memory.depth), name="at")
    address = Signal(range(memory.depth), name="address")
    end = Signal(range(2 * memory.depth), name="end")
    bench.m.d.comb += [
        at.eq(memory.read_address + (order.ahead - (order.level - level))[: len(level)]),
        address.eq(Mux(at >= memory.depth, at - memory.depth, at)),
        stored.eq(level - written),
        end.eq(memory.read_address + stored),
    ]
    data, word = memory.read_data, memory.word(address, "word")
    places = staged(bench, "skid") if block.block else [kept(bench, "skid")] if skids else []
    places += [(valid, lambda position: data), (stored, lambda position: word)]
    holds(bench, order, [*places, (written, lambda position: beat)] if apart else places)
    bench.check(level >= written, "what is on its way to the memory counts as one of its words")
    bench.check(empty == (stored == 0), "`empty` says that the memory holds nothing")
    bench.check(bench.inputs["i"].ready == (level != words), "`ready` says that the memory has room")
    bench.check(level <= words, "no more words than fit the memory")
    bench.check(memory.read_address < memory.depth, "the read address is one of the memory's")
    wrapped = Mux(end >= memory.depth, end - memory.depth, end)
    bench.check(memory.write_address == wrapped, "the write address is as many words behind the read address")


def fork(bench: Bench) -> None:
    """Each sink is offered each beat once, from when it comes until the sink takes it; it goes when all have."""
    i, m = bench.inputs["i"], bench.m
    took = Signal(bench.block.n, name="took")
    taking = Cat(bench.moves(sink) for sink in bench.outputs.values())
    m.d.sync += took.eq(Mux(bench.moves(i), 0, took | taking))
    bench.check(register(bench.fragment, "served") == took, "`served` are those that have the present beat")
    for index, (name, sink) in enumerate(bench.outputs.items()):
        bench.check(sink.valid == (i.valid & ~took[index]), f"{name}: the present beat is offered until it is taken")
        bench.check(
            ~sink.valid | (Value.cast(sink.payload) == Value.cast(i.payload)), f"{name}: it is the present beat"
        )
    bench.check(~i.valid | (i.ready == (took | taking).all()), "a beat goes when all sinks have it")
    bench.check((took == 0) | i.valid, "only what is offered was taken")
    bench.reach(bench.moves(i) & (took != 0), "a beat goes that was taken at different times")


def repack(bench: Bench) -> None:
    """Lanes are the items."""
    block, inner = bench.block, bench.fragment
    common, width = block.common, WIDTH
    splits, joins = block.lanes_in != common, block.lanes_out != common
    capacity = splits * block.lanes_in + joins * block.lanes_out
    order = Order(
        bench, capacity, block.lanes_in, block.lanes_out, passes=not capacity,
        within=capacity // common + 1 if capacity else 0,
    )  # fmt: skip
    places: list[Place] = []
    if joins:
        held, count = register(inner, "join", "held"), register(inner, "join", "count")
        parts = block.lanes_out // common
        start = Signal(range(2 * block.lanes_out + 1), name="start")  # the parts gathered so far lie uppermost
        bench.m.d.comb += start.eq(block.lanes_out - common * count)
        places.append((common * count, lambda position: held.word_select((start + position)[: len(start)], width)))
        bench.check(count <= parts, "no more parts than a beat has")
    if splits:
        rest, left = register(inner, "split", "held"), register(inner, "split", "left")
        places.append((common * left, lambda position: rest.word_select(position, width)))
        bench.check(left <= block.lanes_in // common, "no more parts than a beat has")
    holds(bench, order, places)


def fifo_proof(depth: int, width: int = WIDTH, ice40: bool = False, quick: bool = False, apart: bool = False) -> Proof:
    kind = "block RAM" if StreamFifo.in_block(depth, width) else "one register" if depth == 1 else "distributed RAM"
    latency = StreamFifo.latency_of(depth, width, apart)
    what = f"{depth} deep, {kind}{', apart' * apart}{', iCE40' * ice40}"
    return Proof(
        "StreamFifo", what, lambda: StreamFifo(width, depth, apart),
        register_fifo if depth == 1 else fifo, f"stable, order, count, offered after {latency}, paths",
        latency + 1, "the latency and one more: the places are named, so that each cycle follows from the last",
        induction=True, cut=NO_PATH if not ice40 else NO_PATH[1:], quick=quick, platform=ICE40 if ice40 else None,
    )  # fmt: skip


def repack_proof(lanes_in: int, lanes_out: int, channels: int, quick: bool = False) -> Proof:
    depth = (lanes_in + lanes_out) // gcd(lanes_in, lanes_out) + 3
    return Proof(
        "Repack", f"{lanes_in} to {lanes_out} lanes", lambda: Repack(WIDTH, lanes_in, lanes_out, channels), repack,
        "stable, order, count, offered in time, paths", depth, "the cycles that all lanes inside take to leave",
        induction=True, quick=quick,
    )  # fmt: skip


PROOFS = [
    Proof("Skid", "", lambda: Skid(WIDTH), skid, "stable, order, count, offered at once, paths", 2, STEP,
          induction=True, cut=(("o_ready", "i_ready"),), quick=True),
    Proof("Skid", "iCE40", lambda: Skid(WIDTH), wires, "stable, order, count, offered at once, paths", 2, STEP,
          induction=True, platform=ICE40),
    Proof("LastStage", "", lambda: LastStage(WIDTH), last_stage, "stable, order, count, offered after 1, paths", 2,
          STEP, induction=True, cut=NO_PATH),
    Proof("LastStage", "iCE40", lambda: LastStage(WIDTH), last_register, "stable, order, count, offered after 1, paths",
          2, STEP, induction=True, cut=NO_PATH[1:], platform=ICE40),
    *(fifo_proof(depth, quick=depth == 4) for depth in (1, 2, 3, 4, 5, 8)),
    *(fifo_proof(depth, ice40=True) for depth in (4, 7)),
    fifo_proof(34, 16, quick=True), fifo_proof(64, 12),
    fifo_proof(8, apart=True, quick=True), fifo_proof(9, apart=True), fifo_proof(64, 12, apart=True),
    fifo_proof(7, ice40=True, apart=True),
    Proof("Fork", "2 sinks", lambda: Fork(WIDTH, 2), fork, "stable, each beat once to each sink, paths", 2, STEP,
          induction=True, quick=True),
    Proof("Fork", "3 sinks", lambda: Fork(WIDTH, 3), fork, "stable, each beat once to each sink, paths", 2, STEP,
          induction=True),
    repack_proof(4, 2, 4), repack_proof(1, 4, 4), repack_proof(2, 3, 6), repack_proof(4, 6, 12),
]  # fmt: skip
