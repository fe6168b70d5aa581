# amaranth: UnusedElaboratable=no
"""Reloading: a second network in a finished bitstream answers as golden; another shape is refused.

One real build for an iCEBreaker (synthesis, place and route) is used by all; about a minute and a half of CPU in all.
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from popstream.boards.bench.harness import Script, compile_bench
from popstream.boards.bench.netlist import board_netlist
from popstream.boards.flow.place import KEPT, route
from popstream.boards.known import find
from popstream.boards.link.link import HostLink
from popstream.boards.link.protocol import Frame, Identity, Kind, Result, encode
from popstream.boards.reload.contents import ContentError, fill, lines_of, patch, places, rams, sections
from popstream.boards.reload.reload import (
    MAPPED,
    Base,
    Mapped,
    ReloadError,
    check_same,
    reload,
)
from popstream.boards.reload.reloadable import build_reloadable
from popstream.cli import main
from popstream.hw.folding.room import Reload
from popstream.hw.reloading import difference, made_for, shape_of
from popstream.hw.solver.solve import solve
from popstream.model.manifest import Network, save
from popstream.sim import golden
from tests.boards.link_bench import ROOT, classify
from tests.networks import random_images, random_network

SIZES = dict(height=2, width=2, channels=(2,), strides=(1,), classes=3, first_bits=(2, 4), last_bits=(2, 4))
BOARD, SEEDS, MHZ = find("icebreaker"), range(1), 18.0  # its multipliers, of wide operands, make 20 with their margins


def network(seed: int, name: str, **others: object) -> Network:
    return random_network(seed, name=name, in_channels=1, **{**SIZES, **others})


def lacking(first: Network, other: Network) -> str | None:
    """What has no place in a bitstream of the first."""
    folding = solve(first, 150)
    return difference(shape_of(first, folding), made_for([first], folding), other, folding)


@pytest.fixture(scope="module")
def first():
    return network(1, "first")


@pytest.fixture(scope="module")
def second(first):
    other = network(4, "second")
    assert lacking(first, other) is None
    assert not np.array_equal(first.node("stem.conv").tensors["weight"], other.node("stem.conv").tensors["weight"])
    return other


@pytest.fixture(scope="module")
def base(first, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reload") / "first"
    figures = build_reloadable(BOARD, first, solve(first, 150), MHZ, SEEDS, folder, Console(quiet=True))
    assert figures["timing_met"]
    return Base.load(folder)


@pytest.fixture(scope="module")
def loaded(base, second, tmp_path_factory):
    """Folder of the second network's bitstream; with it the build's netlist, the same contents put into it."""
    folder = tmp_path_factory.mktemp("reload") / "second"
    figures = reload(BOARD, second, base, folder)
    assert (figures["network"], figures["network_hash"]) == ("second", second.hash)
    assert figures["reloaded_from"] == "first"
    assert 10 < figures["block_rams_exchanged"] < figures["ebr"]  # FIFOs hold nothing
    netlist = json.loads((base.folder / "top.json").read_text())
    fill(netlist, rams(json.loads((folder / MAPPED).read_text()), BOARD.family))
    (folder / "top.json").write_text(json.dumps(netlist))
    return folder


def test_the_second_network_answers_as_golden(base, second, loaded):
    """The board's whole netlist, LUTs and block RAMs, asked through its UART pins."""
    link = HostLink(second, solve(second, 150), MHZ * 1e6, BOARD.baud, reload=base.made)
    images = random_images(second.input, 7, 6)
    logits = golden.run(second, images)[0]
    assert len({tuple(row) for row in logits.tolist()}) > 1
    text = board_netlist(BOARD, loaded, "top.json")
    with Script(compile_bench(text, "bench", ROOT, optimize=0), link) as bench:
        bench.wait(1000)  # the board's reset
        bench.send(encode(Frame(Kind.IDENTIFY, 0)))
        (frame,) = bench.reply()
        assert Identity.unpack(frame.payload).network.hex() == second.hash[:32]
        for index in range(len(images)):
            bench.send(classify(index, images[index]))
            (frame,) = bench.reply()
            assert Result.unpack(frame.payload, 3).logits == tuple(logits[index])


def test_the_patched_configuration_is_the_one_that_nextpnr_writes(base, loaded, tmp_path):
    """Byte for byte, for the netlist that the test above has simulated."""
    for name in (loaded / "top.json", base.folder / "top.pcf"):
        shutil.copy(name, tmp_path)
    route(BOARD, tmp_path, base.content["mhz"], base.content["seed"])
    assert (tmp_path / "seed0" / "top.asc").read_text() == (loaded / "top.asc").read_text()
    assert (loaded / "top.asc").read_text() != (base.folder / "seed0" / "top.asc").read_text()
    assert (loaded / "top.bin").stat().st_size == (base.folder / "top.bin").stat().st_size


def test_designs_that_differ_in_logic_are_refused(base):
    mapped = Mapped.load(base.folder, BOARD.family)
    check_same(mapped, mapped)
    name = next(name for name, cell in mapped.before.items() if cell["type"] == "$alu")
    changed = {**mapped.before, name: {**mapped.before[name], "type": "$other"}}
    with pytest.raises(ReloadError, match="Not all that differs lies in block RAM: cell "):
        check_same(mapped, replace(mapped, before=changed))
    memory = next(name for name in mapped.rams if "threshold" in name)
    fewer = {name: ram for name, ram in mapped.rams.items() if name != memory}
    with pytest.raises(ReloadError, match=memory.replace(".", r"\.")):
        check_same(mapped, replace(mapped, rams=fewer))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": (3,)}, r"node 'stem.conv': out_channels is 3, the bitstream's is 2"),
        ({"height": 3}, r"node 'input': height is 3, the bitstream's is 2"),
        ({"act_bits": 3}, r"node 'group0.conv0.threshold': bits is 3, the bitstream's is 2"),
        ({"classes": 4}, r"node 'linear': out_features is 4, the bitstream's is 3"),
        ({"blocks": 2}, r"node 'group0.conv1.requant': relu is False, the bitstream's is True"),
    ],
)
def test_another_shape_is_refused(first, change, message):
    said = lacking(first, network(4, "other", **change))
    assert said is not None
    assert message.replace("\\", "") in said


def test_a_shift_out_of_reach_is_refused(first):
    folding = solve(first, 150)
    shifts = {**made_for([first], folding).shifts, "stem.requant": first.node("stem.requant")["shift"] - 1}
    said = difference(shape_of(first, folding), Reload(shifts), first, folding)
    assert said is not None
    assert said.startswith("node 'stem.requant': shift ")
    assert f"is out of reach of the bitstream's shift, {shifts['stem.requant']}" in said


def test_the_command_refuses_in_one_line(base, second, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(second, tmp_path / "second")
    save(network(4, "wide", channels=(3,)), tmp_path / "wide")
    assert main(["reload", "second", "icebreaker"]) == 1
    assert main(["reload", "wide", "icebreaker", "--base", str(base.folder)]) == 1
    assert main(["reload", "second", "tang-nano-9k"]) == 1
    assert main(["reload", "second", "no-such-board"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("error: No reloadable build for icebreaker")
    assert "wide does not go into the bitstream of first: node 'stem.conv': out_channels is 3" in lines[1]
    assert not list(tmp_path.glob("build/wide/**/*.bin"))


def test_a_damaged_build_is_refused(base, second, tmp_path):
    copied = tmp_path / "copy"
    shutil.copytree(base.folder, copied)
    configuration = copied / "seed0" / "top.asc"
    configuration.write_text(configuration.read_text().replace(".ram_data", ".other"))
    with pytest.raises(ContentError, match=r"The configuration has no section '\.ram_data "):
        patch(configuration.read_text(), "ice40", {header: ["0"] for header in base.content["places"].values()})
    (copied / KEPT).write_text("{}")
    with pytest.raises(ReloadError, match="No reloadable build in "):
        Base.load(copied)


def ecp5_netlist(row: int, value: int) -> dict:
    init = {f"INITVAL_{number:02X}": "0" * 320 for number in range(64)} | {f"INITVAL_{row:02X}": f"{value:0320b}"}
    cells = {"a.0.0": {"type": "DP16KD", "parameters": {**init, "GSR": "ENABLED"}, "attributes": {"WID": "101"}}}
    return {"modules": {"top": {"cells": cells}}}


def test_ecp5_contents():
    """Word 33 of 18 bits, 0x2a5c3, is halves 66 and 67: 0x1c3 and 0x152."""
    netlist = ecp5_netlist(2, 0x2A5C3 << 20)
    (ram,) = rams(netlist, "ecp5").values()
    assert not ram.other  # GSR is "AUTO" right behind the mapping of memories
    lines = lines_of("ecp5", ram.init)
    assert len(lines) == 256
    assert lines[8] == "000 000 1c3 152 000 000 000 000"
    assert set(lines[:8] + lines[9:]) == {" ".join(["000"] * 8)}
    where = places(netlist, "ecp5", rams(netlist, "ecp5"))
    assert where == {"a.0.0": ".bram_init 5"}
    text = ".device X\n\n.bram_init 4\n" + "1ff\n" * 256 + "\n.bram_init 5\n" + "000\n" * 256 + "\n.end\n"
    patched = patch(text, "ecp5", {".bram_init 5": lines})
    assert sections(patched, "ecp5")[".bram_init 5"] == lines
    assert sections(patched, "ecp5")[".bram_init 4"] == ["1ff"] * 256
    assert patched.startswith(".device X\n\n.bram_init 4\n")
    assert patched.endswith("\n.end\n")


def test_a_ram_that_was_not_placed_is_named():
    with pytest.raises(ContentError, match=r"no block RAM b\.0\.0"):
        places(ecp5_netlist(0, 0), "ecp5", {"b.0.0": rams(ecp5_netlist(0, 0), "ecp5")["a.0.0"]})
