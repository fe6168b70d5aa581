"""The generator of random networks: the same for a seed, and worth testing with."""

import numpy as np
import pytest

from popstream.sim import golden
from tests.networks import SHORTCUTS, random_images, random_network


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("convs", [1, 2])
@pytest.mark.parametrize("stream_bits", [4, 8, 16])
def test_random_networks_are_worth_testing_with(shortcut: str, convs: int, stream_bits: int):
    """Codes take every value and no value alone; streams move; labels differ."""
    network = random_network(stream_bits, shortcut=shortcut, convs_per_shortcut=convs, stream_bits=stream_bits)
    again = random_network(stream_bits, shortcut=shortcut, convs_per_shortcut=convs, stream_bits=stream_bits)
    assert network.hash == again.hash
    images = random_images(network.input, 1, 24)
    logits, taps = golden.run(network, images, [node.name for node in network.nodes])
    assert len(np.unique(golden.labels(logits))) > 1
    for node in network.nodes:
        value = taps[node.name]
        if node.op == "threshold":
            share = np.bincount(value.ravel(), minlength=4) / value.size
            assert share.max() < 0.7
            assert np.count_nonzero(share > 0.05) >= 3
        elif node.op == "requant":
            high = 2 ** (node.bits - 1) - 1
            assert np.mean((value == high) | (value == -high - 1)) < 0.1
            assert value.std() > 2 ** (node.bits - 6)
        elif node.op == "pool":
            assert len(np.unique(value)) > 3


def test_random_network_refuses():
    with pytest.raises(ValueError, match="Shortcut must be one of identity, A, B, avgpool, not 'C'"):
        random_network(1, shortcut="C")
    with pytest.raises(ValueError, match="must pair"):
        random_network(1, strides=(1,))
    with pytest.raises(ValueError, match="Only shortcut B can narrow 8 channels to 4"):
        random_network(1, channels=(8, 4))
