"""`make fold`: the table, the files, the smallest folding for a rate, and refusals that name the nearest rate."""

import json

import pytest

from popstream.boards.fitting.capacity import FILL, lacking, need
from popstream.boards.known import find
from popstream.cli import main
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
    assert main(["fold", NET, "ulx3s-12f"]) == 0
    text, found = capsys.readouterr().out, figures(here, "ulx3s-12f")
    network = manifest.load(manifest.find(NET))
    folding = Folding.load(here / "build" / NET / "ulx3s-12f" / "fold" / "folding.json", network)
    assert max(interval(network, folding).values()) == found["interval_cycles"]
    assert not lacking(find("ulx3s-12f"), need(find("ulx3s-12f"), network, folding), FILL["ecp5"])
    assert [stage["stage"] for stage in found["stages"]] == list(folding)
    assert all(0 <= stage["idle"] < 1 for stage in found["stages"])
    assert f"{found['images_per_s']:,} images/s at 60 MHz" in text.replace("\n", " ")


def test_the_smallest_folding_for_a_rate(here):
    assert main(["fold", NET, "ulx3s-12f"]) == 0
    fastest = figures(here, "ulx3s-12f")
    assert main(["fold", NET, "ulx3s-12f", "--fps", "2000", "--freq", "60"]) == 0
    found = figures(here, "ulx3s-12f")
    assert 2000 <= found["images_per_s"] < fastest["images_per_s"]
    assert found["estimated"]["lut"] < fastest["estimated"]["lut"]


def test_a_rate_out_of_reach_is_refused_with_the_nearest(here, capsys):
    assert main(["fold", NET, "icebreaker"]) == 0
    rate = figures(here, "icebreaker")["images_per_s"]
    capsys.readouterr()
    assert main(["fold", NET, "icebreaker", "--fps", str(10 * rate)]) == 1
    text = capsys.readouterr().err
    assert text.startswith("error: digits-w1a2 on icebreaker at 24 MHz: ")
    nearest = int(text.rsplit("FPS=", 1)[1])
    assert nearest in (rate, rate - 1)
    assert main(["fold", NET, "icebreaker", "--fps", str(nearest)]) == 0


def test_wrong_arguments(here, capsys):
    assert main(["fold", NET, "nonsense"]) == 2
    assert "'nonsense' is no board" in capsys.readouterr().err
    for option, said in (
        ("--fps", "more than 0 and at most 400,000,000, an image a cycle"),
        ("--freq", "1 to 400 MHz"),
    ):
        assert main(["fold", NET, "icebreaker", option, "0"]) == 2
        assert f"{option} must be {said}, not 0" in capsys.readouterr().err
