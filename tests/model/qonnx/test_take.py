"""Networks of others' exporters: every quantizer's codes are those of the file's own executor."""

import json
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("qonnx")
from onnx import helper, numpy_helper  # noqa: E402

from popstream.model.manifest import load  # noqa: E402
from popstream.model.qonnx.back import read_back  # noqa: E402
from popstream.model.qonnx.load import check, load_model  # noqa: E402
from popstream.model.qonnx.take import Entry, Taken, take  # noqa: E402
from popstream.model.qonnx.write import model_of  # noqa: E402
from popstream.sim.executed import compare_taken  # noqa: E402
from tests.command import run_cli  # noqa: E402
from tests.model.qonnx.graphs import Graph, mlp, residual, signs  # noqa: E402
from tests.model.qonnx.package import before_resize  # noqa: E402

HOWS = {
    "ternary": dict(),
    "one bit": dict(bits=(1, 2), negative=True),
    "one bit, codes of one": dict(bits=(1, 1)),
    "three bits, scale per channel": dict(bits=(3, 3), per_channel=True, negative=True),
    "three bits, not narrow": dict(bits=(3, 4), narrow=0),
    "eight bits": dict(bits=(8, 8)),
    "powers of two, full of ties": dict(bits=(4, 4), power_of_two=True),
    "powers of two, halves away from zero": dict(bits=(4, 3), power_of_two=True, mode="HALF_UP"),
    "rounded down": dict(bits=(4, 4), power_of_two=True, mode="FLOOR"),
    "a pool rounded down": dict(bits=(2, 4), pool="FLOOR"),
    "a pool of version 1": dict(bits=(2, 4), pool="FLOOR", trunc=1, version=1),
    "an average of few bits": dict(pool=""),
    "one scale twice the other": dict(bits=(3, 4), separate=2),
    "scales of three and two": dict(bits=(3, 4), separate=1.5),
    "scales without a small unit": dict(bits=(3, 4), separate=1.37),
    "the same, codes of eight bits": dict(bits=(2, 8), separate=0.83),
    "a zero point": dict(zero=3),
    "an old domain": dict(domain="onnx.brevitas", version=None),
    "an older one": dict(domain="finn.custom_op.general", version=None),
    "the oldest": dict(domain="finn", version=None),
}


def differing(taken: Taken, count: int = 2) -> dict[str, int]:
    images = np.random.default_rng(1).integers(
        0, 2**taken.network.entry_bits, (count, *taken.network.input.shape), dtype=np.uint8
    )  # fmt: skip
    compared = compare_taken(taken, images)
    assert sum(row.values for row in compared) > 40 * count
    return {row.node: row.mismatches for row in compared if row.mismatches}


def quantizers(taken: Taken) -> set[str]:
    return {check.tensor for check in taken.checks}


@pytest.mark.parametrize("how", HOWS)
def test_a_residual_network(how):
    model = residual(3, **HOWS[how])
    check(model)
    taken = take(model, "net")
    assert differing(taken) == {}
    active = [node for node in taken.model.graph.node if node.op_type in ("Quant", "Trunc")]
    constant = {f"{node.op_type} {node.name!r}" for node in active} & {
        where for where, said in taken.rows if said.startswith("a constant")
    }
    assert len(quantizers(taken)) == len(active) - len(constant)  # none goes unseen
    assert all(said and said != "read by no node" for _, said in taken.rows)


def test_halves_of_powers_of_two_go_to_even():
    """Multiply, add and shift with halves up would not do: thousands of sums lie halfway."""
    taken = take(residual(3, bits=(4, 4), power_of_two=True), "net")
    assert {node["ties"] for node in taken.network.nodes if node.op == "requant"} == {"even"}


@pytest.mark.parametrize(("padding", "zero", "mode", "bits"), [
    (1, 0, "ROUND", [2, 2, 1]), (1, 0, "FLOOR", [2, 2, 1]),  # with a code for the border of zeros
    (0, 0, "ROUND", [1, 1, 1]), (1, 1, "ROUND", [1, 1, 1]),  # without one: {-2, 0} has it
])  # fmt: skip
def test_codes_of_minus_and_plus_one(padding, zero, mode, bits):
    taken = take(signs(padding, zero, mode), "net")
    codes = [node for node in taken.network.nodes if node.op == "threshold"]
    assert [node["bits"] for node in codes[:3]] == bits
    assert differing(taken, 20) == {}


@pytest.mark.parametrize("bipolar", [True, False])
def test_linear_layers_in_a_row(bipolar):
    taken = take(mlp(2, bipolar), "net")
    assert [node.op for node in taken.network.nodes] == ["input", "conv", "threshold", "conv", "threshold", "linear"]
    assert differing(taken, 20) == {}
    assert taken.rows[-1] == ("Softmax 'Softmax_0'", "left out: it only orders the logits")


def test_names_play_no_part():
    model = residual(3)
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    names = {
        name: f"n{i}" for i, name in enumerate({n for node in model.graph.node for n in (*node.input, *node.output)})
    }
    for node in renamed.graph.node:
        node.name = ""
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for value in (*renamed.graph.initializer, *renamed.graph.input, *renamed.graph.output):
        value.name = names[value.name]
    assert take(renamed, "net").network.hash == take(model, "net").network.hash


def test_tensors_that_are_inputs_too():
    """As old exporters wrote them; one of them is read by no node."""
    model = residual(3)
    unread = numpy_helper.from_array(np.zeros((2, 3), np.float32), "unread")
    model.graph.initializer.append(unread)
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = 3
    assert take(model, "net").network.hash == take(residual(3), "net").network.hash


def test_how_pixels_enter():
    entry = Entry(mean=(0.5, 0.4, 0.3), std=(0.25, 0.25, 0.2))
    taken = take(residual(3), "net", entry)
    assert taken.network.input.tensors["table"].shape == (3, 256)
    assert differing(taken) == {}
    assert taken.network.hash != take(residual(3), "net").network.hash


@pytest.mark.parametrize("how", [dict(bits=(3, 3), zero=3, pool="FLOOR"), dict(separate=1.37)])
def test_taken_written_and_read_back_it_has_the_same_integers(how):
    network = take(residual(3, **how), "net").network
    again = read_back(model_of(network), "file")
    assert again.hash == network.hash
    for node in network.nodes:
        assert {k: v.tobytes() for k, v in again.node(node.name).tensors.items()} == {
            k: v.tobytes() for k, v in node.tensors.items()
        }


def test_the_verb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.onnx").write_bytes(residual(3).SerializeToString())
    status, out, err = run_cli("import", "a.onnx", "--name", "mine", "--images", 2)
    assert (status, err) == (0, "")
    assert "2 images (noise), 3,730 codes and sums beside the file's executor: 0 differ" in " ".join(out.split())
    assert "an addition of streams" in out
    network = load(Path("build/imported/mine"))
    assert (network.name, network.classes) == ("mine", ("0", "1", "2"))
    run_cli("export-qonnx", "build/imported/mine", "--images", 1)
    status, out, err = run_cli("import", "build/mine/mine.onnx", "--name", "again", "--images", 1)
    assert (status, err) == (0, "")
    assert load(Path("build/imported/again")).hash == network.hash
    about = json.loads(Path("build/imported/mine/import.json").read_text())
    assert about["quantizers"] == 11
    assert (about["file"], about["options"], about["images"], about["mismatches"]) == ("a.onnx", "", 2, 0)
    run_cli("export-qonnx", "build/imported/again", "--images", 1)
    first, second = (integers(Path(f"build/{name}/{name}.onnx")) for name in ("mine", "again"))
    assert first == second


def integers(path: Path) -> dict[str, bytes]:
    """Every tensor that a file holds."""
    return {tensor.name: tensor.SerializeToString() for tensor in load_model(path).graph.initializer}


def test_what_the_executor_rounds_otherwise_is_not_written(tmp_path, monkeypatch):
    """Ties of rationals that float32 misses: scales of 1/15 beside powers of two."""
    monkeypatch.chdir(tmp_path)
    model = residual(3, bits=(4, 4), power_of_two=True)
    scale = onnx.numpy_helper.from_array(np.array(1 / 15, np.float32))
    for tensor in model.graph.initializer:
        if not tensor.dims and onnx.numpy_helper.to_array(tensor) == 1 / 16:
            tensor.raw_data = scale.raw_data
    Path("a.onnx").write_bytes(model.SerializeToString())
    status, _, err = run_cli("import", "a.onnx", "--name", "mine", "--images", 3)
    assert status == 1
    assert "values of the file's executor differ, first at" in err
    assert not Path("build").exists()


def test_a_node_that_reads_a_tensor_twice():
    g = Graph((1, 3, 8, 8))
    x = g.quant("x", 1 / 255, 8, signed=0)
    x = g.quant(g.node("Relu", g.conv(x, g.weights((4, 3, 3, 3), 2))), 0.3, 2, signed=0)
    x = g.quant(g.node("Add", x, x), 0.5, 2, signed=0)
    flat = g.node("Flatten", g.node("GlobalAveragePool", x), axis=1)
    taken = take(g.model(g.node("Gemm", flat, g.weights((3, 4), 4), transB=1)), "net")
    assert ("Add 'Add_0'", "folded into what reads it: twice the same") in taken.rows
    assert differing(taken) == {}


def test_the_convolutional_network_in_the_package():
    """Its part before the resize, which ends here in an average and three classes; images of 8 x 8 in place of 128."""
    taken = take(before_resize(8), "espcn")
    assert [node.op for node in taken.network.nodes].count("conv") == 3
    assert len(quantizers(taken)) == 5
    assert differing(taken, 1) == {}
