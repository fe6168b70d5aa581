"""The Brevitas example at a small size: trained a little, exported by both exporters, every quantizer's codes equal."""

import numpy as np
import pytest

pytest.importorskip("brevitas")
pytest.importorskip("qonnx")
import torch

from popstream.model.qonnx.take import Taken
from popstream.sim.executed import compare_taken
from tests.examples.small import SIZE, ResNet, accuracy, taken, train

pytestmark = pytest.mark.filterwarnings("ignore")


def trained(**how) -> ResNet:
    """A ResNet-8 in small after two steps, some gains of its BatchNorms below zero."""
    torch.manual_seed(0)
    net = ResNet(1, (4, 6), SIZE, 3, **how)
    images = torch.randint(256, (64, 3, SIZE, SIZE), dtype=torch.uint8)
    labels = torch.randint(3, (64,))
    train(net, images, labels, 1, 32, 0.01)
    assert 0 <= accuracy(net, images, labels) <= 100
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.normal_(0.8, 0.6)
            module.bias.data.normal_(0, 0.3)
    return net


def differing(found: Taken) -> dict[str, int]:
    images = np.random.default_rng(1).integers(0, 256, (2, 3, SIZE, SIZE), dtype=np.uint8)
    return {row.node: row.mismatches for row in compare_taken(found, images) if row.mismatches}


@pytest.mark.parametrize("how", [
    dict(weight_bits=1), dict(weight_bits=3, act_bits=3),
    dict(weight_bits=4, act_bits=6, powers_of_two=True, rounding="floor"),
], ids=str)  # fmt: skip
def test_every_code_of_every_quantizer(tmp_path, how):
    found = taken(trained(**how), tmp_path / "net.onnx")
    assert {"add", "dequantize", "requant", "pool"} <= {node.op for node in found.network.nodes}
    assert differing(found) == {}


def test_both_exporters_give_the_same_network(tmp_path):
    net = trained()
    first, second = taken(net, tmp_path / "script.onnx"), taken(net, tmp_path / "dynamo.onnx", True)
    assert first.network.hash == second.network.hash
    assert differing(second) == {}
