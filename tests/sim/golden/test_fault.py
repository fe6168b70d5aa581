"""A fault flips exactly one bit, and wrong ones are refused in one line."""

import numpy as np
import pytest

from popstream.model.manifest import ManifestError
from popstream.sim.golden.fault import Fault, FaultError, apply, parse
from tests.networks import random_network


@pytest.fixture(scope="module")
def network():
    return random_network(3, height=4, width=4, channels=(4,), strides=(1,), weight_bits=2)


def test_parse():
    assert parse("stem.conv.weight[3, 0,1,1]") == Fault("stem.conv", "weight", (3, 0, 1, 1))
    assert parse("linear.bias[2]^31") == Fault("linear", "bias", (2,), 31)
    assert str(parse("linear.bias[2]")) == "linear.bias[2]^0"


@pytest.mark.parametrize("text", ["", "weight[0]", "stem.conv.weight", "stem.conv.weight[]", "a.b[1]^", "a.b[-1]"])
def test_syntax(text):
    with pytest.raises(FaultError, match="Fault must look like"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "stem.conv.weight[3,0,1,1]^7",
        "linear.bias[2]^20",
        "stem.requant.bias[0]^5",
        "group0.conv0.conv.weight[1,0,2,1]^1",
    ],
)
def test_flips_one_bit(network, text):
    fault = parse(text)
    changed = apply(network, fault)
    assert changed.hash != network.hash
    assert apply(changed, fault).hash == network.hash
    for node in network.nodes:
        for key, tensor in node.tensors.items():
            places = np.argwhere(tensor != changed.node(node.name).tensors[key]).tolist()
            assert places == ([list(fault.index)] if (node.name, key) == (fault.node, fault.tensor) else [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.weight[0]", "No node 'nowhere' with tensors; there are stem.conv, "),
        ("pool.weight[0]", "No node 'pool' with tensors"),
        ("linear.gain[0]", "Node 'linear' has no tensor 'gain', only weight, bias"),
        ("linear.bias[4]", r"Index of linear.bias must be within \[4\], not \(4,\)"),
        ("linear.bias[0,0]", r"Index of linear.bias must be within \[4\], not \(0, 0\)"),
        ("stem.conv.weight[0,0,0,0]^8", "Bit of stem.conv.weight must be 0 to 7, not 8"),
        ("group0.conv0.conv.weight[0,0,0,0]^2", "Bit of group0.conv0.conv.weight must be 0 to 1, not 2"),
        ("linear.bias[0]^32", "Bit of linear.bias must be 0 to 31, not 32"),
        ("stem.requant.bias[0]^64", "Bit of stem.requant.bias must be 0 to 63, not 64"),
    ],
)
def test_refuses(network, text, message):
    with pytest.raises(FaultError, match=message):
        apply(network, parse(text))


def test_illegal_network(network):
    name = next(node.name for node in network.nodes if node.op == "threshold")
    first = network.node(name).tensors["thresholds"][0, 0]
    with pytest.raises(ManifestError, match="must not decrease"):  # it becomes larger than the second
        apply(network, Fault(name, "thresholds", (0, 0), 30 if first >= 0 else 31))
