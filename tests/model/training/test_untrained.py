"""Untrained networks of every family that has a form in hardware; the others are refused."""

import numpy as np
import pytest
import torch

from popstream.model.data import DataSet
from popstream.model.freezing.freeze import FreezeError
from popstream.model.training import untrained
from popstream.sim import golden

SIZE = 24
BITS = {"weight_bits": 1, "act_bits": 2}


@pytest.fixture
def images(monkeypatch):
    """A data set of random images, as small as the family's smallest."""
    rng = np.random.default_rng(0)
    shown = [rng.integers(0, 256, (count, 3, SIZE, SIZE), np.uint8) for count in (120, 10)]
    labels = [rng.integers(0, 10, len(part)) for part in shown]
    found = DataSet("noise", [str(digit) for digit in range(10)], shown[0], labels[0], shown[1], labels[1])
    monkeypatch.setattr(untrained.data, "load", lambda name: found)
    return shown[1]


def recipe(**network) -> dict:
    return {"data": "noise", "network": network, "phase": [{"name": "low", "grad_bits": 32, **BITS}]}


@pytest.mark.parametrize("model", ["A", "D"])
def test_a_chain(images, model):
    """All layers' integers, also where a last layer of 8 bits sums beyond what float32 holds."""
    torch.set_num_threads(1)
    given = recipe(family="dorefa_svhn", model=model, size=SIZE, first_bits=8, last_bits=[8, 8])
    network = untrained.untrained("chain", given, BITS)
    assert [node.op for node in network.nodes].count("conv") == 7
    assert network.accuracy["images"] == len(images)
    assert golden.run(network, images[:1])[0].shape == (1, 10)


def test_images_that_would_be_resized(images):
    given = recipe(family="dorefa_svhn", model="D", size=40, first_bits=8, last_bits=[8, 8])
    with pytest.raises(FreezeError, match="resizes images of 24 x 24 to 40 x 40, hardware does not"):
        untrained.untrained("chain", given, BITS)
