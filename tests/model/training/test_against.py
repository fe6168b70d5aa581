"""Two versions side by side: the same one has the same speed, and what cannot be measured is said in one line."""

from pathlib import Path

import pytest

from popstream.cli import main
from popstream.model.training import against
from popstream.model.training.recipe import RECIPES, RecipeError, load_recipe


@pytest.mark.skipif(not (Path(against.ROOT) / ".git").exists(), reason="a copy without its history")
def test_this_version_beside_itself(monkeypatch, tmp_path, capsys):
    path = RECIPES / "digits-w1a2.toml"
    report = against.compare(path, "HEAD", ["float"], steps=1, turns=1)
    (row,) = report["rows"]
    assert row["over_other"] == pytest.approx(row["ours"] / row["other"], abs=0.01)
    assert row["over_plain"] == pytest.approx(row["ours"] / row["plain"], abs=0.01)
    assert against.table(report).row_count == 1
    with against.checkout("HEAD") as (folder, name):
        assert (folder / "pyproject.toml").exists()
        assert len(name) >= 7
    assert not folder.exists()


def test_what_cannot_be_measured(capsys):
    path = RECIPES / "digits-w1a2.toml"
    with pytest.raises(RecipeError, match="no phase 'w4a4' to measure; there are float, w1a2"):
        against.compare(path, "HEAD", ["w4a4"])
    assert main(["speed", "digits-w1a2", "--against", "no-such-version"]) == 1
    assert "--against must name a version that git has here, not 'no-such-version'" in capsys.readouterr().err
    with (
        against.worker(against.ROOT, load_recipe(path), 1, 1) as process,
        pytest.raises(against.AgainstError, match="at phase w4a4"),
    ):
        against.turn(process, "w4a4")
