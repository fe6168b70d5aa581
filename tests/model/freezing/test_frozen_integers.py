"""`to_int` of every quantizer is what the manifest holds and the golden model computes, on trained tensors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from popstream.model import data
from popstream.model.data import quantize_pixels
from popstream.model.freezing.freeze import freeze
from popstream.model.networks.layers import prepare
from popstream.model.networks.resnet import ResNet, ResNetConfig
from popstream.model.quantizers import ACT_QUANTIZERS, WEIGHT_QUANTIZERS
from popstream.sim import golden

PAIRS = [(name, name if name in ACT_QUANTIZERS else "dorefa") for name in WEIGHT_QUANTIZERS]
PAIRS += [("dorefa", name) for name in ACT_QUANTIZERS if name not in WEIGHT_QUANTIZERS]


def trained(weights: str, acts: str) -> tuple[ResNet, np.ndarray]:
    """A small network after 30 steps on the digits, with two bits where the quantizer has them."""
    torch.manual_seed(1)
    bits = [min(2, known[name].most_bits) for known, name in ((WEIGHT_QUANTIZERS, weights), (ACT_QUANTIZERS, acts))]
    model = ResNet(ResNetConfig(depth=6, widths=(4, 6), in_channels=1, weight_bits=bits[0], act_bits=bits[1],
                                weight_quantizer=weights, act_quantizer=acts, stream_prelu=True,
                                learned_clip=acts == "dorefa"))  # fmt: skip
    source = data.load("digits")
    images, labels = torch.from_numpy(source.train_images), torch.from_numpy(source.train_labels)
    model.calibrate(prepare(images[:200]))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    for step in range(30):
        model.set_progress(step / 29)
        x, y = images[32 * step : 32 * step + 32], labels[32 * step : 32 * step + 32]
        optimizer.zero_grad()
        F.cross_entropy(model(prepare(x)), y).backward()
        optimizer.step()
    return model, source.test_images[:50]


@pytest.mark.parametrize(("weights", "acts"), PAIRS)
def test_manifest_holds_what_to_int_gives(weights, acts):
    model, images = trained(weights, acts)
    network = freeze(model, images, "small", "digits", list("0123456789"), 14)
    unit = 2.0 ** -network.node("stem.requant")["fraction_bits"]
    convs = [chain for residual in model.additions for chain in residual.chain]
    names = {c.name: network.node(f"{c.name}.threshold").inputs[0] for c in convs}  # the stream that each reads
    taps = [*names.values(), *(f"{name}.threshold" for name in names)]
    _, values = golden.run(network, quantize_pixels(images, 8), taps)
    for layer in convs:
        name = layer.name
        codes, _ = layer.conv.quantizer.to_int(layer.conv.weight)
        np.testing.assert_array_equal(network.node(f"{name}.conv").tensors["weight"], codes.numpy())
        signed = layer.conv.quantizer.kind == "signed"
        assert network.node(f"{name}.conv")["weights"] == ("signed" if signed else "odd")
        assert len(codes.unique()) == 2**layer.conv.quantizer.bits - signed  # the least is not used
        stream = torch.from_numpy(values[names[name]].astype(np.float64) * unit)
        found = values[f"{name}.threshold"]
        np.testing.assert_array_equal(found, layer.quantizer.to_int(stream).numpy())
        assert len(np.unique(found)) == 2**layer.quantizer.bits
