"""Verilog and port list of a small network: what is written, that it agrees, and what is said when it cannot be."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import popstream
from popstream.hw import verilog
from popstream.hw.folding.folding import Folding, interval
from popstream.hw.packaging import files
from popstream.hw.solver.solve import solve
from popstream.model.manifest import save
from popstream.sim.verilator.tools import verilator_bin
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


def module_ports(text: str, module: str = "top") -> dict[str, tuple[str, int]]:
    """Ports of a module: name to (direction, width)."""
    body = re.search(rf"\bmodule {module}\(.*?\bendmodule", text, re.DOTALL)
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
    assert sorted(path.name for path in written.parent.iterdir()) == sorted(files())
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


def test_command_for_a_design_of_one_s_own(network, tmp_path, monkeypatch):
    save(network, tmp_path / "net")
    monkeypatch.chdir(tmp_path)
    status, printed, error = run_cli("verilog", "net", "--name", "my_net", "--bus", "axi", "--registers")
    assert (status, error) == (0, "")
    folder = Path("build/small/verilog/my_net")
    assert printed.endswith(f"-> {folder / 'my_net.v'}\n")
    assert sorted(path.name for path in folder.iterdir()) == sorted(files("my_net"))
    listed = json.loads((folder / "ports.json").read_text())
    assert {"s_axis_tdata", "wb_adr"} < {port["name"] for port in listed["ports"]}


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (["nowhere"], 2, "NET: 'nowhere' is no network"),
        (["NET", "--interval", "5"], 1, "no folding takes at most 5 cycles an image"),
        (["NET", "--interval", "0"], 2, "--interval must be at least 1, not 0"),
        (["NET", "--folding", "missing.json"], 2, "missing.json is not there"),
        (["NET", "--name", "wire"], 2, "--name must not be a keyword of Verilog or SystemVerilog, as 'wire' is"),
        (["NET", "--name", "a.b"], 2, "--name must be 1 to 64 letters, digits and _, the first no digit, not 'a.b'"),
        (["NET", "--bus", "avalon"], 2, "--bus must be one of plain, axi, not 'avalon'"),
        (["NET", "--bus", "axi", "--taps"], 2, "--taps goes with the plain bus alone"),
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


def test_the_same_bytes_wherever_the_program_lies(network, written, tmp_path):
    """A copy of the package in another folder, in a process of its own, writes every file alike; none names a path."""
    save(network, tmp_path / "net")
    package = Path(popstream.__file__).parent
    for room in ("hw", "model"):
        shutil.copytree(package / room, tmp_path / "popstream" / room, ignore=shutil.ignore_patterns("zoo", "*.pyc"))
    shutil.copy(package / "__init__.py", tmp_path / "popstream")
    program = (
        "from popstream.hw import verilog\n"
        "from popstream.hw.solver.solve import solve\n"
        "from popstream.model.manifest import load\n"
        "from pathlib import Path\n"
        "assert Path(verilog.__file__).is_relative_to(Path.cwd()), verilog.__file__\n"
        "network = load(Path('net'))\n"
        "verilog.write(network, solve(network, 800), Path('out'), taps=True)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    for name in files():
        text = (written.parent / name).read_text()
        assert (tmp_path / "out" / name).read_text() == text, name
        assert "src = " not in text
        assert str(package) not in text
        assert str(package.resolve().parent) not in text


@pytest.mark.parametrize(("bus", "registers"), [("plain", False), ("plain", True), ("axi", False), ("axi", True)])
def test_a_name_and_a_bus(network, tmp_path, bus, registers):
    path = verilog.write(network, solve(network, 800), tmp_path, name="my_net", bus=bus, registers=registers)
    assert path == tmp_path / "my_net.v"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files("my_net"))
    listed = json.loads((tmp_path / "ports.json").read_text())
    expected = {port["name"]: (port["direction"], port["width"]) for port in listed["ports"]}
    assert module_ports(path.read_text(), "my_net") == expected
    assert all(port["meaning"] for port in listed["ports"])
    assert (listed["top"], listed["bus"]) == ("my_net", bus)
    assert bool(listed["registers"]) == registers == ("wb_ack" in expected)
    assert ("s_axis_tdata" in expected) == (bus == "axi") != ("i__payload" in expected)
    assert ("aclk" in expected) == (bus == "axi") != ("clk" in expected)
    modules = re.findall(r"^module \\?([\w.]+)", path.read_text(), re.MULTILINE)
    assert all(module.split(".")[0] == "my_net" for module in modules)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(name="1net"), "name must be 1 to 64 letters, digits and _, the first no digit, not '1net'"),
        (dict(name=""), "not ''"),
        (dict(name="a-b"), "not 'a-b'"),
        (dict(name="a/../b"), "not 'a/../b'"),
        (dict(name="größe"), "not 'größe'"),
        (dict(name="x" * 100_000), "not '" + "x" * 64 + r"...'$"),
        (dict(name="module"), "must not be a keyword of Verilog or SystemVerilog, as 'module' is"),
        (dict(name="logic"), "as 'logic' is"),
        (dict(bus="avalon"), "Bus must be plain or axi, not 'avalon'"),
        (dict(bus="axi", taps=True), "Taps and counters are for the plain bus without registers"),
        (dict(registers=True, counters=True), "Taps and counters"),
    ],
)
def test_what_cannot_be_written(network, tmp_path, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        verilog.write(network, solve(network, 800), tmp_path / "out", **options)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_fusesoc_reads_the_core_and_verilator_passes_it(network, tmp_path):
    """FuseSoC's own command lists the core and runs its target `lint`."""
    pytest.importorskip("fusesoc", reason="fusesoc is not installed")
    verilog.write(network, solve(network, 800), tmp_path / "core", name="my_net", bus="axi", registers=True)
    home = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CONFIG", "DATA", "CACHE")}
    tool = Path(sys.executable).with_name("fusesoc")
    path = f"{verilator_bin().resolve()}{os.pathsep}{os.environ['PATH']}"

    def fusesoc(*arguments):
        command = [tool, "--cores-root", "core", *arguments]
        environment = os.environ | home | {"HOME": str(tmp_path), "PATH": path}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    core = f"popstream:accelerator:my_net:{popstream.__version__}"
    shown = fusesoc("core", "show", core)
    assert shown.returncode == 0, shown.stderr
    assert "Streaming accelerator, 6x4 pixels to 4 classes, bus axi" in shown.stdout
    lint = fusesoc("run", "--target=lint", core)
    assert lint.returncode == 0, lint.stdout + lint.stderr
    assert "%Warning" not in lint.stdout + lint.stderr
