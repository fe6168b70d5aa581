"""What a manifest may hold, once more in numbers: who widens or narrows it means to."""

from dataclasses import replace

import pytest

from popstream.model.manifest import ManifestError, Network
from popstream.model.manifest.node import OPS
from tests.networks import random_network

EVERY = 2**16 - 1
RANGES = {
    "input": {"channels": (1, EVERY), "height": (1, EVERY), "width": (1, EVERY), "bits": (1, 8)},
    "conv": {
        "out_channels": (1, EVERY), "kernel": (1, 31), "stride": (1, 2), "padding": (0, 30), "weight_bits": (1, 8),
        "act_bits": (1, 8), "weights": ("odd", "signed"), "pad_code": (0, 255),
    },
    "threshold": {"bits": (1, 8)},
    "requant": {
        "shift": (1, 31), "stream_bits": (2, 16), "fraction_bits": (0, 31), "relu": (False, True),
        "ties": ("up", "even"),
    },
    "dequantize": {"stream_bits": (2, 16), "fraction_bits": (0, 31)},
    "add": {"stream_bits": (2, 16), "relu": (False, True)},
    "prelu": {"shift": (1, 31), "stream_bits": (2, 16)},
    "shortcut": {
        "stride": (1, 2), "reduce": ("sample", "average"), "out_channels": (1, EVERY), "pad_front": (0, EVERY),
    },
    "maxpool": {"size": (2, 8)},
    "pool": {"bits": (1, 8), "shift": (0, 31), "ties": ("up", "even")},
    "linear": {"out_features": (1, 256), "weight_bits": (1, 8), "act_bits": (1, 8), "weights": ("odd", "signed")},
}  # fmt: skip
TENSORS = {
    "input": {"table": "uint8"}, "conv": {"weight": "uint8"}, "threshold": {"thresholds": "int32"},
    "requant": {"multiplier": "int32", "bias": "int64"}, "shortcut": {}, "maxpool": {}, "pool": {},
    "dequantize": {"table": "int32"}, "add": {},
    "prelu": {"shift_in": "int32", "slope": "int32", "shift_out": "int32"},
    "linear": {"weight": "uint8", "bias": "int32"},
}  # fmt: skip
INPUTS = {
    "input": [], "conv": [{"codes"}], "threshold": [{"acc", "stream"}], "requant": [{"acc"}, {"stream"}],
    "prelu": [{"stream"}], "shortcut": [{"stream"}], "maxpool": [{"codes"}],
    "pool": [{"stream", "codes"}], "linear": [{"codes"}], "dequantize": [{"codes"}], "add": [{"stream"}, {"stream"}],
}  # fmt: skip


def test_ranges_of_attributes():
    found = {op: {key: (rule[0], rule[-1]) for key, rule in about.attributes.items()} for op, about in OPS.items()}
    assert found == RANGES
    assert list(OPS["conv"].attributes["kernel"]) == list(range(1, 32, 2))  # odd
    for about in OPS.values():
        assert all(
            rule.step == 1 for key, rule in about.attributes.items() if isinstance(rule, range) and key != "kernel"
        )


def test_tensors_and_inputs():
    assert {op: about.tensors for op, about in OPS.items()} == TENSORS
    assert {op: [set(kinds) for kinds in about.inputs] for op, about in OPS.items()} == INPUTS
    assert {op: about.optional for op, about in OPS.items() if about.optional} == {"requant": 1}  # the skip
    assert {op: about.spare for op, about in OPS.items() if about.spare} == {"input": ("table",)}
    assert {op: about.defaults for op, about in OPS.items() if about.defaults} == {
        "conv": {"weights": "odd", "pad_code": 0}, "linear": {"weights": "odd"}, "requant": {"ties": "up"},
        "pool": {"ties": "up"},
    }  # fmt: skip


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_threshold_for_each_code_but_the_lowest(bits):
    network = random_network(0, act_bits=bits, height=2, width=2, in_channels=1, channels=(2,), strides=(1,))
    node = next(node for node in network.nodes if node.op == "threshold")
    given = node.tensors["thresholds"]
    assert given.shape == (2, 2**bits - 1)
    wrong = replace(node, tensors={"thresholds": given[:, 1:]})
    with pytest.raises(
        ManifestError, match=rf"'thresholds': shape must be \[2, {2**bits - 1}\], not \[2, {2**bits - 2}\]"
    ):
        Network.build("x", "random", network.classes, [wrong if n is node else n for n in network.nodes])
