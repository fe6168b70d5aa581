"""What is brought out of a shared stage: all sums, values and codes of its layers, in the order of an image."""

from dataclasses import replace

import numpy as np
import pytest

from popstream.hw.accelerator import Accelerator
from popstream.hw.folding.drawn import shared_folding
from popstream.hw.folding.outline import plans
from popstream.sim import golden
from popstream.sim.golden.drawn import random_images, random_network
from tests.hw.accelerator_bench import compare, simulate
from tests.hw.shared.test_grid import NETWORK

NETWORKS = {
    "strides, projections, PReLU": NETWORK,
    "means, signed weights": dict(
        height=6, width=6, channels=(4, 6), strides=(1, 2), convs_per_block=1, weights="signed", weight_bits=(2, 2),
        act_bits=(2, 2), first_bits=(2, 2), last_bits=(2, 2), classes=2, in_channels=2,
    ),
    "max-pooling, unpadded": dict(
        height=8, width=10, channels=(2,), strides=(1,), convs_per_block=1, maxpool=2, padding=0, classes=2,
        in_channels=2, weight_bits=(1, 1), act_bits=(2, 2), first_bits=(1, 2),
    ),
}  # fmt: skip


def inside(network, folding):
    """Nodes of the shared stages that have values of their own in hardware."""
    names = set()
    for plan in plans(network, folding).values():
        for layer in plan.layers:
            nodes = (layer.conv, layer.threshold, *layer.pools)
            names |= {node.name for node in nodes if node is not None} | {layer.value}
        names |= {plan.chain.threshold.name} if plan.chain.threshold is not None else set()
    return names


@pytest.mark.parametrize("grouping", ["all", "mixed"])
@pytest.mark.parametrize("given", NETWORKS.values(), ids=NETWORKS)
def test_every_node_of_a_stage_is_brought_out_as_golden_has_it(given, grouping):
    network = random_network(1, **given)
    folding, images = shared_folding(network, 2, grouping), random_images(network.input, 1, 2)
    accelerator = Accelerator(network, folding, taps=True)
    assert inside(network, folding) <= {tap.node for tap in accelerator.taps}
    result = simulate(accelerator, images, 3, 0.2, 0.2, patience=20_000)
    assert all(len(values) == len(images) for values in result.taps.values())
    compare(network, images, result)


def test_a_fault_within_a_stage_is_seen_at_its_node():
    network = random_network(1, **NETWORK)
    folding, images = shared_folding(network, 2, "all"), random_images(network.input, 1, 2)
    (plan,) = plans(network, folding).values()
    at = next(layer.threshold.name for layer in plan.layers if layer.threshold is not None)
    nodes = [
        replace(node, tensors={"thresholds": node.tensors["thresholds"] * 0 - 1000}) if node.name == at else node
        for node in network.nodes
    ]
    result = simulate(Accelerator(replace(network, nodes=tuple(nodes)), folding, taps=True), images, patience=20_000)
    _, expected = golden.run(network, images, [node.name for node in network.nodes])
    differ = [
        n.name for n in network.nodes if n.name in result.taps and np.any(result.taps[n.name] != expected[n.name])
    ]
    assert differ[0] == at
