"""Frozen integers against the float network they come from, and against the golden model."""

import numpy as np
import pytest
import torch

from popstream.model.data import quantize_pixels
from popstream.model.freezing import frozen
from popstream.model.freezing.freeze import FreezeError, freeze
from popstream.model.networks import build_network
from popstream.model.networks.resnet import ConvUnit, ResNet, ResNetConfig
from popstream.model.quantizers import RPReLU
from popstream.model.quantizers.signs import RSignActivations
from popstream.sim import golden

CLASSES = [str(n) for n in range(10)]


def trained_like(**options) -> ResNet:
    """A small network whose BatchNorms and thresholds look trained: random affine parts, measured statistics."""
    torch.manual_seed(0)
    table = {"depth": 8, "widths": (8, 16, 24), "weight_bits": 1, "act_bits": 2, "learned_clip": True} | options
    model = ResNet(ResNetConfig(**table))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 0, 1)  # half of the gains are negative
            torch.nn.init.normal_(module.bias, 0, 0.5)
            module.weight.data[0] = 0.0  # a constant channel
        elif isinstance(module, RPReLU):
            for p in module.parameters():
                torch.nn.init.normal_(p, 0, 0.5)
        elif isinstance(module, RSignActivations):
            torch.nn.init.normal_(module.offset, 0, 0.3)
    batch = torch.from_numpy(some_images(64)).float() / 255
    model.calibrate(batch)
    with torch.no_grad():
        for _ in range(30):
            model(batch)
    return model.eval()


def some_images(n: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (n, channels, 16, 16))
    smooth = (noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3) + np.roll(noise, (1, 1), (2, 3))) // 4
    return smooth.astype(np.uint8)


VARIANTS = [
    {"shortcut": "avgpool", "convs_per_shortcut": 1},
    {"shortcut": "A", "convs_per_shortcut": 2, "stream_relu": True},
    {"shortcut": "B", "convs_per_shortcut": 1, "weight_bits": 2, "act_bits": 1},
    {"shortcut": "B", "convs_per_shortcut": 2, "weight_bits": 4, "act_bits": 4, "activation": "mish"},
    {"shortcut": "avgpool", "convs_per_shortcut": 2, "weight_scale": "channel", "standardize": True, "act_bits": 8},
    {"shortcut": "A", "convs_per_shortcut": 1, "bits": {"group1.conv0": (3, 3)}, "first_bits": (4, 4)},
    {"weight_quantizer": "lsq", "act_quantizer": "ewgs", "weight_bits": 2, "learned_clip": False},
    {
        "weight_quantizer": "bineal",
        "act_quantizer": "bineal",
        "act_bits": 1,
        "shortcut": "B",
        "project_kernel": 3,
        "learned_clip": False,
    },
    {"weight_quantizer": "recu", "act_quantizer": "react", "act_bits": 1, "learned_clip": False, "stream_prelu": True},
    {
        "weight_quantizer": "irnet",
        "act_quantizer": "irnet",
        "act_bits": 1,
        "convs_per_shortcut": 2,
        "shortcut": "A",
        "learned_clip": False,
    },
    {"weight_quantizer": "xnor", "act_quantizer": "bnn", "act_bits": 1, "learned_clip": False},
    {"weight_quantizer": "ternary", "weight_bits": 2, "convs_per_shortcut": 2, "shortcut": "B"},
    {"weight_quantizer": "lsq_signed", "weight_bits": 4, "act_bits": 4, "convs_per_shortcut": 2, "shortcut": "A"},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_frozen_equals_golden_and_follows_the_float_network(options):
    model, images = trained_like(**options), some_images(40, seed=1)
    network = freeze(model, some_images(64), "small", "random", CLASSES)
    logits = frozen.run(network, images)
    codes = quantize_pixels(images, network.entry_bits)
    expected, _ = golden.run(network, codes)
    np.testing.assert_array_equal(logits, expected)
    units = [m for m in model.modules() if isinstance(m, ConvUnit)]
    _, taps = golden.run(network, codes, [f"{unit.name}.threshold" for unit in units])
    for unit, real in zip(units, quantizer_outputs(model, images, units), strict=True):
        want = (real / unit.quantizer.amplitude() * (2**unit.quantizer.bits - 1)).round()
        # fixed-point noise of 2^-f moves a code only where a value is within it of a threshold
        error = np.abs(taps[f"{unit.name}.threshold"] - want) / (2**unit.quantizer.bits - 1)
        assert error.mean() < 0.03, unit.name


def quantizer_outputs(model: ResNet, images: np.ndarray, units: list[ConvUnit]) -> list[np.ndarray]:
    """What every unit's quantizer gives in the float network."""
    seen: dict[str, np.ndarray] = {}
    for unit in units:
        unit.quantizer.register_forward_hook(
            lambda module, inputs, output, name=unit.name: seen.__setitem__(name, output.detach().numpy())
        )
    with torch.no_grad():
        model(torch.from_numpy(images).float() / 255)
    return [seen[unit.name] for unit in units]


def test_negative_and_zero_gains_between_two_convs():
    """Codes after the first conv of a block are the float network's: negated filters, constant channels."""
    model = trained_like(shortcut="A", convs_per_shortcut=2)
    gains = model.additions[0].chain[0].bn.weight
    assert (gains < 0).any()
    assert (gains == 0).any()
    images = some_images(8, seed=2)
    network = freeze(model, some_images(64), "small", "random", CLASSES)
    _, taps = golden.run(network, quantize_pixels(images, 8), ["group0.conv1.threshold"])
    with torch.no_grad():
        first, second = model.additions[0].chain
        stream = model.stem_bn(model.stem(torch.from_numpy(images).float() / 255))
        want = (second.quantizer(first(stream)) * 3).round().numpy()
    assert np.mean(taps["group0.conv1.threshold"] == want) > 0.99


def test_overrides_reach_the_manifest():
    model = trained_like(bits={"group1.conv0": (3, 5)}, shortcut="avgpool")
    node = freeze(model, some_images(64), "small", "random", CLASSES).node("group1.conv0.conv")
    assert (node["weight_bits"], node["act_bits"]) == (3, 5)


def test_a_network_of_another_family_is_refused():
    with pytest.raises(FreezeError, match="CompactResNet has no form in hardware; networks of the families 'resnet'"):
        freeze(build_network({"family": "compact", "model": "og"}), some_images(4), "small", "random", CLASSES)


def test_a_float_network_is_refused():
    with pytest.raises(FreezeError, match="A float network has no integers"):
        freeze(ResNet(ResNetConfig(depth=8)), some_images(4), "small", "random", CLASSES)


@pytest.mark.parametrize(("layer", "bits"), [("group1.conv0", (1, 32)), ("linear", (32, 8)), ("stem", (8, 32))])
def test_a_float_layer_is_refused_by_name(layer, bits):
    model = ResNet(ResNetConfig(depth=8, weight_bits=1, act_bits=2, bits={layer: bits}))
    with pytest.raises(FreezeError, match=f"Layer {layer} is float and has no integers; give it 1 to 8 bits"):
        freeze(model, some_images(4), "small", "random", CLASSES)


def test_rprelu_is_frozen_to_fixed_point():
    """The stream behind every RPReLU is the float network's to a few steps of 2^-f."""
    model, images = trained_like(weight_bits=8, act_bits=8, stream_prelu=True), some_images(8, seed=3)
    network = freeze(model, some_images(64), "small", "random", CLASSES)
    nodes = [node for node in network.nodes if node.op == "prelu"]
    assert len(nodes) == len(model.additions) - 1
    node, prelu = nodes[0], model.additions[0].prelu
    unit = 2.0 ** -network.node("stem.requant")["fraction_bits"]
    for key, step in (("shift_in", unit), ("slope", 2.0 ** -node["shift"]), ("shift_out", unit)):
        np.testing.assert_allclose(node.tensors[key] * step, getattr(prelu, key).detach().numpy(), atol=step)
    _, taps = golden.run(network, quantize_pixels(images, 8), [node.name])
    with torch.no_grad():
        stem = model.stem_bn(model.stem(torch.from_numpy(images).float() / 255))
        want = model.additions[0](stem).numpy()
    assert np.quantile(np.abs(taps[node.name] * unit - want), 0.95) < 0.02 * np.abs(want).max()
    prelu.slope.data[0] = 40_000.0
    with pytest.raises(FreezeError, match="An RPReLU slope of 40000 needs more than 16 bits"):
        freeze(model, some_images(64), "small", "random", CLASSES)


def test_a_bias_beyond_32_bits_is_refused():
    model = trained_like()
    model.linear.bias.data[3] = 1e12
    with pytest.raises(FreezeError, match=r"A linear bias of \d+ units does not fit into 32 bits"):
        freeze(model, some_images(64), "small", "random", CLASSES)


def test_a_projection_that_cancels_with_the_conv_does_not_saturate():
    model = trained_like(shortcut="B", weight_bits=4, act_bits=4)
    residual = next(r for r in model.additions if isinstance(r.shortcut, ConvUnit))
    with torch.no_grad():
        residual.shortcut.bn.bias += 40.0
        residual.chain[-1].bn.bias -= 40.0
    images = some_images(64)
    network = freeze(model, images, "small", "random", CLASSES)
    with torch.no_grad():
        want = model(torch.from_numpy(images).float() / 255).argmax(1).numpy()
    assert np.mean(frozen.run(network, images).argmax(1) == want) > 0.9
