"""What options offer is what the rooms know, though it is written down where nothing heavy is imported."""

from typing import get_args

import pytest

from popstream.boards.flow.build import TRIES
from popstream.boards.link.protocol import MAX_BAUD, MAX_COUNT
from popstream.cli import boards, hardware, host, train
from popstream.hw.synthesis.yosys import FAMILIES
from tests.command import run_cli


def test_precisions():
    pytest.importorskip("torch")
    from popstream.model.training.precision import AUTO, PRECISIONS

    assert get_args(get_args(train.Precision)[0]) == (AUTO, *PRECISIONS)


def test_families_seeds_and_the_link():
    assert set(get_args(get_args(hardware.Family)[0])) == set(FAMILIES)
    assert boards.TRIES == TRIES
    assert host.BAUD <= MAX_BAUD
    status, _, said = run_cli("host", "selftest", "--port", "x", "--count", MAX_COUNT + 1)
    assert (status, f"--count must be 4 to {MAX_COUNT}, not {MAX_COUNT + 1}" in said) == (2, True)


def test_a_name_with_a_path_in_it_is_not_frozen(tmp_path):
    pytest.importorskip("torch")
    from popstream.model.freezing.export import export
    from popstream.model.freezing.freeze import FreezeError

    with pytest.raises(FreezeError, match=r"name must be letters, digits, '_', '\.' or '-', not '\.\./x'"):
        export("../x", tmp_path / "final.pt", tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()
