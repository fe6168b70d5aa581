"""The manifest: round trip, derived fields, hash, forks, and what a failed save leaves behind."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from popstream.model import manifest
from popstream.model.manifest import (
    ManifestError,
    Network,
    Node,
    accumulator_range,
    find,
    fork,
    load,
    save,
    signed_width,
)
from tests.model.damage import edit, edit_tensors, entry
from tests.networks import SHORTCUTS, random_network

ROOT = Path(__file__).parents[3]
CONV, REQUANT = "group0.conv0.conv", "group0.conv0.requant"


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("convs", [1, 2])
def test_round_trip(shortcut: str, convs: int, tmp_path: Path):
    network = random_network(1, shortcut=shortcut, convs_per_shortcut=convs, weight_bits=3)
    path = save(network, tmp_path / "a" / "net")
    for given in (path, path.parent, str(path)):
        again = load(given)
        assert again.hash == network.hash
        assert [node.name for node in again.nodes] == [node.name for node in network.nodes]
        for node, other in zip(again.nodes, network.nodes, strict=True):
            assert (node.op, node.inputs, node.attributes) == (other.op, other.inputs, other.attributes)
            assert (node.shape, node.kind, node.bits) == (other.shape, other.kind, other.bits)
            assert {k: (v.dtype, v.tolist()) for k, v in node.tensors.items()} == {
                k: (v.dtype, v.tolist()) for k, v in other.tensors.items()
            }
        assert (again.name, again.data, again.classes) == (network.name, network.data, network.classes)
        assert (again.accuracy, again.training) == (network.accuracy, network.training)


def test_derived_fields(network: Network):
    assert (network.input.kind, network.input.shape, network.input.bits) == ("codes", (3, 8, 8), 8)
    stem = network.node("stem.conv")
    low, high = accumulator_range(stem)
    assert (stem.kind, stem.shape) == ("acc", (4, 8, 8))
    assert -(2 ** (stem.bits - 1)) <= low.min() < -(2 ** (stem.bits - 2)) or high.max() >= 2 ** (stem.bits - 2)
    assert high.max() < 2 ** (stem.bits - 1)
    assert network.node("group1.conv0.conv").shape == (6, 4, 4)
    shortcut = network.node("group1.conv0.shortcut")
    assert (shortcut.kind, shortcut.shape, shortcut.bits) == ("stream", (6, 4, 4), 12)
    assert (network.output.kind, network.output.shape, network.output.bits) == ("logits", (4, 1, 1), 32)
    assert [node.name for node in network.consumers("stem.requant")] == [
        "group0.conv0.threshold",
        "group0.conv0.requant",
    ]
    with pytest.raises(ValueError, match="read-only"):
        stem.tensors["weight"][0] = 0


def test_accumulator_range_by_hand():
    weight = np.array([0, 1, 2, 3], np.uint8).reshape(2, 2, 1, 1)  # w = -3, -1 and 1, 3
    node = Node("c", "conv", ("x",), dict(weight_bits=2, act_bits=3), dict(weight=weight))
    low, high = accumulator_range(node)
    assert (low.tolist(), high.tolist()) == ([-28, 0], [0, 28])


def test_accumulator_range_of_signed_weights_by_hand():
    weight = np.array([0, 1, 2, 3], np.uint8).reshape(2, 2, 1, 1)  # w = 0, 1 and -2, -1
    node = Node("c", "conv", ("x",), dict(weight_bits=2, act_bits=3, weights="signed"), dict(weight=weight))
    low, high = accumulator_range(node)
    assert (low.tolist(), high.tolist()) == ([0, -21], [7, 0])


def test_what_is_left_out_is_at_its_default(network: Network, tmp_path: Path):
    """Said or not, it is hashed and written alike: networks from before the attribute keep their hash."""
    said = [
        replace(n, attributes={**n.attributes, "weights": "odd"}) if "weight" in n.tensors else n for n in network.nodes
    ]
    same = Network.build(network.name, network.data, network.classes, said)
    assert same.hash == network.hash
    conv = same.node("stem.conv")
    assert "weights" not in conv.attributes
    assert conv["weights"] == "odd"
    assert "weights" not in save(same, tmp_path).read_text()
    with pytest.raises(KeyError):
        conv["heights"]


@pytest.mark.parametrize(
    ("low", "high", "width"), [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-2, 1, 2), (-3, 0, 3), (-128, 127, 8), (0, 128, 9)]
)
def test_signed_width(low: int, high: int, width: int):
    assert signed_width(low, high) == width


def test_signed_width_of_nothing():
    with pytest.raises(ValueError, match="must not be empty, not 1 to 0"):
        signed_width(1, 0)


def test_fork():
    network = random_network(1, shortcut="B", convs_per_shortcut=2)
    start, main, skip = fork(network, network.node("group1.conv1.requant"))
    assert start.name == "group0.conv1.requant"
    assert [n.name for n in main] == [f"group1.conv{i}.{op}" for i in (0, 1) for op in ("threshold", "conv")]
    assert [n.name for n in skip] == [f"group1.conv0.project.{op}" for op in ("threshold", "conv", "requant")]
    start, main, skip = fork(network, network.node("group0.conv1.requant"))
    assert (start.name, len(main), skip) == ("stem.requant", 4, [])
    with pytest.raises(ValueError, match=r"Node 'stem\.requant' has no skip input"):
        fork(network, network.node("stem.requant"))


def test_any_order_loads_and_hashes_alike(network: Network, folder: Path):
    edit(folder, lambda content: content["nodes"].reverse())
    again = load(folder)
    assert again.hash == network.hash
    names = [node.name for node in again.nodes]
    assert all(names.index(i) < names.index(node.name) for node in again.nodes for i in node.inputs)


def test_hash_covers_attributes_and_tensors(network: Network, folder: Path):
    accuracy = {"top1_float": 91.5, "top1_frozen": None, "top1_rtl": 0, "top1_board": 100, "images": 10000}
    edit(folder, lambda content: content.update(accuracy=accuracy))
    assert load(folder).hash == network.hash
    edit(folder, lambda content: entry(content, "stem.requant").update(relu=True))
    changed = load(folder).hash
    assert changed != network.hash
    edit_tensors(folder, lambda tensors: tensors["linear.bias"].__setitem__(0, 7))
    assert load(folder).hash not in (network.hash, changed)


def test_find(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert load(find(str(saved))).name == "random"
    assert find(str(saved / "network.json")) == saved / "network.json"
    shutil.copytree(saved, tmp_path / "kept")
    monkeypatch.setattr(manifest, "ZOO", tmp_path)
    assert find("kept") == tmp_path / "kept"
    with pytest.raises(ManifestError, match=r"\./kept: neither a manifest nor a network of model/zoo"):
        find("./kept")
    message = "none: neither a manifest nor a network of model/zoo (kept)"
    with pytest.raises(ManifestError, match=re.escape(message)):
        find("none")


def test_does_not_import_torch():
    code = "import sys, model.rom.image, sim.golden, tests.networks; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_identity_shortcut_node(network: Network):
    nodes = {node.name: node for node in network.nodes}
    add = nodes["group0.conv1.requant"]
    nodes["same"] = Node("same", "shortcut", (REQUANT,), dict(stride=1, reduce="sample", out_channels=4, pad_front=0))
    nodes[add.name] = Node(add.name, "requant", (add.inputs[0], "same"), add.attributes, add.tensors)
    built = Network.build("fine", "random", network.classes, nodes.values())
    start, main, skip = fork(built, built.node(add.name))
    assert (start.name, len(main), [node.name for node in skip]) == (REQUANT, 2, ["same"])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
@pytest.mark.parametrize("call", [1, 2])
def test_failed_save_leaves_nothing_new(network: Network, tmp_path: Path, failing: str, call: int, monkeypatch):
    """The n-th write or rename fails: a new folder vanishes, and an old one stays as it was."""
    other = random_network(4)
    kept = tmp_path / "kept"
    save(other, kept)
    before = names(kept)
    real, calls = getattr(Path, failing), 0

    def fail(*arguments):
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError("disk full")
        return real(*arguments)

    for folder in (tmp_path / "new", kept):
        calls = 0
        with monkeypatch.context() as patch:
            patch.setattr(Path, failing, fail)
            with pytest.raises(OSError, match="disk full"):
                save(network, folder)
    assert names(kept) == before
    assert load(kept).hash == other.hash
    assert not (tmp_path / "new").exists()


KILLED = """
import os, sys
from pathlib import Path
from popstream.model.manifest import load, save
first, second, root = map(Path, sys.argv[1:])
first, second = load(first), load(second)
for name in ("write_bytes", "replace", "unlink"):
    for call in (1, 2):
        for after in (False, True):
            folder = root / f"{name}-{call}-{after}"
            save(first, folder)
            if os.fork() == 0:
                real, calls = getattr(Path, name), 0
                def step(*arguments, **options):
                    global calls
                    calls += 1
                    if calls == call and not after:
                        os._exit(9)
                    result = real(*arguments, **options)
                    if calls == call:
                        os._exit(9)
                    return result
                setattr(Path, name, step)
                save(second, folder)
                os._exit(0)
            os.wait()
"""


def test_save_killed_at_any_step_leaves_the_old_network_or_the_new(network: Network, tmp_path: Path):
    other = random_network(4)
    save(other, tmp_path / "first"), save(network, tmp_path / "second")
    folders = [str(tmp_path / name) for name in ("first", "second", "killed")]
    subprocess.run([sys.executable, "-c", KILLED, *folders], cwd=ROOT, check=True, timeout=100)
    found = {path.name: load(path).hash for path in (tmp_path / "killed").iterdir()}
    assert len(found) == 12
    assert set(found.values()) == {network.hash, other.hash}
    assert found["replace-2-False"] == other.hash  # between the two renames
    assert found["replace-2-True"] == network.hash
    for name in found:  # and what a killed one left behind is no trouble to the next
        folder = tmp_path / "killed" / name
        save(network, folder)
        assert load(folder).hash == network.hash
        assert len([path for path in names(folder) if path.endswith(".safetensors")]) == 1


def test_saving_again_changes_no_file(network: Network, tmp_path: Path):
    for _ in range(2):
        save(network, tmp_path)
        assert names(tmp_path) == {"network.json", "network.safetensors"}
    save(random_network(4), tmp_path)
    once = names(tmp_path)
    save(random_network(4), tmp_path)
    assert names(tmp_path) == once != {"network.json", "network.safetensors"}


def test_the_zoo_is_bound_to_its_tensors():
    for folder in manifest.zoo():
        assert len(json.loads((folder / "network.json").read_text())["sha256"]) == 64
