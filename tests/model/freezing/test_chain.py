"""DoReFa-Net's SVHN models frozen: codes as the float network's, golden and torch alike, and the accelerator's."""

import numpy as np
import pytest
import torch

from popstream.hw.accelerator import Accelerator
from popstream.model.freezing import frozen
from popstream.model.freezing.freeze import FreezeError, freeze
from popstream.model.networks import build_network
from popstream.model.networks.dorefa import SVHNNet
from popstream.sim import golden
from tests.hw.accelerator_bench import compare, random_folding, simulate

CLASSES = [str(n) for n in range(10)]
BITS = {"weight_bits": 1, "act_bits": 2, "first_bits": 8, "last_bits": (8, 8)}


def images(n: int, size: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (n, 3, size, size))
    return ((noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3)) // 3).astype(np.uint8)


def trained_like(**options) -> SVHNNet:
    """A network whose BatchNorms look trained: half of the gains negative, measured statistics."""
    torch.manual_seed(0)
    model = build_network({"family": "dorefa_svhn", "model": "D", "size": 24} | BITS | options)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 0, 1)
            torch.nn.init.normal_(module.bias, 0.3, 0.5)
            module.weight.data[0] = 0.0  # a constant channel
    assert isinstance(model, SVHNNet)
    with torch.no_grad():
        for _ in range(30):
            model(torch.from_numpy(images(64, model.config.size)).float() / 255)
    return model.eval()


@pytest.mark.parametrize("options", [
    {}, {"size": 32, "weight_bits": 2, "act_bits": 1}, {"last": True}, {"first": True, "act_bits": 4},
])  # fmt: skip
def test_frozen_equals_golden_and_follows_the_float_network(options):
    model = trained_like(**options)
    size, x = model.config.size, images(20, model.config.size, seed=1)
    network = freeze(model, x, "svhn", "random", CLASSES)
    assert [node.op for node in network.nodes].count("maxpool") == 2
    logits, taps = golden.run(network, x, ["conv0.pool", "conv6.threshold"])
    np.testing.assert_array_equal(frozen.run(network, x), logits)
    assert taps["conv0.pool"].shape[2:] == (size // 2 - 2, size // 2 - 2)
    with torch.no_grad():
        real = torch.from_numpy(x).float() / 255
        first = model.convs[0](real) * (2 ** model.convs[0].act.bits - 1)
        last = model.stages(real) * (2 ** model.convs[6].act.bits - 1)
        float_logits = model(real).numpy()
    assert np.mean(taps["conv0.pool"] == first.round().numpy()) > 0.999  # the order of float sums decides the others
    assert np.mean(np.abs(taps["conv6.threshold"] - last.round().numpy()) > 1) < 0.05
    assert np.mean(logits.argmax(1) == float_logits.argmax(1)) > 0.8


def test_accelerator_equals_golden():
    """A model D on 24 x 24 pixels through the hardware's blocks, every node's values, under stalls."""
    x = images(1, 24, seed=2)
    network = freeze(trained_like(first_bits=2, last_bits=(2, 2)), x, "svhn", "random", CLASSES)
    accelerator = Accelerator(network, random_folding(network, 3, 1500), taps=True)
    compare(network, x, simulate(accelerator, x, 0, 0.1, 0.1))


@pytest.mark.parametrize(("options", "message"), [
    ({"weight_bits": 32}, "Layer conv1 is float and has no integers; weight_bits, act_bits, first_bits and"),
    ({"first_bits": 32}, "Layer conv0 is float"),
    ({"last_bits": (32, 8)}, "Layer linear is float"),
    ({"size": 40}, "resizes images of 24 x 24 to 40 x 40, hardware does not; train it with size = 24"),
])  # fmt: skip
def test_what_has_no_integers_is_refused(options, message):
    model = build_network({"family": "dorefa_svhn", "model": "D", "size": 24} | BITS | options)
    with pytest.raises(FreezeError, match=message):
        freeze(model, images(2, 24), "svhn", "random", CLASSES)
