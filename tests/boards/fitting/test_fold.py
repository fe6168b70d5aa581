"""`make fold`: the table, the files, the smallest folding for a rate, and refusals that name the nearest rate."""

import json

import pytest

from popstream.boards.fitting import fold
from popstream.boards.fitting.capacity import FILL, lacking, need
from popstream.boards.known import find
from popstream.hw.folding.folding import Folding, interval
from popstream.model import manifest

NET = "digits-w1a2"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def figures(here, board):
    return json.loads((here / "build" / NET / board / "fold" / "fold.json").read_text())


def test_the_fastest_folding_of_a_board(here, capsys):
    assert fold.main(["ulx3s-12f", "--net", NET]) == 0
    text, found = capsys.readouterr().out, figures(here, "ulx3s-12f")
    network = manifest.load(manifest.find(NET))
    folding = Folding.load(here / "build" / NET / "ulx3s-12f" / "fold" / "folding.json", network)
    assert max(interval(network, folding).values()) == found["interval_cycles"]
    assert not lacking(find("ulx3s-12f"), need(find("ulx3s-12f"), network, folding), FILL["ecp5"])
    assert [stage["stage"] for stage in found["stages"]] == list(folding)
    assert all(0 <= stage["idle"] < 1 for stage in found["stages"])
    assert f"{found['images_per_s']:,} images/s at 60 MHz" in text.replace("\n", " ")


def test_the_smallest_folding_for_a_rate(here):
    assert fold.main(["ulx3s-12f", "--net", NET]) == 0
    fastest = figures(here, "ulx3s-12f")
    assert fold.main(["ulx3s-12f", "--net", NET, "--fps", "2000", "--freq", "60"]) == 0
    found = figures(here, "ulx3s-12f")
    assert 2000 <= found["images_per_s"] < fastest["images_per_s"]
    assert found["estimated"]["lut"] < fastest["estimated"]["lut"]


def test_a_rate_out_of_reach_is_refused_with_the_nearest(here, capsys):
    assert fold.main(["icebreaker", "--net", NET]) == 0
    rate = figures(here, "icebreaker")["images_per_s"]
    capsys.readouterr()
    assert fold.main(["icebreaker", "--net", NET, "--fps", str(10 * rate)]) == 1
    text = capsys.readouterr().err
    assert text.startswith("error: digits-w1a2 on icebreaker at 24 MHz: ")
    nearest = int(text.rsplit("FPS=", 1)[1])
    assert nearest in (rate, rate - 1)
    assert fold.main(["icebreaker", "--net", NET, "--fps", str(nearest)]) == 0


def test_wrong_arguments(here, capsys):
    assert fold.main(["nonsense", "--net", NET]) == 1
    assert "Unknown board 'nonsense'" in capsys.readouterr().err
    for option in ("--fps", "--freq"):
        with pytest.raises(SystemExit):
            fold.main(["icebreaker", option, "0"])
        assert f"{option} must be more than 0, not 0" in capsys.readouterr().err
