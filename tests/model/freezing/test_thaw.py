"""Thawing: a manifest's network trains again, and frozen once more it is the manifest, for every form that it takes."""

import dataclasses

import numpy as np
import pytest
import torch

from popstream.model import data, manifest
from popstream.model.freezing import frozen
from popstream.model.freezing.affine import ALWAYS, NEVER
from popstream.model.freezing.freeze import freeze
from popstream.model.freezing.thaw import ThawError, thaw
from popstream.model.networks.layers import prepare
from popstream.model.networks.resnet import ResNet, ResNetConfig
from popstream.model.training.checkpoint import TrainingError, load_network, source
from popstream.model.training.evaluate import evaluate
from popstream.model.training.recipe import RecipeError, load_recipe
from popstream.model.training.train import Trainer
from tests.model.training.test_train import write

SMALL = {"depth": 6, "widths": [4, 6], "in_channels": 1, "weight_bits": 1, "act_bits": 2, "learned_clip": True}
START = """
data = "digits"
[network]
depth = 6
widths = [8, 16]
in_channels = 1
first_bits = [4, 4]
convs_per_shortcut = 2
learned_clip = true
standardize = true
[[phase]]
name = "more"
start = "zoo/digits-w1a2"
weight_bits = 2
act_bits = 2
epochs = 1
batch = 32
lr = 0.001
"""


@pytest.fixture(scope="module")
def digits():
    loaded = data.load("digits")
    return loaded.train_images[:400], loaded.train_labels[:400]


def made(images, **options):
    """A small network with statistics, gains of both signs, offsets and slopes away from their first values, frozen."""
    torch.manual_seed(7)
    table = SMALL | options
    model = ResNet(ResNetConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}))
    x = prepare(torch.from_numpy(images))
    model.calibrate(x)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bn.weight" in name:
                parameter.uniform_(0.5, 1.5)
                parameter[::3] *= -1
            elif "bn.bias" in name or name.endswith(("offset", "shift_in", "shift_out")):
                parameter.normal_(0, 0.3)
            elif name.endswith("slope"):
                parameter.uniform_(-0.2, 1)
        for _ in range(30):
            model(x)
    return freeze(model, images, "small", "digits", list("0123456789"), training=trained(table))


def trained(table):
    """What a manifest says of its training, as far as thawing reads it."""
    bits = {key: table.get(key, 2) for key in ("weight_bits", "act_bits")}
    return {"recipe": {"network": table, "phase": [bits | {"grad_bits": 32}]}}


def gains(node):
    """Multipliers and biases as real numbers."""
    power = 2.0 ** -(node["shift"] + node["fraction_bits"])
    return node.tensors["multiplier"] * power, node.tensors["bias"] * power


FORMS = [
    {},
    {"convs_per_shortcut": 2, "shortcut": "A"},
    {"convs_per_shortcut": 2, "act_bits": 1, "stream_relu": True},
    {"convs_per_shortcut": 2, "act_bits": 3, "shortcut": "B", "standardize": True},
    {"act_bits": 1, "weight_scale": "channel"},
    {"weight_bits": 2, "act_bits": 4, "activation": "mish"},
    {"weight_bits": 8, "standardize": True},
    {"learned_clip": False, "weight_quantizer": "xnor", "act_bits": 1, "act_quantizer": "irnet"},
    {"learned_clip": False, "standardize": True, "act_bits": 1, "act_quantizer": "react", "stream_prelu": True},
    {"first_bits": [4, 4], "last_bits": [4, 6]},
]


@pytest.mark.parametrize("options", FORMS, ids=lambda options: "-".join(f"{k}={v}" for k, v in options.items()))
def test_frozen_again_it_is_the_same_network(options, digits):
    network = made(digits[0], **options)
    again = freeze(thaw(network, *digits), digits[0], "small", "digits", network.classes)
    exact = not options.get("standardize")  # standardized weights of several bits come back within a step
    for node in network.nodes:
        other = again.node(node.name)
        assert other.attributes.keys() == node.attributes.keys()
        if node.op == "threshold":
            on_stream = node.inputs[0].endswith((".requant", ".add", ".prelu"))
            apart = np.abs(other.tensors["thresholds"].astype(int) - node.tensors["thresholds"])
            assert apart.max() <= (1 if on_stream else 2)
            assert apart.mean() < 0.2, node.name
        elif node.op in ("conv", "linear"):
            apart = np.abs(other.tensors["weight"].astype(int) - node.tensors["weight"])
            assert apart.max() <= (0 if exact or node["weight_bits"] == 1 or node.op == "linear" else 1), node.name
            if node.op == "linear" and exact:
                assert np.allclose(other.tensors["bias"], node.tensors["bias"], rtol=1e-3, atol=1)
        elif node.op == "requant":
            for mine, theirs in zip(gains(node), gains(other), strict=True):
                assert np.allclose(mine, theirs, rtol=1e-3 if exact else 0.05, atol=1e-3), node.name
        elif node.op == "prelu":
            assert all(np.array_equal(other.tensors[k], node.tensors[k]) for k in ("shift_in", "slope", "shift_out"))


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_standardized_weights_of_some_bits_come_back_within_a_step(bits, digits):
    network = made(digits[0], weight_bits=bits, standardize=True)
    again = freeze(thaw(network, *digits), digits[0], "small", "digits", network.classes)
    for node in network.nodes:
        if node.op == "conv":
            apart = np.abs(again.node(node.name).tensors["weight"].astype(int) - node.tensors["weight"])
            assert apart.max() <= 1
            assert apart.mean() < 0.2


@pytest.mark.parametrize("net", ["digits-w1a2", "digits-react-w1a1"])
def test_zoo_networks_keep_their_accuracy(net):
    loaded, network = data.load("digits"), manifest.load(manifest.ZOO / net)
    model = thaw(network, loaded.train_images, loaded.train_labels)
    top1 = evaluate(model, torch.from_numpy(loaded.test_images), torch.from_numpy(loaded.test_labels))
    assert top1 == pytest.approx(network.accuracy["top1_frozen"], abs=1.2)  # 4 of 360 images: RPReLUs round


def test_the_temperature_is_that_of_the_least_cross_entropy(digits):
    network = manifest.load(manifest.ZOO / "digits-w1a2")
    model = thaw(network, *digits)
    x, labels = prepare(torch.from_numpy(digits[0])), torch.from_numpy(digits[1])
    with torch.no_grad():
        logits = model.eval()(x)
    loss = torch.nn.functional.cross_entropy
    assert loss(logits, labels) < 0.2
    assert loss(logits, labels) < min(loss(logits * 0.7, labels), loss(logits * 1.4, labels)) + 0.01


@pytest.mark.parametrize("act_bits", [1, 2])
def test_a_constant_channel_stays_constant(act_bits, digits):
    network = made(digits[0], convs_per_shortcut=2, act_bits=act_bits)
    name = "group0.conv1.threshold"
    levels = network.node(name).tensors["thresholds"].copy()
    levels[0], levels[1] = ALWAYS, NEVER
    nodes = [
        dataclasses.replace(node, tensors={"thresholds": levels}) if node.name == name else node
        for node in network.nodes
    ]
    network = manifest.Network.build("dead", "digits", network.classes, nodes, training=network.training)
    again = freeze(thaw(network, *digits), digits[0], "small", "digits", network.classes)
    assert (again.node(name).tensors["thresholds"][0] == ALWAYS).all()
    assert (again.node(name).tensors["thresholds"][1] == NEVER).all()


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({}, "does not say by what recipe"),
        (trained({"family": "dorefa_svhn", "model": "D"}), "family 'dorefa_svhn'"),
        (
            trained(SMALL | {"weight_quantizer": "lsq", "weight_bits": 2}),
            "LSQWeights of 2 bits cannot be thawed",
        ),
        (
            trained(SMALL | {"weight_quantizer": "ternary", "weight_bits": 2}),
            "TernaryWeights of 2 bits cannot be thawed",
        ),
        (trained(SMALL | {"learned_clip": False, "act_quantizer": "lsq"}), "LSQActivations cannot be thawed"),
    ],
)
def test_what_cannot_be_thawed(training, message, digits):
    bits = training["recipe"]["network"].get("weight_bits", 1) if training else 1
    network = made(digits[0], weight_bits=bits)
    with pytest.raises(ThawError, match=message):
        thaw(dataclasses.replace(network, training=training), *digits)


@pytest.mark.parametrize(
    "recipe", [3, [1], {"phase": []}, {"phase": [3], "network": {}}, trained({"depht": 4})["recipe"]]
)
def test_a_recipe_that_cannot_be_read_is_named(recipe, digits):
    network = dataclasses.replace(made(digits[0]), training={"recipe": recipe})
    with pytest.raises(ThawError, match="the recipe it was trained by cannot be read"):
        thaw(network, *digits)


@pytest.mark.parametrize(("op", "attributes", "tensors", "message"), [
    ("requant", {"ties": "even"}, {}, "'stem.requant' sends halves to even"),
    ("conv", {"pad_code": 1}, {}, "'stem.conv' pads with another code than 0"),
    ("input", {}, {"table": np.zeros((1, 256), np.uint8)}, "'image' has a table of pixels"),
])  # fmt: skip
def test_what_only_others_networks_have_is_refused(op, attributes, tensors, message, digits):
    network = manifest.load(manifest.find("digits-w1a2"))
    first = next(node for node in network.nodes if node.op == op)
    changed = dataclasses.replace(
        first, attributes={**first.attributes, **attributes}, tensors={**first.tensors, **tensors}
    )
    nodes = [changed if node is first else node for node in network.nodes]
    network = manifest.Network.build("x", network.data, network.classes, nodes, {}, network.training)
    with pytest.raises(ThawError, match=message):
        thaw(network, *digits)


def test_a_recipe_starts_from_the_zoo(tmp_path):
    recipe = load_recipe(write(tmp_path, START))
    final = Trainer(recipe, tmp_path / "out", torch.device("cpu")).train()
    state = torch.load(final, weights_only=True)
    assert state["config"]["weight_bits"] == 2
    assert state["log"][0]["top1_test"] > 90  # an untrained network guesses


def test_an_unknown_zoo_network_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"a network of the zoo .*zoo/digits-w1a2.*not 'zoo/nothing'"):
        load_recipe(write(tmp_path, START.replace("zoo/digits-w1a2", "zoo/nothing")))


def test_a_damaged_manifest_says_so(tmp_path):
    (tmp_path / "network.json").write_text("{")
    with pytest.raises(TrainingError, match=r"network\.json"):
        load_network(tmp_path, ResNetConfig())


def test_a_zoo_teacher_of_other_classes_or_channels_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"Teacher .*digits-w1a2 has 1 in_channels, the student 3"):
        load_network(source("zoo/digits-w1a2", tmp_path), ResNetConfig())


def test_thawed_logits_rank_as_the_manifests(digits):
    network = made(digits[0])
    with torch.no_grad():
        logits = thaw(network, *digits).eval()(prepare(torch.from_numpy(digits[0])))
    agree = logits.argmax(1).numpy() == frozen.run(network, digits[0]).argmax(1)
    assert agree.mean() > 0.95
