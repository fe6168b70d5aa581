"""Every reader of what others made takes or refuses its seeds and some mutated ones; what is wrong is told."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from popstream.model.data.pictures import MOST_PIXELS
from popstream.soak.draw import mutate, pick
from popstream.soak.fuzz.target import TARGETS, attempt, parts, spoken, the_target
from popstream.soak.kinds import WrongError

pytest.importorskip("torch")
MUTATED = 200


@pytest.mark.filterwarnings("ignore")  # of torch, on a pickle of another protocol
@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_takes_or_refuses_whatever_it_is_given(name):
    target = the_target(name)
    rng, seeds = np.random.default_rng(7), list(target.seeds())
    assert "taken" in {target.run(seed) for seed in seeds}
    said = []
    for number in range(MUTATED):
        change = target.mutate if target.mutate and number % 2 else mutate
        said.append(target.run(change(rng, pick(rng, seeds))[: target.most]))
    assert set(said) <= {"taken", "refused"}
    assert "refused" in said or name == "session"
    assert target.run(b"") in ("taken", "refused")


LARGEST = """
import sys; from pathlib import Path
from popstream.model.data.pictures import open_picture
from popstream.soak.fuzz.kind import bound_memory
bound_memory()
print(open_picture(Path(sys.argv[1]), "RGB").size)
"""


def test_the_largest_picture_keeps_the_bound_of_memory(tmp_path):
    Image.new("RGBA", (2**13, MOST_PIXELS // 2**13), (1, 2, 3, 255)).save(tmp_path / "x.png", compress_level=1)
    command = [sys.executable, "-c", LARGEST, tmp_path / "x.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "(8192, 8192)\n"


def test_only_a_short_line_that_a_terminal_shows_is_a_refusal():
    def refuse(text: str):
        def work() -> None:
            raise ValueError(text)

        return work

    assert attempt(lambda: None, ValueError) == "taken"
    assert attempt(refuse("x.bin: damaged"), ValueError) == "refused"
    for text in ("", "two\nlines", "\x1b[2J", "x" * 5000):
        with pytest.raises(WrongError, match="not one line of at most 4000 characters"):
            attempt(refuse(text), ValueError)
    with pytest.raises(KeyError):
        attempt(lambda: {}["x"], ValueError)
    spoken("é")


def test_memory_that_ran_out_is_no_refusal():
    def work() -> None:
        try:
            raise MemoryError
        except MemoryError as error:
            raise ValueError("damaged") from error

    with pytest.raises(WrongError, match="only stopped by the limit of memory: damaged"):
        attempt(work, ValueError)


def test_two_pieces_of_an_input():
    assert parts(b"\2\0\0\0abcd") == (b"ab", b"cd")
    assert parts(b"\xff") == (b"", b"")
