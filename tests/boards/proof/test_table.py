"""The table of proofs: complete, each entry with a bench of its own; and its quick ones hold."""

import importlib
import inspect
import pkgutil
import re

import pytest
from amaranth.hdl import Elaboratable

import popstream.boards.link
import popstream.hw
from popstream.boards.proof.proving import LEFT_OUT, PROOFS, chosen, names, prove_all

SECONDS = 120


def elaboratables() -> dict[str, type]:
    """Every class of hardware in hw/ and boards/link, by name."""
    found = {}
    for package in (popstream.hw, popstream.boards.link):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, thing in vars(importlib.import_module(module.name)).items():
                if inspect.isclass(thing) and issubclass(thing, Elaboratable) and thing.__module__ == module.name:
                    found[name] = thing
    return found


def test_every_block_is_proven_or_left_out_for_a_reason():
    blocks, proven, left_out = set(elaboratables()), set(names()), set(LEFT_OUT)
    assert len(blocks) > 30
    assert blocks - proven - left_out == set()
    assert (proven | left_out) - blocks == set()
    assert proven & left_out == set()
    assert all(len(reason) > 20 for reason in LEFT_OUT.values())
    without = [name for name, reason in LEFT_OUT.items() if reason.startswith("no stream")]
    assert [name for name in without if "stream." in inspect.getsource(elaboratables()[name])] == []


def test_names_and_folders_are_each_of_one_proof():
    assert len({proof.name for proof in PROOFS}) == len(PROOFS)
    assert len({proof.folder for proof in PROOFS}) == len(PROOFS)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.folder)
def test_every_proof_has_its_own_block_its_properties_and_a_reason_for_its_depth(proof):
    bench = proof.bench()
    assert proof.block in {kind.__name__ for kind in type(bench.block).__mro__} | set(getattr(bench.block, "of", ()))
    text = bench.rtlil()
    assert text.count('FLAVOR "assert"') >= 2
    assert 'FLAVOR "cover"' in text
    assert proof.why
    assert re.search(r"input \d+ +\\clk", text)  # a clock that stands still would prove everything


def test_the_quick_ones_hold(tmp_path):
    outcomes = prove_all(chosen(quick=True), tmp_path, SECONDS, 1, lambda outcome: None)
    assert [outcome.sentence() for outcome in outcomes if not outcome.proven] == []
