"""Blocks with a fault are not proven: each is told by the property that it breaks. Nor is what was stopped."""

import threading
import time
from dataclasses import replace
from functools import partial

import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.boards.link import link
from popstream.boards.link.crc import SerialCrc
from popstream.boards.proof import buffers, pipeline, runner
from popstream.boards.proof.proving import chosen
from popstream.boards.proof.runner import FAILED, KILLED, OPEN, TIMEOUT, Outcome, prove
from popstream.hw.accelerator import Accelerator
from popstream.hw.folding.buffering import Buffer, Buffers
from popstream.hw.folding.folding import parallel
from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.planes import plane_pairs
from popstream.hw.lib.skid import LastStage, Skid
from popstream.hw.lib.stream import connect
from popstream.hw.unit.sequence import Sequencer

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
    found = prove(chosen(["Accelerator"])[0], tmp_path, 1)
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

    def stop() -> None:
        while not runner.RUNNING:
            time.sleep(0.01)
        runner.stop()

    threading.Thread(target=stop).start()
    found = prove(chosen(["Skid"])[0], tmp_path, SECONDS)
    assert (found.status, found.what) == (KILLED, "SymbiYosys was ended by a signal, 15")


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ("PReLU", {"shift": 2}),
        ("MaxPool", {"width": 4}),
    ],
)
def test_a_formula_that_is_not_the_blocks(tmp_path, block, fault):
    """The block is built by other parameters than those that it is proven by."""
    proof = chosen([block])[0]

    def make():
        made = proof.make()
        kind = type(made)

        class Faulty(kind):
            def elaborate(self, platform):
                right = {name: getattr(self, name) for name in fault}
                vars(self).update(fault)
                m = super().elaborate(platform)
                vars(self).update(right)
                return m

        made.__class__ = Faulty
        return made

    found = outcome(tmp_path, block, make)
    assert (found.status, found.what) == (FAILED, "each beat is what the formula gives, in order, once")


class Overdrawn(Sequencer):
    """Believes that it has a credit more than there are."""

    def elaborate(self, platform):
        self.credits += 1
        m = super().elaborate(platform)
        self.credits -= 1
        return m


def test_a_unit_with_a_credit_too_many(tmp_path):
    found = outcome(tmp_path, "Sequencer", lambda: Overdrawn(2, 2, plane_pairs(1, 2), 1, 3))
    assert (found.proven, found.trace is not None) == (False, True)
    assert "credits in hand, on their way back and away are all there are" in found.what


def test_a_skip_fifo_that_is_too_shallow(tmp_path):
    """It stops even where nothing outside pauses, which is looked at alone, as it is soon found."""

    def claims(bench) -> None:
        pipeline.moving(pipeline.LATENCY)(bench)
        bench.assume(bench.inputs["i"].valid & bench.outputs["o"].ready)

    network = pipeline.residual()
    shallow = {"sum": Buffers("stream", Buffer(1, 1), None)}
    make = partial(Accelerator, network, parallel(network), depths=shallow)
    found = outcome(tmp_path, "Accelerator", make, claims=claims)
    assert found.status == FAILED
    assert found.what.startswith("a beat passes within ")


class Trusting(SerialCrc):
    """Forgets that a byte of the CRC was wrong."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.start):
            m.d.sync += self.wrong.eq(0)
        return m


def test_a_crc_that_forgets_a_wrong_byte(tmp_path):
    found = outcome(tmp_path, "SerialCrc", Trusting)
    assert not found.proven
    assert "`wrong` tells that a drained byte was another" in found.what


def test_a_parser_that_does_not_look_at_the_crc(tmp_path, monkeypatch):
    """Its `If(crc.wrong)` is never true."""

    class Blind(SerialCrc):
        def __init__(self) -> None:
            super().__init__()
            self.known, self.wrong = self.wrong, Signal()  # the link looks at the second

        def elaborate(self, platform):
            self.wrong, told = self.known, self.wrong
            m = super().elaborate(platform)
            self.wrong = told
            return m

    monkeypatch.setattr(link, "SerialCrc", Blind)
    found = outcome(tmp_path, "HostLink", chosen(["HostLink"])[0].make)
    assert not found.proven
    assert "only a frame with the right CRC is " in found.what
