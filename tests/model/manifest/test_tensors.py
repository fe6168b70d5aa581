"""Tensors that do not fit their node, and graphs that no manifest file is needed for: refused by name."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from popstream.model.manifest import ManifestError, Network, Node
from tests.model.damage import edit_tensors, refused

CONV, REQUANT, THRESHOLD = "group0.conv0.conv", "group0.conv0.requant", "group0.conv0.threshold"


def replace(key: str, value: Callable) -> Callable:
    return lambda tensors: tensors.update({key: value(tensors[key])})


TENSOR_FAULTS = {
    "missing": (lambda t: t.pop("linear.bias"), "node 'linear', tensor 'bias': 'linear.bias' is missing"),
    "unused": (lambda t: t.update(x=np.zeros(1)), "tensor 'x' of network.safetensors belongs to no node"),
    "dtype": (
        replace(f"{CONV}.weight", lambda t: t.astype(np.int8)),
        f"node '{CONV}', tensor 'weight': dtype must be uint8, not int8",
    ),
    "bias dtype": (
        replace("stem.requant.bias", lambda t: t.astype(np.float64)),
        "node 'stem.requant', tensor 'bias': dtype must be int64, not float64",
    ),
    "shape": (
        replace(f"{CONV}.weight", lambda t: t[:, :3]),
        f"node '{CONV}', tensor 'weight': shape must be [4, 4, 3, 3], not [4, 3, 3, 3]",
    ),
    "threshold shape": (
        replace(f"{THRESHOLD}.thresholds", lambda t: t[:, :2]),
        f"node '{THRESHOLD}', tensor 'thresholds': shape must be [4, 3], not [4, 2]",
    ),
    "multiplier shape": (
        replace("stem.requant.multiplier", lambda t: t[None]),
        "node 'stem.requant', tensor 'multiplier': shape must be [4], not [1, 4]",
    ),
    "bias shape": (
        replace("linear.bias", lambda t: t[:3]),
        "node 'linear', tensor 'bias': shape must be [4], not [3]",
    ),
    "code": (
        lambda t: t[f"{CONV}.weight"].__setitem__((2, 1, 0, 2), 2),
        f"node '{CONV}', tensor 'weight': codes must be 0 to 1, not 2 at [2, 1, 0, 2]",
    ),
    "thresholds fall": (
        lambda t: t[f"{THRESHOLD}.thresholds"].__setitem__((1, 2), -(2**31)),
        f"node '{THRESHOLD}', tensor 'thresholds': must not decrease along axis 1, but do at [1, 2]",
    ),
    "requant overflow": (
        lambda t: t["stem.requant.bias"].__setitem__(1, 2**63 - 1),
        "node 'stem.requant', tensor 'bias': acc * ",
    ),
    "logit overflow": (
        lambda t: t["linear.bias"].__setitem__(0, 2**31 - 1),
        "node 'linear', tensor 'bias': logits do not fit into 32 bits",
    ),
}


@pytest.mark.parametrize("fault", TENSOR_FAULTS)
def test_fault_in_tensors(folder: Path, fault: str):
    change, message = TENSOR_FAULTS[fault]
    edit_tensors(folder, change)
    text = refused(folder)
    assert text.startswith(f"{folder / 'network.json'}: ")
    assert message in text


def test_branch_off_a_residual_chain(network: Network):
    """group0.conv0's codes feed a second conv whose result joins later."""
    nodes = {node.name: node for node in network.nodes}
    attributes, tensors = nodes[CONV].attributes, dict(nodes[CONV].tensors)
    nodes["extra.conv"] = Node("extra.conv", "conv", (THRESHOLD,), attributes, tensors)
    skip = nodes[REQUANT]
    nodes["extra.add"] = Node("extra.add", "requant", ("extra.conv", REQUANT), skip.attributes, skip.tensors)
    reader = nodes["group0.conv1.threshold"]
    nodes[reader.name] = Node(reader.name, "threshold", ("extra.add",), reader.attributes, reader.tensors)
    message = f"node '{THRESHOLD}' on the way from fork 'stem.requant' is read more than once"
    with pytest.raises(ManifestError, match=re.escape(message)):
        Network.build("branch", "random", network.classes, nodes.values())


def test_tensor_that_is_no_array(network: Network):
    nodes = [
        Node(n.name, n.op, n.inputs, n.attributes, {"weight": [[1]]}) if n.name == CONV else n for n in network.nodes
    ]
    with pytest.raises(ManifestError, match=r"^network 'x': node .*, tensor 'weight': dtype must be uint8, not list$"):
        Network.build("x", "random", network.classes, nodes)


def test_accumulator_too_wide():
    channels = 600
    weight = np.full((1, channels, 31, 31), 255, np.uint8)
    nodes = [
        Node("input", "input", (), dict(channels=channels, height=31, width=31, bits=8)),
        Node(
            "conv",
            "conv",
            ("input",),
            dict(out_channels=1, kernel=31, stride=1, padding=0, weight_bits=8, act_bits=8),
            dict(weight=weight),
        ),
    ]
    with pytest.raises(ManifestError, match=r"node 'conv', tensor 'weight': sums 0 to .* do not fit into 32 bits"):
        Network.build("wide", "random", ["a"], nodes)
