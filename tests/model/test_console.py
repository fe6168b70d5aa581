"""What is printed is what was said, whatever a folder is called."""

import pytest
from rich.table import Table

from popstream.model.console import plain_console, print_whole, table_console
from tests.command import run_cli

NAME = "[/b] [red]x :bug:"


def test_a_name_is_printed_as_it_is(capsys):
    table = Table(title=NAME)
    table.add_column(NAME)
    table.add_row(NAME)
    for show in (plain_console().print, table_console().print, print_whole):
        show(table)
        assert capsys.readouterr().out.count(NAME) == 3
    plain_console().print(f"/tmp/{NAME}/sim.json", soft_wrap=True)
    assert f"/tmp/{NAME}/sim.json" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["rom", "digits-w1a2"], ["accuracy", "digits-w1a2", "--images", 3, "--rtl", 0]])
def test_a_folder_is_called_as_it_is(words, tmp_path):
    pytest.importorskip("torch")
    status, out, err = run_cli(*words, "--root", tmp_path / NAME)
    assert (status, err) == (0, "")
    assert f"{tmp_path / NAME}/digits-w1a2/" in out.replace("\n", "")
