"""Coverage finds a hidden fault; whatever ends a reader's process is found, kept, and fails again when repeated."""

import json
import shutil

import pytest

from popstream.soak.batch import again
from popstream.soak.fuzz import campaign, kind
from popstream.soak.kinds import generator
from popstream.soak.report import fuzzed
from popstream.soak.state import SoakError, read_case
from tests.command import run_cli

pytest.importorskip("atheris")
MODULES = dict.fromkeys(("hidden", "dies", "hungry"), "tests.soak.fuzz.planted")


def fuzz(tmp_path, name, seconds, monkeypatch):
    """A campaign of one planted reader; the content of fuzz.json, and the cases that were kept."""
    monkeypatch.setattr(campaign, "LEAST", seconds)
    found = campaign.fuzz((seconds - 0.5) / 3600, [name], 1, tmp_path, lambda text: None, MODULES)
    return found, sorted((tmp_path / "fuzz").glob("failures/*"))


def drawn(index, folder):
    """The reader of a case, which is drawn into the folder."""
    kind.draw(generator(3, "inputs", index), folder)
    return (folder / "target").read_text()


def test_coverage_finds_what_is_hidden_and_it_fails_again(tmp_path, monkeypatch):
    for _ in range(8):  # on a slow machine; all the bytes there are would take an hour
        found, kept = fuzz(tmp_path, "hidden", 5, monkeypatch)
        (row,) = found["targets"]
        if row["found"]:
            break
    assert (row["target"], row["found"], found["failures"]) == ("hidden", 1, 1)
    assert row["inputs"] > 1000
    assert row["edges"] > 3
    assert row["peak_mib"] >= row["base_mib"] > 10
    (case,) = kept
    assert (case / "input").read_bytes()[:3] == b"pop"
    assert read_case(case).said == "KeyError: 'popstream'"
    assert json.loads((tmp_path / "fuzz.json").read_text()) == found
    status, out, err = run_cli("soak", "--repeat", case, "--root", tmp_path)
    assert (status, out, err) == (1, "", "error: fails again: KeyError: 'popstream'\n")
    (case / "input").write_bytes(b"po")  # mended
    assert again(read_case(case).kind, case, tmp_path) is None
    assert fuzzed(found).row_count == 1


def test_a_death_and_a_hang_are_found(tmp_path, monkeypatch):
    real = campaign.run
    monkeypatch.setattr(campaign, "run", lambda job, words: real(job | {"timeout": 1}, words))
    said = set()
    for _ in range(6):
        _, kept = fuzz(tmp_path, "dies", 3, monkeypatch)
        said = {read_case(case).said for case in kept}
        if len(said) == 2:
            break
    assert said == {"hangs: more than 10 s", "its process died"}


def test_too_much_memory_is_found(tmp_path, monkeypatch):
    _, kept = fuzz(tmp_path, "hungry", 3, monkeypatch)
    said = {read_case(case).said.split(":")[0] for case in kept}
    assert said == {"MemoryError", "it was only stopped by the limit of memory"}


def test_the_same_command_goes_on(tmp_path, monkeypatch):
    first, _ = fuzz(tmp_path, "hungry", 2, monkeypatch)
    second, _ = fuzz(tmp_path, "hungry", 2, monkeypatch)
    assert second["targets"][0]["inputs"] > first["targets"][0]["inputs"]
    assert second["targets"][0]["minutes"] >= first["targets"][0]["minutes"]
    shutil.rmtree(tmp_path / "fuzz" / "hungry" / "corpus")
    (tmp_path / "fuzz" / "hungry" / "state.json").write_text('{"edges": -1}')
    with pytest.raises(SoakError, match=r"state\.json: edges must be a whole number of at least 0, not -1"):
        campaign.fuzz(0.001, ["hungry"], 1, tmp_path, lambda text: None, MODULES)


def test_a_case_of_any_reader_can_be_drawn_and_checked(tmp_path):
    assert drawn(0, tmp_path) == "decoder"  # soon imported
    assert again("popstream.soak.fuzz.kind", tmp_path, tmp_path) is None


@pytest.mark.parametrize(("given", "message"), [
    (["--fuzz", "manifests"], "There is no reader 'manifests'; there are decoder, session, pictures, manifest, rom, "),
    (["--fuzz", "all", "--count", "frames=1"], "--count and --fuzz exclude each other"),
    (["--fuzz", "all", "--jobs", "2"], "--jobs and --fuzz exclude each other"),
])  # fmt: skip
def test_wrong_commands(tmp_path, given, message):
    status, out, err = run_cli("soak", *given, "--root", tmp_path / "root")
    assert status in (1, 2)
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
