"""The families beside ResNet: sizes as published, bits in their places, and every one of them trains."""

import pytest
import torch

from popstream.model.networks import build_network, network_config
from popstream.model.networks.compact import PLANS
from popstream.model.networks.layers import QuantConv2d, QuantLinear
from popstream.model.quantizers import ActivationQuantizer


def parameters(table: dict) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build_network(table).parameters() if p.requires_grad)


@pytest.mark.parametrize(("model", "count"), [
    ("og", 4_997_802), ("res_512", 4_961_610), ("res_512_d", 4_961_610),  # as the paper's table 1 has them
    ("og_64", 4_992_586), ("resblock", 3_236_330),
])  # fmt: skip
def test_compact_resnets_have_the_published_parameters(model, count):
    assert parameters({"family": "compact", "model": model}) == count < 5_000_000


def test_svhn_models_halve_their_channels():
    """Seven convs, and the linear layer on 512 / share channels."""
    for model, share in (("A", 1), ("B", 2), ("C", 4), ("D", 8)):
        network = build_network({"family": "dorefa_svhn", "model": model})
        convs = [m.out_channels * share for m in network.modules() if isinstance(m, QuantConv2d)]
        assert convs == [48, 64, 64, 128, 128, 128, 512]
        assert network.linear.in_features * share == 512


def multiply_adds(network, size: int) -> dict[str, int]:
    """Multiply-adds of each conv and linear layer on one image of size x size, without computing anything."""
    seen = {}

    def watch(name):
        def hook(module, inputs, output):
            seen[name] = output[0].numel() * module.weight[0].numel()

        return hook

    for name, module in network.named_modules():
        if isinstance(module, QuantConv2d | QuantLinear):
            module.register_forward_hook(watch(name))
    network.eval()(torch.zeros(1, 3, size, size, device="meta"))
    return seen


def test_reactnet_a_has_the_published_operations():
    """87 M operations, counted as binary ones / 64 + float ones: 4.82e9 and 0.12e8."""
    with torch.device("meta"):
        network = build_network({"family": "reactnet", "weight_bits": 1, "act_bits": 1})
    counts = multiply_adds(network, 224)
    flops = counts.pop("stem") + counts.pop("linear")
    assert sum(counts.values()) == pytest.approx(4.82e9, rel=0.002)
    assert flops == pytest.approx(0.12e8, rel=0.02)
    assert sum(counts.values()) / 64 + flops == pytest.approx(87e6, rel=0.005)


def test_alexnet_has_the_published_shape():
    """Eight layers; 1000 classes from 6x6x256 features over two layers of 4096."""
    with torch.device("meta"):
        network = build_network({"family": "dorefa_alexnet", "weight_bits": 1, "act_bits": 2, "grad_bits": 6})
    counts = multiply_adds(network, 224)
    assert len(counts) == 8
    assert counts["stages.5.conv"] == 4096 * 256 * 36
    assert counts["stages.1.conv"] == 54 * 54 * 256 * 48 * 25
    with pytest.raises(ValueError, match="AlexNet takes images of 224 x 224 pixels, not 32 x 40"):
        network(torch.zeros(1, 3, 32, 40, device="meta"))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_first_and_last_layer_of_table_3(first, last):
    network = build_network({"family": "dorefa_svhn", "model": "D", "weight_bits": 1, "act_bits": 2, "grad_bits": 4,
                             "first": first, "last": last})  # fmt: skip
    convs = [m for m in network.modules() if isinstance(m, QuantConv2d)]
    assert [c.quantizer.bits for c in convs] == [1 if first else 32, *[1] * 6]
    assert [c.grad_bits for c in convs] == [4 if first else 32, *[4] * 6]
    acts = [m.bits for m in network.modules() if isinstance(m, ActivationQuantizer)]
    assert acts == [*[2] * 6, 2 if last else 32]
    linear = network.linear
    assert (linear.quantizer.bits, linear.grad_bits) == ((1, 4) if last else (32, 32))


TABLES = [
    *({"family": "compact", "model": model} for model in PLANS),
    *({"family": "compact", "model": "og", "activation": name} for name in ("leaky_relu", "gelu", "tanh")),
    {"family": "compact", "model": "og", "activation": "gelu", "weight_bits": 1, "act_bits": 2},
    {"family": "dorefa_svhn", "model": "D", "weight_bits": 1, "act_bits": 2, "grad_bits": 4, "first": True},
    {"family": "dorefa_svhn", "model": "D", "last": True, "weight_bits": 2, "act_bits": 2},
    {"family": "dorefa_svhn", "model": "D", "size": 32, "first_bits": 8, "last_bits": (8, 8)},
    {"family": "reactnet", "width": 0.125, "classes": 10, "weight_bits": 1, "act_bits": 1},
    {"family": "reactnet", "width": 0.125, "classes": 10, "weight_bits": 1, "act_bits": 1,
     "weight_quantizer": "irnet", "act_quantizer": "bineal"},
    {"family": "reactnet", "width": 0.125, "classes": 10, "act_bits": 1},
]  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_every_family_trains_and_is_rebuilt(table):
    torch.manual_seed(0)
    model = build_network(table)
    x, y = torch.rand(2, 3, 32, 32), torch.tensor([3, 7])
    model.calibrate(x)
    model.set_progress(0.5)
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    for name, p in model.named_parameters():
        assert not p.requires_grad or (p.grad is not None and p.grad.isfinite().all()), name
    again = build_network(model.config.to_dict())
    again.load_state_dict(model.state_dict())
    model.eval(), again.eval()
    assert torch.equal(again(x), model(x))


@pytest.mark.parametrize(("table", "message"), [
    ({"family": "compact", "model": "res_1024"}, "Model must be one of og_64, og, res_512, .*, not 'res_1024'"),
    ({"family": "compact", "activation": "selu"}, "Activation must be one of relu, .*, not 'selu'"),
    ({"family": "compact", "weight_bits": 9}, "Weights must be 1 to 8 bits, or 32 for float, not 9"),
    ({"family": "dorefa_svhn", "model": "E"}, "Model must be one of A, B, C, D, not 'E'"),
    ({"family": "dorefa_svhn", "size": 36}, "Size must be 24 and multiples of 8 more, not 36"),
    ({"family": "dorefa_svhn", "first_bits": 9}, "Weights of first_bits must be 1 to 8 bits, or 32 for float, not 9"),
    ({"family": "dorefa_svhn", "last_bits": [8]}, "network: last_bits must be a list of 2, each a whole number, not "),
    ({"family": "dorefa_svhn", "classes": 0}, "network: classes must be a whole number from 1 to 65535, not 0"),
    ({"family": "dorefa_alexnet", "depth": 8}, "'dorefa_alexnet' has no option 'depth'; it takes act_bits, "),
    ({"family": "reactnet", "act_bits": 2}, "Activation quantizer 'react' has 1 bit, or 32 for float, not 2"),
    ({"family": "reactnet", "weight_quantizer": "pact"}, "Weight quantizer must be one of dorefa, .*, not 'pact'"),
    ({"family": "reactnet", "width": 0.01}, "Width must leave at least 1 of 32 channels, not be 0.01"),
])  # fmt: skip
def test_wrong_tables(table, message):
    with pytest.raises(ValueError, match=message):
        network_config(table)
