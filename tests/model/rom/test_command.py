"""`popstream rom`: what it writes and prints, what it refuses in one line, and damage that it names."""

import json
from pathlib import Path

import pytest

from popstream.cli import main
from popstream.model.manifest import Network, save
from popstream.model.rom import files as romfile
from popstream.model.rom import image as rom
from tests.networks import random_network


@pytest.fixture(scope="module")
def small() -> Network:
    return random_network(5, weight_bits=2, channels=(2,), strides=(1,), convs_per_block=1, height=4, width=4)


def test_command_line(small: Network, tmp_path: Path, capsys: pytest.CaptureFixture):
    save(small, tmp_path / "net")
    build = tmp_path / "deep" / "build"
    (tmp_path / "fold.json").write_text(json.dumps({"stem.conv": {"simd": 9, "pe": 2, "arithmetic": "lanes"}}))
    assert main(["rom", str(tmp_path / "net"), "--root", str(build), "--folding", str(tmp_path / "fold.json")]) == 0
    output = capsys.readouterr().out
    assert sorted(path.name for path in (build / "random").iterdir()) == ["rom.bin", "rom.json", "rom.mem"]
    data = rom.pack(small, {"stem.conv": (9, 2)})
    for name in ("rom.bin", "rom.mem"):
        assert rom.read(build / "random" / name) == data
    report = json.loads((build / "random" / "rom.json").read_text())
    assert (report["network"], report["hash"], report["bytes"]) == ("random", small.hash, len(data))
    assert report["sections"][0]["node"] == "stem.conv"
    assert report["sections"][0]["bits"] == 54 * 8
    for node in small.nodes:
        assert (node.name in output) == bool(node.tensors)
    assert "9 x 2" in output
    assert f"{len(data):,} bytes with header, read back equal to the manifest" in output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nothing"], 2, "error: NET: 'nothing' is no network; known are "),
        (["{net}", "--folding", "{tmp}/none.json"], 2, "none.json is not there"),
        (["{net}", "--folding", "{net}/network.json"], 1, "network.json: node 'schema': it must be a table, not 1"),
        (
            ["{net}", "--folding", "{tmp}/fold.json"],
            1,
            "simd must divide 27 products and pe 2 channels, but they are 2 and",
        ),
        (["{net}", "--folding", "{tmp}/text.json"], 1, "node 'stem.conv': simd must be a whole number of at least 1, "),
        (["{tmp}/cut"], 1, "cut/network.json: not valid JSON, or cut short"),
    ],
)
def test_command_line_errors(small: Network, tmp_path: Path, capsys, arguments: list[str], status: int, message: str):
    save(small, tmp_path / "net")
    (tmp_path / "fold.json").write_text(json.dumps({"stem.conv": {"simd": 2, "pe": 1}}))
    (tmp_path / "text.json").write_text(json.dumps({"stem.conv": {"simd": "9", "pe": 1}}))
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "network.json").write_text('{"schema": 1,')
    given = [argument.format(net=tmp_path / "net", tmp=tmp_path) for argument in arguments]
    assert main(["rom", *given, "--root", str(tmp_path / "build")]) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert message in output.err
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize("broken", ["write", "verify"])
def test_failing_build_leaves_nothing(small: Network, tmp_path: Path, monkeypatch, capsys, broken: str):
    save(small, tmp_path / "net")
    if broken == "write":
        monkeypatch.setattr(romfile.Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    else:
        monkeypatch.setattr(rom, "read", lambda path: romfile.read(path)[:-4])
    assert main(["rom", str(tmp_path / "net"), "--root", str(tmp_path / "a" / "build")]) == 1
    assert "disk full" in (text := capsys.readouterr().err) or "rom.bin: cut short" in text
    assert not (tmp_path / "a").exists()


def test_a_flipped_bit_is_named_by_node_and_tensor(small: Network, tmp_path: Path, capsys: pytest.CaptureFixture):
    """From the command line: one line, status 1, the file as it was."""
    manifest_file = save(small, tmp_path / "net")
    data = rom.pack(small)
    path = tmp_path / "x.bin"
    path.write_bytes(data)
    assert main(["rom", str(manifest_file), "--check", str(path)]) == 0
    for section in rom.sections(data)[1]:
        flipped = bytearray(data)
        flipped[4 * section.start] ^= 0x10
        path.write_bytes(flipped)
        capsys.readouterr()
        assert main(["rom", str(manifest_file), "--check", str(path)]) == 1
        name = small.nodes[section.node].name
        error = capsys.readouterr().err
        assert error.startswith(f"error: {path}: node {name!r}, tensor {section.tensor!r}: damaged: CRC-32 is ")
        assert error.count("\n") == 1
        assert path.read_bytes() == flipped
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net", "x.bin"]
