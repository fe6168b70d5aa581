"""Counters of the compute units: exact over a whole run, the table, the figures and the plots."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from popstream.hw.folding.folding import cycles, folded, interval, pixels
from popstream.hw.solver.solve import solve
from popstream.model.manifest import save
from popstream.sim import golden
from popstream.sim.driver.driver import Answer
from popstream.sim.driver.worker import ProgramError
from popstream.sim.reports import occupancy
from popstream.sim.reports.lanes import BIN, Occupancy, TooFewImagesError
from popstream.sim.reports.occupancy import measure
from tests.command import run_cli
from tests.networks import random_images, random_network

ROOT = Path("build/tests")
TARGET = 900


@pytest.fixture(scope="module")
def network():
    return random_network(8, height=6, width=6, channels=(4,), strides=(1,), name="counted", first_bits=(2, 2))


@pytest.fixture(scope="module")
def measured(network):
    return measure(network, solve(network, TARGET), random_images(network.input, 3, 20), ROOT, 0)


def test_every_chunk_of_every_image_is_counted(network, measured):
    images = random_images(network.input, 3, 20)
    assert np.array_equal(measured.answer.logits, golden.run_batches(network, images))
    nodes = folded(network)
    assert list(measured.units) == [node.name for node in nodes]
    busy, blocked = measured.counts.sum(axis=0)
    whole = [len(images) * pixels(node) * cycles(node, measured.units[node.name]) for node in nodes]
    assert busy.tolist() == whole
    assert (measured.counts >= 0).all()
    assert (measured.counts.sum(axis=1) <= BIN).all()
    assert len(measured.counts) == measured.answer.cycles // BIN
    assert blocked.sum() > 0


def test_steady_state(network, measured):
    first, last = measured.span
    assert 0 < first < last < 19
    assert measured.answer.emitted[last] <= measured.answer.accepted[-1] < measured.answer.emitted[last + 1]
    assert measured.interval == pytest.approx(max(interval(network, measured.units).values()), rel=0.1)
    assert measured.predicted == max(interval(network, measured.units).values())
    assert measured.shares.sum(axis=0) == pytest.approx(1)
    expected = [pixels(node) * cycles(node, measured.units[node.name]) / measured.interval for node in folded(network)]
    assert measured.shares[0] == pytest.approx(expected, abs=2 * BIN / (measured.cycles[1] - measured.cycles[0]))
    lanes = [fold.lanes if fold.arithmetic == "lanes" else 0 for fold in measured.units.values()]
    assert measured.busy == pytest.approx(100 * np.average(expected, weights=lanes), abs=2)
    assert measured.latency > measured.interval


def test_a_stage_behind_a_slower_one_starves_and_one_before_it_is_blocked(network):
    """The middle conv with a lane for each channel group alone: what feeds it is blocked, what it feeds starves."""
    folding = dict(solve(network, TARGET))
    names = list(folding)
    slow = names[1]
    folding[slow] = replace(folding[slow], simd=1, pe=1)
    found = measure(network, folding, random_images(network.input, 4, 10), ROOT, 0)
    busy, starved, blocked = found.shares
    assert busy[1] > 0.95
    assert blocked[0] > 0.5
    assert (starved[2:-1] > 0.5).all()


def test_too_few_images(measured):
    few = Answer(*(values[:2] for values in (measured.answer.labels, measured.answer.logits)),
                 measured.answer.accepted[:2], measured.answer.emitted[:2], 9)  # fmt: skip
    with pytest.raises(TooFewImagesError, match="2 images are too few for a steady state"):
        Occupancy(measured.units, measured.counts, few, 1)


def test_command(network, tmp_path):
    pytest.importorskip("matplotlib")
    save(network, tmp_path)
    given = [str(tmp_path), "--optimize", "0", "--root", str(ROOT), "--interval", str(TARGET)]
    status, printed, _ = run_cli("occupancy", *given, "--images", 20)
    assert status == 0
    assert "one-bit lanes, busy" in printed
    folder = ROOT / "counted"
    content = json.loads((folder / "occupancy.json").read_text())
    assert [stage["node"] for stage in content["stages"]] == [node.name for node in folded(network)]
    for stage in content["stages"]:
        assert stage["busy"] + stage["starved"] + stage["blocked"] == pytest.approx(100, abs=0.02)
        assert stage["cost"]["lut"] > 0
        length = content["column_cycles"] * len(stage["busy_over_time"])
        assert content["result_cycles"][-1] - content["column_cycles"] < length <= content["result_cycles"][-1] + BIN
        both = np.add(stage["busy_over_time"], stage["blocked_over_time"])
        assert 0 < max(stage["busy_over_time"]) <= both.max() <= 101  # each is rounded by itself
    assert 0 < content["busy"] <= 100
    assert content["interval_cycles"] == pytest.approx(content["predicted_interval_cycles"], rel=0.1)
    for plot in ("occupancy.png", "cost.png"):
        assert (folder / plot).read_bytes().startswith(b"\x89PNG")
    status, _, said = run_cli("occupancy", *given, "--images", 1)
    assert status == 1
    assert "1 images are too few for a steady state" in said


def test_a_hang_and_a_wrong_logit_fail(network, measured, tmp_path, monkeypatch):
    save(network, tmp_path)
    given = [str(tmp_path), "--root", str(tmp_path), "--interval", str(TARGET), "--images", "20"]
    wrong = replace(measured, answer=replace(measured.answer, logits=measured.answer.logits + 1))
    monkeypatch.setattr(occupancy, "measure", lambda *_: wrong)
    status, _, said = run_cli("occupancy", *given)
    assert (status, said) == (1, "error: 20 of 20 images differ from the golden model\n")

    def hang(*_):
        raise ProgramError("The accelerator hangs: no beat moved")

    monkeypatch.setattr(occupancy, "measure", hang)
    assert run_cli("occupancy", *given)[::2] == (1, "error: The accelerator hangs: no beat moved\n")
