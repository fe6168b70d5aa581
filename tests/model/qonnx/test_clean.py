"""What qonnx's clean-up drops of a network: kept by popstream, or refused by name."""

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("qonnx")
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from popstream.model.qonnx.load import check
from popstream.model.qonnx.take import take
from tests.model.qonnx.graphs import Graph, mlp
from tests.model.qonnx.test_refusals import image, logits, refused
from tests.model.qonnx.test_take import differing


@pytest.mark.parametrize("tied", [False, True])
def test_weights_that_two_layers_read(tied):
    """One of them transposed. The cleaned-up file, beside which codes are compared, gives what the file gives."""
    model = mlp(5, bipolar=False, domain="qonnx.custom_op.general", tied=tied)
    check(model)
    taken = take(model, "net")
    assert differing(taken) == {}
    image = np.random.default_rng(2).integers(0, 256, (1, 1, 4, 4)).astype(np.float32) / 255
    whole = execute_onnx(ModelWrapper(model).transform(InferShapes()), {"x": image})
    kept = execute_onnx(ModelWrapper(taken.model), {taken.model.graph.input[0].name: image})
    assert kept[taken.model.graph.output[0].name] == pytest.approx(*whole.values())


def test_weights_that_clean_up_drops():
    """Of a stored tensor that is split qonnx keeps the first part alone; the other layer would have no weights."""
    g = Graph((1, 3, 8, 8))
    x = image(g)
    first = g.node("Split", g.rng.normal(0, 1, (8, 3, 3, 3)), axis=0)
    g.nodes[-1].output.append("second")
    layers = [g.conv(x, g.quant(name, 0.5, 2, narrow=1)) for name in (first, "second")]
    said = refused(g.model(logits(g, g.node("Add", *(g.quant(sums, 0.3, 2, signed=0) for sums in layers)))))
    assert said.startswith("qonnx's clean-up leaves something out: Quant ")
    assert "is made by no node" in said
    assert said.endswith("; store what it reads as a tensor of its own")
