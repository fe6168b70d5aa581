"""Networks written as QONNX: the executor of qonnx gives golden's value at every node, and files read back the same."""

import json
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from popstream.model.manifest import ManifestError, Network, Node, find, load  # noqa: E402
from popstream.model.qonnx.back import read_back, written_by_us  # noqa: E402
from popstream.model.qonnx.load import QonnxError, load_model  # noqa: E402
from popstream.model.qonnx.write import KEY, model_of, write  # noqa: E402
from popstream.sim.executed import compare_written  # noqa: E402
from popstream.sim.golden.drawn import random_images, random_network  # noqa: E402
from popstream.sim.golden.drawn_post import random_mlp, random_post  # noqa: E402
from tests.command import run_cli  # noqa: E402

DIGITS = ("digits-w1a2", "digits-react-w1a1")
DRAWN = {
    "identity, signed": dict(weight_bits=2, shortcut="identity", weights="signed", end_weights="signed", relu=True),
    "type A, W3A3": dict(weight_bits=3, act_bits=3, shortcut="A", prelu=True),
    "type B, W1 signed": dict(weights="signed", shortcut="B", height=7, width=6),
    "averages, ends of 4 bits": dict(act_bits=8, weight_bits=4, first_bits=(4, 4), last_bits=(4, 4)),
}


def differing(network: Network, model: "onnx.ModelProto", images: np.ndarray) -> dict[str, int]:
    compared = list(compare_written(network, model, images))
    assert {row.node for row in compared} == {node.name for node in network.nodes}
    assert all(row.values for row in compared)
    return {row.node: row.mismatches for row in compared if row.mismatches}


@pytest.mark.parametrize("net", DIGITS)
def test_every_node_of_a_trained_network(net, tmp_path):
    network = load(find(net))
    model = load_model(write(network, tmp_path / "net.onnx"))
    assert differing(network, model, random_images(network.input, 7, 3)) == {}


POST = {
    "add, ties to even": dict(ties="even", own_rows=True, table_rows=3),
    "requant with skip, a row for all": dict(join="requant", table_rows=1, weights="odd"),
    "pad codes, pool of a stream": dict(pad_code=2, pool_codes=False, act_bits=3, first_bits=(4, 3)),
}


@pytest.mark.parametrize("how", [*DRAWN, *POST])
def test_every_node_of_a_drawn_network(how):
    network = random_network(11, **DRAWN[how]) if how in DRAWN else random_post(11, **POST[how])
    model = model_of(network)
    assert differing(network, model, random_images(network.input, 5, 2)) == {}
    assert read_back(model, "file") == network


def test_a_chain_of_linear_layers():
    network = random_mlp(5)
    model = model_of(network)
    assert differing(network, model, random_images(network.input, 5, 3)) == {}
    assert read_back(model, "file") == network


def test_a_comparison_finds_what_differs():
    network, other = (random_network(seed, weight_bits=2) for seed in (1, 2))
    assert "linear" in differing(network, model_of(other), random_images(network.input, 3, 2))


def test_extremes_are_exact():
    """Thresholds and biases beyond 2^24, and a network of one image's pixel."""
    nodes = [
        Node("in", "input", (), dict(channels=1, height=1, width=1, bits=8)),
        Node("conv", "conv", ("in",), dict(out_channels=2, kernel=1, stride=1, padding=0, weight_bits=8, act_bits=8),
             dict(weight=np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))),
        Node("codes", "threshold", ("conv",), dict(bits=2),
             dict(thresholds=np.array([[-(2**31), 1 - 2**31, 2**31 - 1], [2**24 - 1, 2**24, 2**24 + 1]], np.int32))),
        Node("out", "linear", ("codes",), dict(out_features=2, weight_bits=1, act_bits=2),
             dict(weight=np.array([[0, 1], [1, 0]], np.uint8), bias=np.array([2**31 - 9, 9 - 2**31], np.int32))),
    ]  # fmt: skip
    network = Network.build("ends", "noise", ["a", "b"], nodes)
    model = model_of(network)
    assert differing(network, model, np.arange(0, 256, 51, dtype=np.uint8).reshape(-1, 1, 1, 1)) == {}
    assert read_back(model, "file") == network


def test_written_read_and_written_again_it_is_the_same_file(tmp_path):
    network = load(find("digits-w1a2"))
    first = write(network, tmp_path / "first.onnx")
    model = load_model(first)
    assert written_by_us(model)
    again = read_back(model, str(first))
    assert (again.hash, again.name, again.accuracy, again.training) == (
        network.hash, network.name, network.accuracy, network.training)  # fmt: skip
    assert write(again, tmp_path / "second.onnx").read_bytes() == first.read_bytes()


def test_a_file_whose_weights_were_changed_is_refused():
    model = model_of(random_network(3))
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == "stem.conv.weight")
    changed = onnx.numpy_helper.to_array(stored).copy()
    changed.flat[0] = -changed.flat[0]
    stored.CopyFrom(onnx.numpy_helper.from_array(changed, stored.name))
    with pytest.raises(QonnxError, match=r"it was changed; take out its metadata 'popstream.network'"):
        read_back(model, "net.onnx")


@pytest.mark.parametrize(("text", "said"), [
    ("{", "not valid JSON"), ("{}", "the file lacks 'schema'"), ('{"schema": 1}', "the file lacks 'hash'"),
])  # fmt: skip
def test_metadata_that_are_not_ours(text, said):
    model = model_of(random_network(3))
    onnx.helper.set_model_props(model, {KEY: text})
    with pytest.raises(QonnxError, match=said):
        read_back(model, "net.onnx")


def test_a_node_without_its_tensors():
    model = model_of(random_network(3))
    (entry,) = model.metadata_props
    content = json.loads(entry.value)
    content["nodes"][1]["name"] = "other"
    entry.value = json.dumps(content)
    with pytest.raises(QonnxError, match=r"net\.onnx: node "):
        read_back(model, "net.onnx")


def test_sums_that_float32_does_not_hold_are_refused():
    nodes = [
        Node("in", "input", (), dict(channels=400, height=1, width=1, bits=8)),
        Node("out", "linear", ("in",), dict(out_features=1, weight_bits=8, act_bits=8),
             dict(weight=np.full((1, 400), 255, np.uint8), bias=np.zeros(1, np.int32))),
    ]  # fmt: skip
    with pytest.raises(ManifestError, match="node 'out': its sums reach 26,010,000, and ONNX adds in float32"):
        model_of(Network.build("wide", "noise", ["a"], nodes))


def test_the_verb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run_cli("export-qonnx", "digits-w1a2", "--images", 2)
    assert (status, err) == (0, "")
    assert "2 random images, 10,932 values of every node, 0 differ -> build/digits-w1a2/digits-w1a2.onnx" in out
    kept = json.loads(Path("build/digits-w1a2/export-qonnx.json").read_text())
    assert kept == {"network": "digits-w1a2", "images": 2, "seed": 0, "values": 10932, "mismatches": 0}
