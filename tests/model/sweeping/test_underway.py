"""Copies of checkpoints: a fresh checkout goes on from them to the same weights; how far a sweep is, what is left."""

import datetime
import shutil
from dataclasses import replace

import pytest
import torch

from popstream.cli import main
from popstream.model.files import write_json
from popstream.model.sweeping import status, sweep
from popstream.model.sweeping.spec import SPECS, load_spec
from popstream.model.sweeping.status import progress, table
from popstream.model.sweeping.underway import UNDERWAY, copy, finished, restore, resumable
from tests.model.sweeping.test_sweep import RUNS, SPEC, write

TAUGHT = RUNS[2]


class Killed(BaseException):
    """As SIGKILL would: nothing of the program catches it."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A sweep cut off after the first of two epochs of its second run; its copies, and the unbroken result."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("kept")
    spec = load_spec(write(folder))
    runs = {run.name: run for run in spec.runs}
    unbroken = folder / "unbroken" / spec.name
    for name in (RUNS[0], TAUGHT):
        assert "error" not in sweep.train_run(runs[name], unbroken, "cpu", 1, False, "")
    copies, broken = folder / "copies" / spec.name, folder / "broken" / spec.name

    def cut(*given):
        copy(*given)
        raise Killed

    sweep.train_run(runs[RUNS[0]], broken, "cpu", 1, False, "", keep=copies)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "copy", cut)
        with pytest.raises(Killed):
            sweep.train_run(runs[TAUGHT], broken, "cpu", 1, False, "", keep=copies)
    return spec, runs, unbroken, broken, copies


def test_copies_are_what_is_needed_and_no_more(kept):
    _, runs, _, _, copies = kept
    found = {path.name: sorted(p.name for p in path.iterdir()) for path in copies.iterdir()}
    assert found == {RUNS[0]: ["final.pt", "result.json"], TAUGHT: ["needs.json", "state.pt"]}
    assert finished(runs[RUNS[0]], copies)
    assert torch.load(copies / TAUGHT / "state.pt", weights_only=True)["epoch"] == 1


@pytest.mark.parametrize("committed", [True, False])
def test_a_fresh_checkout_goes_on_from_the_copy_to_the_same_weights(kept, tmp_path, monkeypatch, committed):
    spec, runs, unbroken, _, copies = kept
    shutil.copytree(copies, tmp_path / "copies" / spec.name)
    if committed:
        monkeypatch.setattr(sweep, "UNDERWAY", tmp_path / "copies")
    keep = None if committed else tmp_path / "copies" / spec.name
    fresh = tmp_path / "elsewhere" / spec.name
    for name in (RUNS[0], TAUGHT):
        row = sweep.train_run(runs[name], fresh, "cpu", 1, False, "", keep=keep)
        assert row["epochs"] == 2
    log = (fresh / TAUGHT / "train.log").read_text()
    assert log.startswith(f"goes on from the copy in {tmp_path}/copies/{spec.name}/{TAUGHT}\n")
    assert "train 1/2" not in log
    assert "bits may differ" not in log
    assert not (fresh / RUNS[0] / "train.log").exists()  # it was done
    for name in (RUNS[0], TAUGHT):
        expected, found = (torch.load(place / name / "final.pt", weights_only=True) for place in (unbroken, fresh))
        for key, value in expected["model"].items():
            assert torch.equal(found["model"][key], value), key
    assert (tmp_path / "copies" / spec.name / TAUGHT / "final.pt").exists() != committed


def test_a_run_with_a_state_of_its_own_or_another_recipe_takes_no_copy(kept, tmp_path):
    _, runs, _, broken, copies = kept
    assert restore(runs[TAUGHT], broken, copies) is None
    (tmp_path / "other").mkdir()
    lower = SPEC.replace('recipe = "one.toml"', 'recipe = "one.toml"\nset = {"phase.*.lr" = 0.07}', 1)
    other = load_spec(write(tmp_path / "other", lower))
    assert restore(other.runs[0], tmp_path / "out", copies, tmp_path / "missing") is None
    assert restore(next(run for run in other.runs if run.name == TAUGHT), tmp_path / "out", copies) is None
    (tmp_path / "damaged" / TAUGHT).mkdir(parents=True)
    (tmp_path / "damaged" / TAUGHT / "state.pt").write_bytes(b"PK not really")
    assert restore(runs[TAUGHT], tmp_path / "out", tmp_path / "damaged") is None
    assert not (tmp_path / "out").exists()


def test_what_a_run_begins_from_is_another_network_when_it_was_trained_anew(kept, tmp_path):
    """Of the zoo, whose names are known for certain, and of a checkpoint elsewhere, if it was here before."""
    _, runs, unbroken, _, _ = kept
    run, place = runs[RUNS[0]], tmp_path / RUNS[0]
    shutil.copytree(unbroken / RUNS[0], place)
    assert finished(run, tmp_path)
    of_zoo, of_file = replace(run, zoo={"zoo/net": "today"}), replace(run, files={"net.pt": "today"})
    assert finished(of_file, tmp_path)
    assert not finished(of_zoo, tmp_path)
    for digest, same in (("today", True), ("before", False)):
        write_json(place / "needs.json", {"zoo/net": digest, "net.pt": digest})
        assert [bool(finished(each, tmp_path)) for each in (of_zoo, of_file)] == [same, same]
        assert [resumable(each, tmp_path) for each in (of_zoo, of_file)] == [same, same]
    row = sweep.train_run(of_zoo, tmp_path, "cpu", 1, False, "")
    assert row["error"] == f"zoo/net changed after it was begun; remove {place} to start again"


def test_committed_copies_go_on_by_todays_recipes():
    for folder in UNDERWAY.glob("*"):
        runs = {run.name: run for run in load_spec(SPECS / f"{folder.name}.toml").runs}
        for place in folder.iterdir():
            assert resumable(runs[place.name], folder), place


def test_status(kept, capsys, monkeypatch):
    spec, _, _, broken, _ = kept
    with sweep.locked(broken / TAUGHT / "lock"):
        rows = {row.run: row for row in progress(spec, broken)}
    assert [(row.state, row.epoch, row.epochs) for row in rows.values()] == [
        ("done", 2, 2), ("waiting", 0, 2), ("running", 1, 2), ("waiting", 0, 2),
    ]  # fmt: skip
    taught = rows[TAUGHT]
    assert taught.left == taught.seconds == torch.load(
        broken / TAUGHT / "state.pt", weights_only=True)["log"][0]["seconds"]  # fmt: skip
    assert rows[RUNS[3]].left == 2 * taught.seconds  # as long as one like it
    floats = torch.load(broken / RUNS[0] / "state.pt", weights_only=True)["log"]
    assert rows[RUNS[1]].left == pytest.approx(sum(row["seconds"] for row in floats))
    spec_path = broken.parent.parent / "small.toml"
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["sweep", str(spec_path), "--out", str(broken), "--status"]) == 0
    printed = capsys.readouterr().out
    assert "stopped" in printed
    assert "1 of 4 runs done; about 0 min left one after the other, until " in printed


def test_status_of_what_was_not_begun_or_is_done(kept, tmp_path):
    spec, _, _, _, _ = kept
    now = datetime.datetime(2026, 1, 1, 8)
    told = "0 of 4 runs done; how long the rest takes is known after its first epoch"
    assert table(spec, progress(spec, tmp_path), now)[1] == told
    one = status.Progress("a", "waiting", 0, 9, "float", None, 600.0, 5400.0)
    told = "0 of 1 runs done; about 1 h 30 min left one after the other, until 2026-01-01 09:30"
    assert table(spec, [one], now)[1] == told
    assert not status.held(tmp_path / "lock")
