"""Files that are damaged or made to do harm: refused in one line, before anything computes with them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from popstream.model.qonnx.load import QonnxError, load_model  # noqa: E402
from popstream.model.qonnx.write import model_of  # noqa: E402
from popstream.sim.golden.drawn import random_network  # noqa: E402

NETWORK = random_network(3, blocks=1, convs_per_block=1, channels=(4,), strides=(1,))
FIRST = "stem.conv.weight"


def said(path: Path) -> str:
    with pytest.raises(QonnxError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def refused(tmp_path: Path, change: Callable) -> str:
    """What loading says of a good file after `change` of its model."""
    model = model_of(NETWORK)
    change(model)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return said(path)


def stored(model, name: str = FIRST):
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def external(model) -> None:
    tensor = stored(model)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def promised(model) -> None:
    """Four times 2 GB."""
    stored(model).dims[:] = [2**31]


def negative(model) -> None:
    stored(model).dims[:] = [-1, 4]


def with_nan(model) -> None:
    tensor = stored(model)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[3] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def text_tensor(model) -> None:
    stored(model).CopyFrom(helper.make_tensor(FIRST, TensorProto.STRING, [1], [b"x"]))


def cycle(model) -> None:
    model.graph.node[1].input[0] = model.graph.node[-1].output[0]


def loop_of_one(model) -> None:
    model.graph.node[1].input[0] = model.graph.node[1].output[0]


def dangling(model) -> None:
    model.graph.node[1].input[0] = "nowhere"


def twice(model) -> None:
    model.graph.node[2].output[0] = model.graph.node[1].output[0]


def inner_graph(model) -> None:
    model.graph.node.append(helper.make_node("If", ["one"], ["x"], then_branch=model.graph, else_branch=model.graph))


def foreign(model) -> None:
    model.graph.node[0].domain = "os.path"


def function(model) -> None:
    model.functions.append(helper.make_function("d", "f", ["a"], ["b"], [], [helper.make_opsetid("", 20)]))


def no_output(model) -> None:
    model.graph.output[0].name = "nowhere"


def many(model) -> None:
    model.graph.node.extend([helper.make_node("Identity", ["one"], [f"i{i}"]) for i in range(2**14)])


CHANGES = {
    external: "tensor 'stem.conv.weight': its data lie in another file; save the model in one",
    promised: "tensor 'stem.conv.weight': promises 2,147,483,648 numbers ([2147483648]) and holds 108",
    negative: "tensor 'stem.conv.weight': sizes must be at least 0, not [-1, 4]",
    with_nan: "tensor 'stem.conv.weight': holds nan",
    text_tensor: "tensor 'stem.conv.weight': type 8 cannot be read; float32, float64 and integers can",
    cycle: "is made only later, or out of itself (a cycle); nodes must stand in order",
    loop_of_one: "is made only later, or out of itself (a cycle)",
    dangling: "its input 'nowhere' is made by no node",
    twice: "is made twice",
    inner_graph: "If 'x': holds a graph of its own; only plain nodes can be read",
    foreign: "domain 'os.path' is none of QONNX (qonnx.custom_op.general, onnx.brevitas, finn.custom_op.general)",
    function: "has functions or sparse tensors",
    no_output: "output 'nowhere' is made by no node",
    many: "nodes; at most 16,384 are read",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_hostile_file(tmp_path, change):
    assert CHANGES[change] in refused(tmp_path, change)


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    data = model_of(NETWORK).SerializeToString()
    for end in range(0, len(data), len(data) // 40):
        path = tmp_path / "net.onnx"
        path.write_bytes(data[:end])
        assert "\n" not in said(path)


def test_what_is_no_onnx_file(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_text("not a network\n")
    assert "net.onnx: not an ONNX file, or cut short" in said(path)
    assert "no such file" in said(tmp_path / "none.onnx").lower()


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "net.onnx"
    with path.open("wb") as file:
        file.truncate(2**29 + 1)  # sparse: takes no room
    assert "has 536,870,913 bytes; at most 536,870,912 are read" in said(path)
