"""The committed networks: their published accuracy, and torch and the golden model on the same images."""

import numpy as np
import pytest

from popstream.model import data
from popstream.model.freezing import frozen
from popstream.model.manifest import ZOO, load, zoo
from popstream.sim import golden
from popstream.sim.rtl.images import images_for

NETWORKS = [folder.name for folder in zoo()]


def pixels_and_labels(network, count):
    """Test images uint8, and their labels; where the data set is not at hand, 20 photographs and no labels."""
    images = images_for(network, min(count, 20))
    if images.labels is not None:
        images = images_for(network, count)
    return images.pixels, images.labels


def test_the_zoo_is_there():
    assert {"digits-w1a2", "resnet20-w1a2"} <= set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_published_accuracy_is_the_golden_models(name):
    network = load(ZOO / name)
    pixels, labels = pixels_and_labels(network, network.accuracy["images"])
    logits = golden.run_batches(network, data.quantize_pixels(pixels, network.entry_bits), workers=2)
    if labels is not None:
        assert network.accuracy["top1_frozen"] == pytest.approx(frozen.top1(logits, labels), abs=0.005)
        assert network.accuracy["top1_frozen"] > network.accuracy["top1_float"] - 1.5
    np.testing.assert_array_equal(frozen.run(network, pixels[:20]), logits[:20])
