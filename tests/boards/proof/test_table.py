"""The table of proofs: each entry with a bench of its own; and its quick ones hold."""

import re

import pytest

from popstream.boards.proof.proving import PROOFS, chosen, prove_all

SECONDS = 120


def test_names_and_folders_are_each_of_one_proof():
    assert len({proof.name for proof in PROOFS}) == len(PROOFS)
    assert len({proof.folder for proof in PROOFS}) == len(PROOFS)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.folder)
def test_every_proof_has_its_own_block_its_properties_and_a_reason_for_its_depth(proof):
    bench = proof.bench()
    assert proof.block in {kind.__name__ for kind in type(bench.block).__mro__}
    text = bench.rtlil()
    assert text.count('FLAVOR "assert"') >= 2
    assert 'FLAVOR "cover"' in text
    assert proof.why
    assert re.search(r"input \d+ +\\clk", text)  # a clock that stands still would prove everything


def test_the_quick_ones_hold(tmp_path):
    outcomes = prove_all(chosen(quick=True), tmp_path, SECONDS, 1, lambda outcome: None)
    assert [outcome.sentence() for outcome in outcomes if not outcome.proven] == []
