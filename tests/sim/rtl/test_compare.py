"""The comparison finds a single wrong value wherever it is, and says where."""

from dataclasses import replace

import numpy as np
import pytest

from popstream.sim import golden
from popstream.sim.bench.run import Result
from popstream.sim.rtl.compare import Divergence, Missing, compare, first_difference
from tests.networks import random_images, random_network

IMAGES = 3


@pytest.fixture(scope="module")
def network():
    return random_network(5, height=6, width=6, channels=(4,), strides=(1,))


@pytest.fixture(scope="module")
def codes(network):
    return random_images(network.input, 1, IMAGES)


@pytest.fixture
def result(network, codes):
    """What perfect hardware gives."""
    names = [node.name for node in network.nodes if node.op != "input"]
    logits, taps = golden.run(network, codes, taps=names)
    cycles = np.arange(IMAGES)
    wide = {name: values.astype(np.int64) for name, values in taps.items()}
    labels = golden.labels(logits)
    return Result(labels, logits.copy(), wide, cycles, cycles, None, 0, 0, 0.0, 0.0, 0.0)


def test_equal(network, codes, result):
    report = compare(network, codes, result)
    assert report.good
    assert report.mismatches == 0
    taps = sum(values.size for name, values in result.taps.items() if name != network.output.name)
    assert report.values == taps + IMAGES * (len(network.classes) + 1)
    assert np.array_equal(report.golden_labels, result.labels)


def test_names_the_place_of_one_wrong_value(network, codes, result):
    for node in network.nodes[1:]:
        values = result.taps[node.name].copy()
        channels, height, width = node.shape
        place = (1, channels - 1, height // 2, width // 2)
        values[place] += 1
        report = compare(network, codes, replace(result, taps={**result.taps, node.name: values}))
        assert not report.good
        expected = int(values[place]) - 1
        where = (node.name, node.op, 1, height // 2, width // 2, channels - 1, expected, expected + 1, 1)
        assert report.divergence == Divergence(*where)
    assert str(report.divergence) == (
        f"node linear (linear), image 1, pixel (0,0), channel 3: expected {expected}, got {expected + 1} "
        "(values of this node that differ: 1)"
    )


def test_earliest_node_then_image_then_pixel_then_channel(network, codes, result):
    taps = {name: values.copy() for name, values in result.taps.items()}
    taps["pool"][0] += 1
    conv = taps["group0.conv0.conv"]
    conv[2, 0, 0, 0] += 1  # a later image
    conv[1, 0, 2, 3] += 1  # a later pixel of a lower channel
    conv[1, 2, 2, 1] += 1
    conv[1, 1, 2, 1] += 1
    found = compare(network, codes, replace(result, taps=taps)).divergence
    assert (found.node, found.image, found.y, found.x, found.channel) == ("group0.conv0.conv", 1, 2, 1, 1)
    assert found.count == 4


def test_logits_and_labels_without_taps(network, codes, result):
    logits = result.logits.copy()
    logits[2, 1] -= 7
    report = compare(network, codes, replace(result, taps={}, logits=logits))
    assert report.mismatches == 1
    assert report.wrong_images.tolist() == [2]
    assert (report.divergence.image, report.divergence.channel) == (2, 1)
    assert report.divergence.got == report.divergence.expected - 7
    labels = (result.labels + 1) % len(network.classes)
    report = compare(network, codes, replace(result, taps={}, labels=labels))
    assert report.mismatches == IMAGES
    assert report.divergence.node == "label"


def test_missing_images_of_a_tap(network, codes, result):
    taps = {name: values[: 1 if name == "pool" else IMAGES] for name, values in result.taps.items()}
    report = compare(network, codes, replace(result, taps=taps))
    assert report.divergence == Missing("pool", "pool", 1, IMAGES)
    assert str(report.divergence) == "node pool (pool): values of 1 of 3 images came"
    assert not report.good


def test_wrong_arguments(network, codes, result):
    with pytest.raises(ValueError, match="2 images were given, but 3 results"):
        compare(network, codes[:2], result)
    with pytest.raises(ValueError, match="Shapes to compare must be equal"):
        first_difference(np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 4, 3)))
