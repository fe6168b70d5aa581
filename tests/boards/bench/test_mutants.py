# amaranth: UnusedElaboratable=no
"""Faults planted in a netlist: one is active at a time, most are noticed, and none of them is the netlist as it was."""

import json

import pytest

from popstream.boards.bench.mutants import (
    IMAGES,
    PLANTED,
    Mutant,
    MutantError,
    Mutants,
    Step,
    Verdict,
    chosen_by_plusarg,
    plant,
    table,
)
from popstream.boards.bench.mutants import figures as content_of
from popstream.boards.bench.netlist import map_network
from popstream.cli import main
from tests.boards.link_bench import ROOT, images_and_logits, tiny_link

COUNT = 12


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The tiny network, its netlist's folder with faults, the faults, and the netlist with them, verilated."""
    link, folder = tiny_link(), tmp_path_factory.mktemp("mutants")
    map_network(link.network, link.folding, folder, taps=True)
    mutants = plant(folder, COUNT, seed=1)
    images, _ = images_and_logits(link, IMAGES)
    return link.network, folder, mutants, Mutants(link.network, folder, images, optimize=0, root=ROOT)


def test_faults_are_drawn_by_the_seed(planted):
    _, folder, mutants, _ = planted
    assert [mutant.number for mutant in mutants] == list(range(1, COUNT + 1))
    assert len({(m.mode, m.cell, m.port, m.bit, m.control) for m in mutants}) == COUNT
    assert {mutant.mode for mutant in mutants} <= {"inv", "const0", "const1", "cnot0", "cnot1"}
    module = json.loads((folder / PLANTED).read_text())["modules"]["top"]
    assert len(module["ports"]["mutant"]["bits"]) == COUNT.bit_length()
    assert all((mutant.control is not None) == mutant.mode.startswith("cnot") for mutant in mutants)


def test_faults_are_noticed_and_the_rest_told(planted):
    network, _, mutants, bench = planted
    seen = []
    verdicts = bench.verdicts(mutants, 2, seen.append)
    assert [verdict.mutant for verdict in verdicts] == mutants
    assert sorted(seen, key=lambda verdict: verdict.mutant.number) == verdicts
    noticed = [verdict for verdict in verdicts if verdict.noticed]
    assert len(noticed) >= COUNT // 2
    assert all(v.noticed.startswith(("node ", "The accelerator hangs")) for v in noticed)
    again = []
    assert bench.verdicts(mutants, 2, again.append) == verdicts  # kept: none is run again
    assert not again
    assert bench.kept(mutants[:-1]) == []  # of other faults
    (bench.folder / "verdicts.json").write_text("{")
    assert bench.kept(mutants) == []
    content = content_of(network, verdicts, 1, 60)
    assert (content["noticed"], len(content["survivors"])) == (len(noticed), COUNT - len(noticed))
    assert sum(content["by_step"]) == len(noticed)
    assert bench.notice(0, Step(4, 0.3))[0] is None  # without a fault it is golden, with pauses too


def test_a_survivor_that_is_slower_is_told_of():
    mutant = Mutant(3, "cnot1", "x" * 200, "I0", 0, 2)
    assert str(mutant) == f"cnot1 at I0[0] of {'x' * 40}...{'x' * 40}, by bit 2"
    network = tiny_link().network
    content = content_of(network, [Verdict(mutant, None, 3, 1.5), Verdict(mutant, "node a", 1, None)], 0, 1)
    assert content["survivors"][0]["slower"] == 1.5
    assert table(content).row_count == 1
    assert content["by_step"] == [1, 0, 0, 0]


def test_what_has_no_selector_is_refused():
    with pytest.raises(MutantError, match="no input mutant"):
        chosen_by_plusarg("module top(clk, rst);\n  input clk;\nendmodule\n")


def test_more_faults_than_there_are(planted, tmp_path):
    _, folder, _, _ = planted
    (tmp_path / "synth.json").write_bytes((folder / "synth.json").read_bytes())
    with pytest.raises(
        MutantError, match=r"A netlist of [\d,]+ cells takes as many faults, not 1,000,000; ask for fewer"
    ):
        plant(tmp_path, 1_000_000, 0)


def test_wrong_numbers(capsys):
    assert main(["mutate", "digits-w1a2", "--mutants", "0"]) == 2
    assert "--mutants must be 1 to 10,000, not 0" in capsys.readouterr().err
