"""`make boards`: the list at once, whole names in a pipe, and one answer to whether a network fits a board."""

import subprocess
import sys
import time

import pytest

from popstream.boards.board.board import BoardError
from popstream.boards.fitting import kept
from popstream.boards.fitting.capacity import fit, holds, lacking
from popstream.boards.fitting.catalog import fit_text
from popstream.boards.fitting.kept import kept_fit
from popstream.boards.known import boards, find
from popstream.cli import main
from popstream.model import manifest


@pytest.fixture(scope="module")
def digits():
    return manifest.load(manifest.find("digits-w1a2"))


def test_the_list_comes_at_once_and_whole(tmp_path):
    before = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "popstream", "boards"], capture_output=True, text=True, check=True)
    assert time.monotonic() - before < 20  # 1 s on a quiet core; fits take minutes
    assert all(f"│ {name} " in done.stdout for name in boards())
    assert "…" not in done.stdout


def test_fold_and_boards_give_the_same_answer(tmp_path, monkeypatch, digits, capsys):
    """Tang Nano 9K holds the digits without room to route."""
    monkeypatch.chdir(tmp_path)
    board = find("tang-nano-9k")
    found = fit(board, digits)
    assert (found.roomy, lacking(board, found.needed)) == (False, {})
    assert holds(board, digits)
    assert fit_text(board, digits, tmp_path / "build").startswith(f"{found.interval:,} (")
    assert fit_text(board, digits, tmp_path / "build").endswith(", tight)")
    assert main(["fold", "digits-w1a2", "tang-nano-9k"]) == 0
    assert f"{found.interval:,} cycles an image" in capsys.readouterr().out


def test_an_answer_is_kept_for_network_and_device(tmp_path, monkeypatch, digits):
    asked = []

    def count(board, network):
        asked.append(board.name)
        return fit(board, network)

    monkeypatch.setattr(kept, "fit", count)
    first = kept_fit(find("icebreaker"), digits, tmp_path)
    again = manifest.load(manifest.find("digits-w1a2"))
    assert kept_fit(find("icebreaker"), again, tmp_path) == first
    assert kept_fit(find("upduino-v3"), digits, tmp_path) == first  # of the same device
    assert kept_fit(find("tang-nano-9k"), digits, tmp_path) != first
    assert asked == ["icebreaker", "tang-nano-9k"]


def test_what_does_not_fit_is_kept_too(tmp_path, monkeypatch, digits):
    monkeypatch.setattr(kept, "fit", lambda *_: None)
    assert kept_fit(find("icebreaker"), digits, tmp_path) is None
    monkeypatch.setattr(kept, "fit", lambda *_: pytest.fail("asked again"))
    assert fit_text(find("icebreaker"), digits, tmp_path) == "-"


@pytest.mark.parametrize("text", ["", "{}", '{"roomy": 3}', "[]", "\xff"])
def test_an_answer_that_is_damaged_is_named(tmp_path, digits, text):
    kept_fit(find("icebreaker"), digits, tmp_path)
    (answer,) = tmp_path.glob("fits/*/fit.json")
    answer.write_text(text)
    with pytest.raises(BoardError, match=r"fit\.json: .*; remove .*fits.*, and it is worked out anew"):
        kept_fit(find("icebreaker"), digits, tmp_path)
