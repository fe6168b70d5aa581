"""The ResNet family: shapes, names, sizes and bits."""

import pytest
import torch

from popstream.model.networks import network_config
from popstream.model.networks.layers import QuantConv2d
from popstream.model.networks.resnet import ConvUnit, ResNet, ResNetConfig
from popstream.model.quantizers import WEIGHT_QUANTIZERS


@pytest.mark.parametrize("shortcut", ["A", "B", "avgpool"])
@pytest.mark.parametrize("convs", [1, 2])
@pytest.mark.parametrize("activation", ["relu", "mish"])
def test_every_variant_runs_forward_and_backward(shortcut, convs, activation):
    config = ResNetConfig(depth=8, widths=(4, 6, 10), weight_bits=2, act_bits=2, shortcut=shortcut, grad_bits=6,
                          convs_per_shortcut=convs, activation=activation, learned_clip=True)  # fmt: skip
    model = ResNet(config)
    x = torch.rand(2, 3, 16, 12)
    model.calibrate(x)
    logits = model(x)
    assert logits.shape == (2, 10)
    assert model.features(x).shape == (2, 10, 4, 3)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("depth", "parameters"), [(20, 269_722), (32, 464_154), (56, 853_018)])
def test_sizes_are_those_published(depth, parameters):
    """He et al. 2015, table 6: 0.27 M, 0.46 M and 0.85 M parameters with shortcut A."""
    model = ResNet(ResNetConfig(depth=depth, shortcut="A", convs_per_shortcut=2))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == parameters


def test_float_network_with_relu_after_the_addition_is_he_et_al():
    """One block by hand: relu(x + bn(conv(relu(bn(conv(x))))))."""
    model = ResNet(ResNetConfig(depth=4, widths=(5,), convs_per_shortcut=2, stream_relu=True)).eval()
    x = torch.rand(2, 3, 8, 8)
    r = torch.relu(model.stem_bn(model.stem(x)))
    first, second = model.additions[0].chain
    y = second.bn(second.conv(torch.relu(first.bn(first.conv(r)))))
    torch.testing.assert_close(model.features(x), torch.relu(r + y))


@pytest.mark.parametrize("weights", WEIGHT_QUANTIZERS)
@pytest.mark.parametrize("acts", ["react", "bineal", "lsq"])
def test_every_weight_quantizer_trains(weights, acts):
    """ReAct and BiNeal networks: stream PReLU, 1.5 times the width, 3x3 projections."""
    least = WEIGHT_QUANTIZERS[weights].least_bits
    options = dict(weight_bits=least, act_bits=1, weight_quantizer=weights, act_quantizer=acts, stream_prelu=True)
    config = ResNetConfig(6, (4, 6), shortcut="B", project_kernel=3, width_multiplier=1.5, **options)
    model = ResNet(config)
    assert [residual.prelu is None for residual in model.additions] == [False, False, False, True]
    assert model.additions[2].shortcut.conv.weight.shape == (9, 6, 3, 3)
    x = torch.rand(4, 3, 8, 8)
    model.calibrate(x)
    model.set_progress(0.5)
    model(x).square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is None if not p.requires_grad else p.grad.isfinite().all(), name
    with pytest.raises(ValueError, match="Progress must be 0 to 1, not 2"):
        ResNet(ResNetConfig(weight_bits=1, weight_quantizer="irnet")).set_progress(2)


def test_bits_reach_their_layers():
    config = ResNetConfig(depth=8, weight_bits=1, act_bits=2, first_bits=(6, 8), last_bits=(7, 8),
                          bits={"group1.conv0": (3, 5)})  # fmt: skip
    model = ResNet(config)
    bits = {m.name: (m.conv.quantizer.bits, m.quantizer.bits) for m in model.modules() if isinstance(m, ConvUnit)}
    assert bits.pop("group1.conv0") == (3, 5)
    assert set(bits.values()) == {(1, 2)}
    assert (model.stem.quantizer.bits, model.linear_quantizer.bits) == (6, 7)
    assert all(m.quantizer.bits == 32 for m in ResNet(ResNetConfig(depth=8)).modules() if isinstance(m, QuantConv2d))


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_layers_are_those_of_the_network(shortcut):
    config = ResNetConfig(depth=8, shortcut=shortcut)
    units = {m.name for m in ResNet(config).modules() if isinstance(m, ConvUnit)}
    assert set(config.layers) == units | {"stem", "linear"}
    assert len(config.layers) == len(units) + 2


def test_width_multiplier():
    assert ResNetConfig(width_multiplier=1.5).channels == (24, 48, 96)


@pytest.mark.parametrize(("options", "message"), [
    ({"depth": 21}, "Depth must be 6n[+]2 for 3 groups, not 21"),
    ({"shortcut": "C"}, "Shortcut must be one of A, B, avgpool, not 'C'"),
    ({"convs_per_shortcut": 3}, "convs_per_shortcut must be one of 1, 2, not 3"),
    ({"weight_bits": 0}, "Weights must be 1 to 8 bits, or 32 for float, not 0"),
    ({"widths": ()}, "Widths must have a number of channels for at least one group"),
    ({"activation": "swish"}, "Activation must be one of relu, mish, leaky_relu, gelu, tanh, not 'swish'"),
    ({"weight_quantizer": "pact"}, "Weight quantizer must be one of dorefa, xnor, bnn, lsq, ewgs, .*, not 'pact'"),
    ({"act_quantizer": "pact"}, "Activation quantizer must be one of dorefa, bnn, xnor, lsq, .*, not 'pact'"),
    ({"weight_quantizer": "ternary", "weight_bits": 1}, "Weight quantizer 'ternary' has 2 bits, or 32 .*; group0"),
    ({"weight_quantizer": "recu", "weight_bits": 2}, "Weight quantizer 'recu' has 1 bit, or 32 .*; group0.conv0 has 2"),
    ({"act_quantizer": "react", "bits": {"group1.conv1": (1, 2)}}, "quantizer 'react' has 1 bit.*; group1.conv1 has 2"),
    ({"act_quantizer": "bnn", "activation": "mish"}, "Activation 'mish' belongs to act_quantizer 'dorefa', not 'bnn'"),
    ({"act_quantizer": "lsq", "learned_clip": True}, "learned_clip belongs to act_quantizer 'dorefa', not 'lsq'"),
    ({"weight_quantizer": "irnet", "standardize": True}, "standardize belong to .* 'dorefa', not 'irnet'"),
    ({"stream_prelu": True, "stream_relu": True}, "stream_relu.* or an RPReLU .*, not both"),
    ({"project_kernel": 2}, "project_kernel must be one of 1, 3, not 2"),
    ({"beta_dimensions": 3}, "beta_dimensions must be one of 1, 2, 4, not 3"),
    ({"weight_scale": "row"}, "Weight scale must be one of layer, channel, not 'row'"),
    ({"grad_bits": 9}, "Gradients must be 1 to 8 bits, or 32 for float, not 9"),
    ({"first_bits": (9, 8)}, "Weights of first_bits must be 1 to 8 bits, or 32 for float, not 9"),
    ({"bits": {"group0.conv1": (1, 0)}}, "Activations of group0.conv1 must be 1 to 8 bits, or 32 for float, not 0"),
    ({"bits": {"group0.conv1": (1, 2, 3)}},
     "bits must be a table, each entry a list of 2, each a whole number, not {.group0.conv1.: .1, 2, 3"),
    ({"bits": {"group3.conv0": (1, 2)}}, "Bits are given for 'group3.conv0', but the layers are stem, group0.conv0,"),
    ({"bits": {"group1.project": (1, 2)}}, "Bits are given for 'group1.project'"),
    ({"widths": (16, 8, 8)}, r"Widths may fall with shortcut B alone, not \(16, 8, 8\) with avgpool"),
])  # fmt: skip
def test_wrong_configurations(options, message):
    with pytest.raises(ValueError, match=message):
        network_config(options)
