"""Steady state on noise, and the figures of W and A that rest on it."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from popstream.cli import main
from popstream.hw.cost.network import Cost
from popstream.hw.solver.solve import solve
from popstream.sim.reports import bits, steady
from popstream.sim.reports.charts import bits_chart
from popstream.sim.reports.lanes import TooFewImagesError
from tests.networks import random_network

ROOT = Path("build/tests").resolve()


@pytest.fixture(scope="module")
def network():
    return random_network(8, height=6, width=6, channels=(4,), strides=(1,), name="counted", first_bits=(2, 2))


def test_a_longer_pipeline_takes_more_images_and_a_wrong_logit_is_an_error(network, monkeypatch):
    real, asked = steady.measure, []

    def measure(network, folding, codes, root, optimize):
        asked.append(len(codes))
        if len(asked) == 1:
            raise TooFewImagesError
        return real(network, folding, codes, root, optimize)

    monkeypatch.setattr(steady, "measure", measure)
    folding = solve(network, 900)
    found = steady.simulate(network, folding, ROOT, 1)
    assert asked == [12, 24]
    wrong = replace(found, answer=replace(found.answer, logits=found.answer.logits + 1))
    monkeypatch.setattr(steady, "measure", lambda network, folding, codes, *_: wrong)
    monkeypatch.setattr(steady, "IMAGES", 24)
    with pytest.raises(steady.MismatchError, match="24 of 24 images differ from the golden model"):
        steady.simulate(network, folding, ROOT, 1)


def test_one_folding_for_all_bits_takes_cycles_in_proportion(tmp_path, monkeypatch):
    """W1A2 with both planes at once, folded for W2A4 with one: eight times the pairs of planes on the same lanes."""
    points = [bits.Point(1, 2), bits.Point(2, 4, "signed")]
    networks = {
        point: random_network(5, weight_bits=w, act_bits=a, channels=(8,), strides=(1,), weights=kind)
        for point in points for w, a, kind in [point]
    }  # fmt: skip
    monkeypatch.setattr(bits, "network_of", lambda recipe, wanted: networks[wanted])
    monkeypatch.setattr(bits, "synthesised", lambda *_: Cost(lut=5_000))
    varied = bits.varied(networks.values())
    assert varied == {node.name for node in networks[points[0]].nodes if node.op == "conv"} - {"stem.conv"}
    rows = bits.measure("some-w1a2", points, 2_000, ROOT, Console(quiet=True))
    assert rows[0]["lanes"] == rows[1]["lanes"] > 0
    ratio = rows[1]["interval_cycles"] / rows[0]["interval_cycles"]
    assert rows[1]["product"] == round(5_000 * rows[1]["interval_cycles"])
    assert rows[1]["per_bits"] == pytest.approx(ratio / 4, abs=2e-3)
    assert 3.5 < ratio < 4.05
    for row in rows:
        assert sum(row["lut_by_kind"].values()) == 5_000
        assert min(row["lut_by_kind"].values()) > 0
    bits_chart(tmp_path / "bits.png", "some", rows)
    assert (tmp_path / "bits.png").read_bytes().startswith(b"\x89PNG")
    assert [row["weights"] for row in rows] == ["odd", "signed"]
    assert "over W*A" in [column.header for column in bits.table("some", rows).columns]


def test_weights_of_two_bits_and_more_are_signed_too():
    assert bits.points_of((2, 1)) == [(1, 1, "odd"), (1, 2, "odd"), (2, 1, "odd"), (2, 1, "signed"), (2, 2, "odd"),
                                      (2, 2, "signed")]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        (["nothing"], 2, "'nothing' is no recipe"),
        (["digits-w1a2", "--interval", "1"], 1, "1 cycles"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(given, status, message, tmp_path, capsys):
    assert main(["bits", *given, "--root", str(tmp_path), "--bits", "1"]) == status
    error = capsys.readouterr().err
    assert "error: " in error  # behind a progress bar
    assert message in error
    assert not (tmp_path / given[0] / "bits.json").exists()
