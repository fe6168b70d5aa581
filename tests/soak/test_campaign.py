"""Campaigns: every kind runs, goes on, and what is wrong is found, kept, and fails again when it is repeated."""

import json
import shutil
from pathlib import Path

import pytest

from popstream.soak.batch import Outcome, batch
from popstream.soak.campaign import soak, summary
from popstream.soak.kinds import KINDS, generator, the_kind
from popstream.soak.report import table
from popstream.soak.state import Done, SoakError, State, joined, read_case
from tests.command import run_cli

ROOT = Path("build/tests")  # compiled links are kept there
BROKEN, FLIPPED = "tests.soak.broken", "tests.soak.flipped"


def drawn(seed: int, index: int, folder: Path) -> str:
    """How a case of the broken kind is."""
    folder.mkdir()
    the_kind(BROKEN).draw(generator(seed, "broken", index), folder)
    return (folder / "way").read_text()


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    """Of the first 40 broken cases of seed 2."""
    folder = tmp_path_factory.mktemp("ways")
    return [drawn(2, index, folder / str(index)) for index in range(40)]


def test_whatever_a_case_does_it_gets_its_verdict(ways):
    chosen = [ways.index(way) for way in ("well", "wrong", "raises", "dies", "hangs")]
    outcomes, seconds = batch(BROKEN, 2, chosen, "build/tests")
    well, wrong, raises, dies, hangs = outcomes
    assert [outcome.index for outcome in outcomes] == chosen
    assert (well.said, well.counts, well.files) == (None, {"well": 1}, {})
    assert (wrong.said, wrong.files) == ("two and two is five", {"way": b"wrong"})
    assert raises.said == "ZeroDivisionError: division by zero"
    assert b"in check" in raises.files["traceback.txt"]
    assert "its process died with status -6" in dies.said
    assert hangs.said == "hangs: no verdict within 3 s"
    assert seconds > 3


def test_a_flipped_bit_is_found_kept_and_fails_again(tmp_path):
    told = []
    content = soak(None, {"networks": 3}, 7, tmp_path, 1, told.append, {"networks": FLIPPED})
    assert content["failures"] >= 2  # a weight of an image that is all zeros may change nothing
    kept = sorted((tmp_path / "soak" / "failures").iterdir())
    assert len(kept) == content["failures"]
    case = read_case(kept[0])
    assert case.said.endswith(")")
    assert "images differ, first at node stem.conv (conv), image 0, " in case.said
    assert case.repeat == f"popstream soak --repeat {kept[0]}"
    assert any(line.startswith(f"FAILED networks {case.index}: ") for line in told)
    status, out, err = run_cli("soak", "--repeat", kept[0], "--root", tmp_path)
    assert (status, out) == (1, "")
    assert err == f"error: fails again: {case.said}\n"
    (kept[0] / "fault").unlink()  # mended
    status, out, err = run_cli("soak", "--repeat", kept[0] / "case.json", "--root", tmp_path)
    assert (status, err) == (0, "")
    assert "nothing is wrong any more" in out


def test_every_kind_runs_and_goes_on(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    (tmp_path / "verilator").symlink_to(ROOT.resolve() / "verilator")
    (ROOT / "verilator").mkdir(parents=True, exist_ok=True)
    counts = [f"{name}={count}" for name, count in dict(networks=2, frames=1, manifests=30, images=30, kills=1).items()]
    status, out, err = run_cli("soak", "--count", *counts, "--seed", 3, "--jobs", 1, "--root", tmp_path)
    assert (status, err) == (0, ""), out
    first = json.loads((tmp_path / "soak.json").read_text())
    rows = {row["kind"]: row for row in first["kinds"]}
    assert {name: row["cases"] for name, row in rows.items()} == dict(
        networks=2, frames=1, manifests=30, images=30, kills=1
    )
    assert rows["frames"]["units"] == 1000
    assert rows["kills"]["units"] <= 4
    assert rows["networks"]["counts"]["values"] > 20
    assert rows["frames"]["counts"]["result"] > 200
    assert rows["manifests"]["counts"]["refused"] + rows["manifests"]["counts"].get("loaded", 0) == 30
    assert rows["kills"]["counts"]["trainings"] == 1
    assert first["failures"] == 0
    for name in rows:
        assert name in out
    status, out, err = run_cli(
        "soak", "--count", "images=31", "manifests=30", "--seed", 3, "--jobs", 1, "--root", tmp_path
    )
    assert (status, err) == (0, ""), out
    state = State.read(tmp_path / "soak", 3)
    assert state.kinds["images"].ranges == [(0, 31)]
    assert state.kinds["manifests"].ranges == [(0, 30)]
    assert not (tmp_path / "soak" / "failures").exists()


def test_a_case_depends_on_seed_kind_and_index_alone(tmp_path):
    def content(seed: int, index: int, name: str) -> dict[str, bytes]:
        kind, place = the_kind(name), tmp_path / f"{name}-{seed}-{index}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        kind.draw(generator(seed, kind.name, index), place)
        return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    for name in KINDS:
        assert content(1, 7, name) == content(1, 7, name)
        assert content(1, 7, name) != content(1, 8, name)
        assert content(1, 7, name) != content(2, 7, name)


def test_what_is_missing_is_done_next():
    done = Done()
    done.add([Outcome(index, None, {"x": 2}) for index in (0, 1, 4)], 3.0)
    assert (done.ranges, done.cases, done.counts, done.seconds) == ([(0, 2), (4, 5)], 3, {"x": 6}, 3.0)
    missing = done.missing()
    assert [next(missing) for _ in range(4)] == [2, 3, 5, 6]
    assert joined([0, 1, 2, 7, 9, 10]) == [(0, 3), (7, 8), (9, 11)]


@pytest.mark.parametrize(("given", "message"), [
    (["--count", "networks"], "--count must be KIND=N with N of at least 1, such as networks=50, not 'networks'"),
    (["--count", "frames=0"], "not 'frames=0'"),
    (["--count", "boards=3"], "There is no kind of case 'boards'; there are networks, frames, manifests, images, "),
    (["--hours", "0"], "--hours must be more than 0, not 0"),
    (["--repeat", "{tmp}"], "case.json: no such file; a kept case has its case.json"),
])  # fmt: skip
def test_wrong_commands(tmp_path, given, message):
    status, out, err = run_cli("soak", *(word.format(tmp=tmp_path) for word in given), "--root", tmp_path / "root")
    assert status in (1, 2)
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "root").exists()


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / "soak").mkdir()
    (tmp_path / "soak" / "seed0.json").write_text('{"seed": 0, "kinds": {"frames": {"ranges": [[0]]}}}')
    with pytest.raises(SoakError, match=r"seed0\.json: .*ranges"):
        soak(None, {"frames": 1}, 0, tmp_path)


def test_the_table_has_a_line_for_each_kind():
    state = State(4, {name: Done([(0, 3)], {"cases": 3}, 60.0) for name in KINDS})
    content = summary(state, KINDS)
    assert [row["minutes"] for row in content["kinds"]] == [1.0] * len(KINDS)
    assert table(content).row_count == len(KINDS)
