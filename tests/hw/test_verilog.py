"""Verilog and port list of a small network: what is written, that it agrees, and what is said when it cannot be."""

import json
import re

import pytest

from popstream.hw import verilog
from popstream.hw.folding.folding import Folding, interval
from popstream.hw.solver.solve import solve
from popstream.model.manifest import save
from tests.command import run_cli
from tests.networks import random_network

OPTIONS = dict(height=4, width=6, channels=(2, 4), first_bits=(2, 3), last_bits=(2, 2), blocks=1)


@pytest.fixture(scope="module")
def network():
    return random_network(4, name="small", **OPTIONS)


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("verilog")
    return verilog.write(network, solve(network, 800), folder, taps=True)


def module_ports(text: str) -> dict[str, tuple[str, int]]:
    """Ports of module top: name to (direction, width)."""
    body = re.search(r"\bmodule top\(.*?\bendmodule", text, re.DOTALL)
    assert body
    found = re.findall(r"^\s*(input|output)(?: \[(\d+):0\])? (\w+);", body.group(), re.MULTILINE)
    return {name: (way, int(high or 0) + 1) for way, high, name in found}


def test_listed_ports_are_the_module_s(network, written):
    listed = json.loads((written.parent / "ports.json").read_text())
    expected = {port["name"]: (port["direction"], port["width"]) for port in listed["ports"]}
    assert module_ports(written.read_text()) == expected
    assert all(port["meaning"] for port in listed["ports"])
    assert [tap["node"] for tap in listed["taps"]] == [node.name for node in network.nodes[1:]]
    for tap in listed["taps"]:
        assert expected[f"{tap['port']}_data"] == ("output", tap["lanes"] * tap["width"])


def test_description(network, written):
    listed = json.loads((written.parent / "ports.json").read_text())
    folding = Folding.load(written.parent / "folding.json", network)
    assert folding == solve(network, 800)
    assert listed["folding"] == folding.to_dict()
    assert listed["interval"] == max(interval(network, folding).values()) <= 800
    assert listed["hash"] == network.hash
    assert listed["input"] == dict(channels=3, height=4, width=6, bits=3)
    joins = [node.name for node in network.nodes if len(node.inputs) == 2]
    assert sorted(listed["fifos"]) == sorted(joins)
    assert all(depths["skip"]["pixels"] >= depths["skip"]["minimum"] for depths in listed["fifos"].values())


def test_nothing_else_is_left_and_output_is_reproducible(network, written, tmp_path):
    assert sorted(path.name for path in written.parent.iterdir()) == ["folding.json", "ports.json", "top.v"]
    again = verilog.write(network, solve(network, 800), tmp_path, taps=True)
    assert again.read_text() == written.read_text()


def test_without_taps_there_are_none(network, tmp_path):
    text = verilog.write(network, solve(network, 800), tmp_path).read_text()
    assert set(module_ports(text)) == {"clk", "rst"} | {
        f"{s}__{p}" for s in "io" for p in ("payload", "valid", "ready")
    }


def test_counters_are_listed(network, tmp_path):
    text = verilog.write(network, solve(network, 800), tmp_path, counters=True).read_text()
    listed = json.loads((tmp_path / "ports.json").read_text())
    assert module_ports(text) == {port["name"]: (port["direction"], port["width"]) for port in listed["ports"]}
    assert listed["counted"] == [node.name for node in network.nodes if node.op in ("conv", "linear")]
    assert module_ports(text)["lanes_busy"] == module_ports(text)["lanes_blocked"] == ("output", len(listed["counted"]))


def test_a_failure_leaves_what_was_there(network, tmp_path, monkeypatch):
    (tmp_path / "top.v").write_text("before")

    def broken(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(verilog.json, "dumps", broken)
    with pytest.raises(OSError, match="disk full"):
        verilog.write(network, solve(network, 800), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["top.v"]
    assert (tmp_path / "top.v").read_text() == "before"


def test_command(network, tmp_path):
    save(network, tmp_path / "net")
    out, again = tmp_path / "out", tmp_path / "again"
    status, printed, _ = run_cli("verilog", tmp_path / "net", "--interval", 700, "--taps", "--out", out)
    assert status == 0
    assert re.fullmatch(r"small: \d+ cycles an image \(slowest: \S+\), \d+ one-bit lanes, \d+ multipliers -> .*top.v\n",
                        printed)  # fmt: skip
    listed = json.loads((out / "ports.json").read_text())
    assert listed["interval"] <= 700
    assert listed["taps"]
    folding = out / "folding.json"
    assert run_cli("verilog", tmp_path / "net", "--folding", folding, "--taps", "--out", again)[0] == 0
    assert (again / "top.v").read_text() == (out / "top.v").read_text()


def test_more_classes_than_a_label_can_name(tmp_path):
    save(random_network(1, classes=300, strides=(1,), channels=(2,), height=2, width=2), tmp_path / "net")
    status, _, error = run_cli("verilog", tmp_path / "net", "--out", tmp_path / "out")
    assert status == 1
    assert "1 to 256 classes, not [300]" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (["nowhere"], 2, "NET: 'nowhere' is no network"),
        (["NET", "--interval", "5"], 1, "no folding takes at most 5 cycles an image"),
        (["NET", "--interval", "0"], 2, "--interval must be at least 1, not 0"),
        (["NET", "--folding", "missing.json"], 2, "missing.json is not there"),
    ],
)
def test_errors_are_one_line(network, tmp_path, arguments, expected, message):
    save(network, tmp_path / "net")
    arguments = [str(tmp_path / "net") if a == "NET" else a for a in arguments]
    status, _, error = run_cli("verilog", *arguments, "--out", tmp_path / "out")
    assert status == expected
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()
