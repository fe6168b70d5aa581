"""`make sim` from end to end: the table, the figures, and that a fault in the hardware is found and named."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from popstream.model.data.cifar10 import CIFAR10_FOLDER
from popstream.model.manifest import Network, find, load, save
from popstream.sim.rtl import images as selection
from popstream.sim.rtl.rtl import RtlSimulator, SimulationError
from tests.command import run_cli
from tests.networks import random_network

ROOT = Path("build/tests")
COMMON = ["--optimize", "0", "--root", str(ROOT), "--processes", "1"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network that compiles in seconds; its images are noise."""
    network = random_network(8, height=5, width=4, channels=(3,), strides=(1,), name="small")
    folder = tmp_path_factory.mktemp("small")
    save(network, folder)
    return network, [str(folder), *COMMON, "--interval", "400"]


def test_digits():
    status, printed, _ = run_cli("sim", "digits-w1a2", *COMMON, "--images", 24, "--stall", 0.3)
    assert status == 0
    assert "RTL against golden model" in printed
    assert "Every value is equal" in printed
    content = json.loads((ROOT / "digits-w1a2" / "sim.json").read_text())
    assert (content["network"], content["images"], content["mismatches"]) == ("digits-w1a2", 24, 0)
    assert content["top1_golden"] == content["top1_rtl"] > 80
    assert content["latency_cycles"] > 0
    assert 0 < content["interval_cycles"] <= 1.1 * content["predicted_interval_cycles"]
    assert content["divergence"] is None
    network = load(find("digits-w1a2"))
    tapped = sum(int(np.prod(node.shape)) for node in network.nodes if node.op not in ("input", "linear"))
    assert content["values_compared"] == 24 * (tapped + 11)


def fault_in(network, op):
    """A fault that must show: a weight of the other sign, or a threshold that is never reached."""
    node = next(node for node in network.nodes if node.op == op)
    if op == "conv":
        return node, f"{node.name}.weight[1,0,1,1]^{node['weight_bits'] - 1}"
    channel = int(np.argmax(node.tensors["thresholds"][:, -1]))
    assert node.tensors["thresholds"][channel, -1] >= 0
    return node, f"{node.name}.thresholds[{channel},{node.tensors['thresholds'].shape[1] - 1}]^30"


@pytest.mark.parametrize("op", ["conv", "threshold"])
def test_a_fault_is_found_and_named(small, op):
    network, arguments = small
    node, fault = fault_in(network, op)
    status, _, printed = run_cli("sim", *arguments, "--fault", fault, "--images", 6)
    assert status == 1
    channel = re.search(r"\[(\d+)", fault)[1]
    place = rf"first at node {re.escape(node.name)} \({op}\), image 0, pixel \(\d,\d\), channel {channel}: "
    assert re.search(place + r"expected -?\d+, got -?\d+", printed)
    content = json.loads((ROOT / "small" / "sim-fault.json").read_text())
    assert content["fault"] == fault
    assert content["divergence"] in printed


def test_a_fault_beyond_the_taps(small):
    """Logits alone tell that an image is wrong; it is simulated again to find the node."""
    network, arguments = small
    node, fault = fault_in(network, "conv")
    status, _, printed = run_cli("sim", *arguments, "--fault", fault, "--images", 6, "--taps", 0)
    assert status == 1
    content = json.loads((ROOT / "small" / "sim-fault.json").read_text())
    assert 0 < content["mismatches"] <= 6
    assert f"first at node {node.name} (conv), image " in printed


def test_waves(small):
    """The views name signals of the trace, each with its width; every node's beats are to be seen, as many as came."""
    network, arguments = small
    status, printed, _ = run_cli("sim", *arguments, "--images", 2, "--waves")
    assert status == 0
    folder = ROOT / "small"
    assert f"gtkwave {folder}/waves.fst {folder}/waves.gtkw" in printed
    assert f"surfer {folder}/waves.fst --command-file {folder}/waves.sucl" in printed
    wellen = pytest.importorskip("pywellen", reason="pywellen is not installed")
    trace = wellen.Waveform(path=str(folder / "waves.fst"))
    there = {signal.full_name: signal for signal in trace.all_vars()}
    commands = [line.split(maxsplit=1) for line in (folder / "waves.sucl").read_text().splitlines()]
    named = [value[0] for command, *value in commands if command == "variable_add"]
    assert len(named) > 60
    assert not [name for name in named if name not in there]
    lines = (folder / "waves.gtkw").read_text().splitlines()
    shown = [re.fullmatch(r"(bench\.[\w.$]+)(?:\[(\d+):0\])?", line) for line in lines if line.startswith("bench.")]
    widths = {match[1]: int(match[2] or 0) + 1 for match in shown}
    assert list(widths) == named
    assert widths == {name: there[name].bitwidth for name in named}
    assert lines.count("-input and output") == 2
    for node in network.nodes[1:]:
        assert lines.count(f"-{node.name}") == 2
        beats = f"bench.dut.tap_{node.name.replace('.', '_')}_valid"
        assert beats in named
        assert any(value for _, value in there[beats].tv), node.name
    for block in ("stem_conv_window", "stem_conv_matvec", "linear_classifier"):
        ends = [name.rsplit(".", 1)[1] for name in named if name.startswith(f"bench.dut.{block}.")]
        assert {"valid", "ready"} <= {re.sub(r".*__(\w+?)(\$\d+)?", r"\1", end) for end in ends}, block


def test_a_hang_fails(small, monkeypatch):
    def hang(*_, **__):
        raise SimulationError("The accelerator hangs: no beat moved for 9 cycles")

    monkeypatch.setattr(RtlSimulator, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(RtlSimulator, "simulate", hang)
    status, _, said = run_cli("sim", *small[1], "--images", 2)
    assert (status, said) == (1, "error: The accelerator hangs: no beat moved for 9 cycles\n")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--fault", "nowhere.weight[0]"], "error: No node 'nowhere' with tensors"),
        (["--fault", "weight"], "error: Fault must look like"),
        (["--interval", "1"], "error: "),
    ],
)
def test_errors_are_one_line(small, extra, message):
    status, _, said = run_cli("sim", *small[1], *extra)
    assert status == 1
    assert said.startswith(message)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--images", "0"], "--images must be at least 1, not 0"),
        (["--stall", "1"], "--stall must be a probability from 0 to below 1, not 1"),
        (["--taps", "-1"], "--taps must be at least 0, not -1"),
        (["--seed", "-1"], "--seed must be at least 0, not -1"),
        (["--optimize", "9"], "--optimize must be 0 to 3, not 9"),
        (["--folding", "none.json"], "--folding must be a file, and none.json is not there"),
        (["--interval", "9", "--folding", __file__], "--interval and --folding exclude each other; give one of them"),
    ],
)
def test_wrong_options(extra, message):
    status, _, said = run_cli("sim", "digits-w1a2", *extra)
    assert status == 2
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1


def test_too_many_images():
    status, _, said = run_cli("sim", "digits-w1a2", "--images", 361)
    assert (status, said) == (1, "error: Number of images must be 1 to 360 (digits), not 361\n")


@pytest.mark.parametrize("name", ["cifar10", "svhn", "imagenet64"])
def test_without_its_data_the_network_named_runs_on_photographs(monkeypatch, tmp_path, name):
    for variable in ("CIFAR10_DIR", "SVHN_DIR", "IMAGENET_DIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    network = random_network(8, height=5, width=4, channels=(3,), strides=(1,), name="small")
    save(Network.build("wants-data", name, network.classes, network.nodes), tmp_path)
    status, printed, said = run_cli("sim", tmp_path, *COMMON, "--interval", 400, "--images", 5)
    assert (status, said) == (0, "")
    printed = " ".join(printed.split())
    assert "wants-data runs on 5 pieces of scikit-learn's photographs instead: every value is compared" in printed
    assert "5 (photographs), 5 of them node by node" in printed
    assert "Every value is equal" in printed
    content = json.loads((ROOT / "wants-data" / "sim.json").read_text())
    assert (content["network"], content["images"], content["images_from"]) == ("wants-data", 5, "photographs")
    assert (content["mismatches"], content["top1_golden"], content["top1_rtl"]) == (0, None, None)


def test_a_damaged_batch_is_an_error_not_a_reason_for_digits(monkeypatch, tmp_path):
    network = random_network(2, height=4, width=4, channels=(3,), strides=(1,))
    save(Network.build("wants-cifar", "cifar10", network.classes, network.nodes), tmp_path)
    batches = tmp_path / CIFAR10_FOLDER
    batches.mkdir()
    for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        (batches / name).write_bytes(b"cut")
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    status, _, said = run_cli("sim", tmp_path)
    assert status == 1
    assert re.fullmatch(r"error: .*data_batch_1 is damaged .*; fetch it again\n", said)


def test_images_of_another_shape_and_processes():
    network = random_network(2, height=4, width=4, channels=(3,), strides=(1,))
    wrong = Network.build("wrong", "digits", network.classes, network.nodes)
    images = selection.images_for(wrong, 3)
    assert images.codes.shape == (3, 3, 4, 4)
    assert images.notice.startswith("wrong takes (3, 4, 4), but digits has (1, 8, 8) images. wrong runs on 3 pieces")
    with pytest.raises(ValueError, match="Number of images must be at least 1, not 0"):
        selection.images_for(network, 0)
    assert selection.processes_for(1000, 3) == 3
    assert selection.processes_for(3) == 1


def test_torch_is_not_needed():
    program = "import sys, popstream.sim.run, popstream.sim.accuracy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
