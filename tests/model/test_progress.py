"""Progress where there is no terminal: lines now and then, and none for what is done already."""

import pytest
from rich.console import Console

from popstream.model import progress
from popstream.model.progress import stage


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when they are told to."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "time", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_long_work_says_where_it_is_twice_a_minute(clock, capsys):
    with stage(Console(), "routing") as tell:
        for line in range(4):
            clock(20)
            tell(f"line {line}")
    assert capsys.readouterr().out == "routing ...\nrouting: line 1\nrouting: line 3\nrouting: 80 s\n"


def test_what_may_be_done_says_nothing_unless_it_takes_long(clock, capsys):
    with stage(Console(), "the accelerator", maybe_done=True) as tell:
        clock(2)
        tell("soon")
    assert capsys.readouterr().out == ""
    with stage(Console(), "the accelerator", maybe_done=True) as tell:
        for line in ("first", "second", "third"):
            clock(6)
            tell(line)
    assert capsys.readouterr().out == "the accelerator: first\n"
