"""Blocks with a fault are not proven: each is told by the property that it breaks. Nor is what was stopped."""

import threading
from dataclasses import replace
from functools import partial

from amaranth.hdl import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.boards.proof import buffers, runner
from popstream.boards.proof.proving import chosen
from popstream.boards.proof.runner import FAILED, KILLED, OPEN, TIMEOUT, Outcome, prove
from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.skid import LastStage, Skid
from popstream.hw.lib.stream import connect

SECONDS = 60


def outcome(tmp_path, block: str, make, **changes) -> Outcome:
    """The first proof of `block`, of another one in its place."""
    return prove(replace(chosen([block])[0], make=make, **changes), tmp_path, SECONDS)


class Forgetful(Skid):
    """Keeps the beat, and forgets that it has one."""

    @staticmethod
    def keeps(valid: Value, full: Value, ready: Value) -> Value:
        return valid & ~full & ~ready


def test_a_skid_buffer_that_withdraws_its_beat(tmp_path):
    found = outcome(tmp_path, "Skid", lambda: Forgetful(2), claims=lambda bench: None)
    assert found.status == FAILED
    assert found.what in ("o: valid stays until it is taken", "o: payload stays until it is taken")
    assert found.trace is not None
    assert b"$enddefinitions" in found.trace.read_bytes()
    assert found.sentence().endswith(f"; waves: {found.trace}")


def test_a_fifo_that_is_off_by_one(tmp_path):
    """As a bounded proof, which needs nothing of the inside: one word is overwritten before it is read."""

    class OffByOne(StreamFifo):
        def elaborate(self, platform):
            self.depth += 1  # one beat more is let in than the memory has words
            m = super().elaborate(platform)
            self.depth -= 1
            return m

    claims = lambda bench: buffers.Order(bench, bench.block.depth) and None  # noqa: E731
    found = outcome(tmp_path, "StreamFifo", lambda: OffByOne(2, 5), claims=claims, induction=False, depth=12)
    assert found.status == FAILED
    assert "no more than 5 in the block" in found.what


class Wires(wiring.Component):
    """A LastStage without its register: what comes leaves in the same cycle."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(2)), "o": Out(stream.Signature(2))})

    def elaborate(self, platform):
        m = Module()
        connect(m, self.i, self.o)
        return m


def test_a_path_that_was_promised_not_to_be(tmp_path):
    found = outcome(tmp_path, "LastStage", Wires, claims=buffers.wires)
    assert (found.status, found.what) == (
        FAILED,
        "i_ready depends on o_ready within a cycle; o_valid depends on i_valid within a cycle; "
        "o_payload depends on i_payload within a cycle",
    )


def test_what_holds_for_a_while_only_is_not_called_proven(tmp_path):
    """Without the names of its places, induction cannot go through."""
    found = outcome(tmp_path, "LastStage", lambda: LastStage(2), claims=lambda bench: buffers.Order(bench, 2) and None)
    assert found.status == OPEN
    assert found.what.startswith("induction does not go through: ")


def test_a_block_that_stands_still_is_not_proven(tmp_path):
    def claims(bench) -> None:
        buffers.last_stage(bench)
        bench.assume(~bench.inputs["i"].valid)

    found = outcome(tmp_path, "LastStage", partial(LastStage, 2), claims=claims)
    assert (found.status, found.what) == (FAILED, "this never happens in 30 cycles: the followed item leaves")


def test_what_takes_too_long_is_not_proven(tmp_path):
    found = prove(chosen(["Skid"])[0], tmp_path, 0)
    assert (found.proven, found.status) == (False, TIMEOUT)


def test_what_loses_its_solver_is_not_proven(tmp_path, monkeypatch):
    def dying(folder):
        program = folder / "bitwuzla"
        folder.mkdir(exist_ok=True)
        program.write_text('#!/bin/sh\n[ "$1" = --help ] && echo --lang && exit\nkill -9 $$\n')
        program.chmod(0o755)
        return folder

    monkeypatch.setattr(runner, "solver", dying)
    found = prove(chosen(["Skid"])[0], tmp_path, SECONDS)
    assert (found.proven, found.status, found.what) == (False, KILLED, "the solver ended without an answer")


def test_what_is_stopped_is_not_proven(tmp_path, monkeypatch):
    """As Ctrl-C does."""
    popen = runner.subprocess.Popen
    monkeypatch.setattr(
        runner.subprocess, "Popen", lambda command, **more: popen(["sleep", "60"], start_new_session=True)
    )
    threading.Timer(0.2, runner.stop).start()
    found = prove(chosen(["Skid"])[0], tmp_path, SECONDS)
    assert (found.status, found.what) == (KILLED, "SymbiYosys ended by signal 9")
