"""Which tests are taken where only some can be, and that what is known of their times is of files that exist."""

from pathlib import Path

from tests.conftest import seconds, short


def test_the_shortest_files_are_taken():
    times = {"slow": 60.0, "a": 1.0, "b": 2.0, "c": 3.0}
    assert short(times, 6.0) == {"a", "b", "c"}
    assert short(times, 5.9) == {"a", "b"}
    assert short(times, 0.5) == set()


def test_times_are_those_of_tests_that_exist():
    root = Path(__file__).parents[1]
    assert [name for name in seconds() if not (root / name).is_file()] == []
