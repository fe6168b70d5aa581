"""The committed networks in Verilator: every value of two images against the golden model, under stalls.

Of the larger ones one is a pipeline, which takes minutes to compile; the others' layers share a stage.
"""

from pathlib import Path

import pytest

from popstream.hw.solver.solve import solve
from popstream.model.data import quantize_pixels
from popstream.model.manifest import ZOO, load
from popstream.sim.rtl.compare import compare
from popstream.sim.rtl.rtl import RtlSimulator
from tests.examples.one_stage import in_one
from tests.sim.test_zoo import NETWORKS, pixels_and_labels

ROOT = Path("build/tests")
PIPELINE = ("digits-w1a2", "digits-react-w1a1", "resnet20-w1a2")


@pytest.mark.parametrize("name", NETWORKS)
def test_rtl_is_the_golden_model(name):
    network = load(ZOO / name)
    pixels, _ = pixels_and_labels(network, 2)
    codes = quantize_pixels(pixels[:2], network.entry_bits)
    folding = solve(network) if name in PIPELINE else in_one(network)
    result = RtlSimulator(network, folding, optimize=0, root=ROOT).simulate(codes, tap_images=2, stall=0.1)
    report = compare(network, codes, result)
    assert report.good, report.divergence
