"""The whole chain on random networks, manifest to Verilator: every node of every image against the golden model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from popstream.hw.folding.folding import Folding, parallel, serial
from popstream.hw.solver.solve import solve
from popstream.model.data import quantize_pixels
from popstream.model.freezing.freeze import freeze
from popstream.sim.rtl.compare import compare
from popstream.sim.rtl.rtl import RtlSimulator
from tests.model.freezing.test_freeze import CLASSES, some_images, trained_like
from tests.networks import random_images, random_network

ROOT = Path("build/tests")
IMAGES = 9

# name: folding, arguments of random_network; together all ops, arithmetics, kernels and shortcuts
GRID = {
    "W1A2": ("solved", dict(channels=(4, 8), strides=(1, 2), shortcut="A", first_bits=(8, 8), last_bits=(8, 8))),
    "W2A3-project": ("solved", dict(weight_bits=2, act_bits=3, channels=(3, 6), strides=(2, 1), shortcut="B")),
    "W1A1-1x1": ("parallel", dict(act_bits=1, kernel=1, channels=(6,), strides=(2,), first_bits=(1, 4), relu=True)),
    "W1A1-1x1-slow-stem": (
        "serial",
        dict(act_bits=1, kernel=1, channels=(6,), strides=(2,), shortcut="identity", height=4, last_bits=(1, 1)),
    ),  # the last row is taken after the last result
    "W4A2-multipliers": ("mac", dict(weight_bits=4, channels=(4,), strides=(1,), convs_per_shortcut=2, in_channels=1)),
    "W2A2-signed": (
        "solved",
        dict(weight_bits=2, weights="signed", end_weights="signed", channels=(4, 6), strides=(1, 2), shortcut="A"),
    ),
    "W1A2-5x5-no-skip": ("solved", dict(kernel=5, padding=0, height=15, width=14, channels=(3,), strides=(1,))),
}


def folding_of(kind, network):
    if kind in ("parallel", "serial"):
        return {"parallel": parallel, "serial": serial}[kind](network)
    folding = solve(network, 800)
    if kind == "mac":
        return Folding({name: replace(fold, arithmetic="mac", planes=1, out=None) for name, fold in folding.items()})
    return folding


@pytest.mark.parametrize("name", GRID)
def test_every_value(name):
    kind, options = GRID[name]
    network = random_network(17, **options)
    codes = random_images(network.input, 4, IMAGES)
    simulator = RtlSimulator(network, folding_of(kind, network), optimize=0, root=ROOT)
    calm = simulator.simulate(codes, tap_images=IMAGES)
    report = compare(network, codes, calm)
    assert report.good, report.divergence
    nodes = [node for node in network.nodes if node.op != "input"]
    assert calm.taps.keys() == {node.name for node in nodes}
    assert report.values == IMAGES * (1 + sum(int(np.prod(node.shape)) for node in nodes))
    for seed, stall in ((1, 0.3), (2, 0.8)):
        result = simulator.simulate(codes, tap_images=IMAGES, stall=stall, settle=0, seed=seed, processes=1 + seed % 2)
        report = compare(network, codes, result)
        assert report.good, report.divergence
        assert not np.array_equal(result.emitted, calm.emitted)


@pytest.mark.parametrize("options", [
    {"activation": "mish", "weight_bits": 2, "shortcut": "B", "convs_per_shortcut": 2},
    {"bits": {"group0.conv0": (3, 1), "group1.conv1": (1, 4)}, "first_bits": (4, 6), "shortcut": "avgpool"},
    {"weight_quantizer": "bineal", "act_quantizer": "bineal", "act_bits": 1, "learned_clip": False, "shortcut": "B",
     "project_kernel": 3, "width_multiplier": 1.5, "stream_prelu": True},
    {"weight_quantizer": "ternary", "weight_bits": 2, "shortcut": "A", "convs_per_shortcut": 2},
])  # fmt: skip
def test_a_frozen_network(options):
    """From PyTorch to Verilator: Mish between convs, bits that differ from layer to layer, BiNeal with RPReLU."""
    model = trained_like(depth=6, widths=(4, 6), **options)
    network = freeze(model, some_images(64), "frozen", "random", CLASSES)
    codes = quantize_pixels(some_images(3, seed=5), network.entry_bits)
    result = RtlSimulator(network, solve(network, 8000), optimize=0, root=ROOT).simulate(codes, tap_images=3, stall=0.3)
    report = compare(network, codes, result)
    assert report.good, report.divergence
