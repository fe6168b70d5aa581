"""Recipes: what is refused before anything is loaded or trained, each with its file, key and what is allowed."""

from pathlib import Path

import pytest
import torch

from popstream.model.networks import build_network, network_config
from popstream.model.networks.resnet import ResNet, ResNetConfig
from popstream.model.training import train
from popstream.model.training.recipe import RECIPES, RecipeError, learning_rate, load_recipe
from tests.model.training.test_train import RECIPE, write

NAN = "a number from 0 to 1e30, not nan"
PHASE = 'name = "w1a2"'  # the second phase's
NETWORK = "learned_clip = true"


@pytest.mark.parametrize(("old", "new", "message"), [
    ('data = "digits"', 'data = "mnist"', "data must be one of cifar10, .*digits, .*not 'mnist'"),
    ('data = "digits"', 'data = 3', "data must be text, not 3"),
    ('data = "digits"', 'date = "digits"', "the recipe has an unknown option 'date'; it takes augment, data, "),
    ('data = "digits"', '', "the recipe lacks 'data'"),
    ("batch = 32", "bacth = 32", "phase 0 has an unknown option 'bacth'; it takes act_bits, "),
    ("batch = 32", "batch = 3.5", "batch of phase 0 must be a whole number from 1 to 1048576, not 3.5"),
    ("batch = 32", "batch = true", "batch of phase 0 must be a whole number .*, not True"),
    ("epochs = 2", "", "phase 0 lacks 'epochs'"),
    ("epochs = 2", "epochs = 0", "epochs of phase 0 must be a whole number from 1 to 100000, not 0"),
    ("epochs = 2", f"epochs = {10**30}", "epochs of phase 0 must be a whole number from 1 to 100000, not 1000000"),
    ("lr = 0.05", 'optimizer = "lion"', "optimizer of phase 1 must be one of adadelta, adam, rmsprop, sgd, not 'lion'"),
    ("lr = 0.05", 'schedule = 1', "schedule of phase 1 must be one of cosine, step, not 1"),
    ("lr = 0.05", 'lr = "high"', "lr of phase 1 must be a number from 0 to 1e30, not 'high'"),
    ("lr = 0.05", "lr = -0.1", "lr of phase 1 must be a number from 0 to 1e30, not -0.1"),
    ("lr = 0.05", "lr = nan", f"lr of phase 1 must be {NAN}"),
    ("lr = 0.05", "lr = inf", "lr of phase 1 must be a number from 0 to 1e30, not inf"),
    ("lr = 0.05", "lr = 1e300", r"lr of phase 1 must be a number from 0 to 1e30, not 1e\+300"),
    ("lr = 0.05", "weight_decay = 1e31", r"weight_decay of phase 1 must be a number from 0 .*, not 1e\+31"),
    ("lr = 0.05", "momentum = -0.9", "momentum of phase 1 must be a number of at least 0 and below 1, not -0.9"),
    ("lr = 0.05", "momentum = 1.0", "momentum of phase 1 must be a number of at least 0 and below 1, not 1.0"),
    ("lr = 0.05", "momentum = nan", "momentum of phase 1 must be a number .*, not nan"),
    ("lr = 0.05", "weight_decay = -1e-4", "weight_decay of phase 1 must be a number from 0 to 1e30, not -0.0001"),
    ("lr = 0.05", "label_weight = -1.0", "label_weight of phase 1 must be a number from 0 to 1e30, not -1.0"),
    ("lr = 0.05", "label_weight = nan", f"label_weight of phase 1 must be {NAN}"),
    ("lr = 0.05", "warmup = -1", "warmup of phase 1 must be a number from 0 to 1e30, not -1"),
    ("lr = 0.05", 'frozen = "no"', "frozen of phase 1 must be true or false, not 'no'"),
    ("lr = 0.05", "start = 7", "start of phase 1 must be text, not 7"),
    ("lr = 0.05", "grad_bits = 4\nfrozen = true", "a frozen phase has float gradients; leave grad_bits of phase 1"),
    ("act_bits = 2", "act_bits = 9", "Activations must be 1 to 8 bits, or 32 for float, not 9"),
    ("act_bits = 2", "act_bits = true", "act_bits of phase 1 must be a whole number, not True"),
    ("act_bits = 2", "frozen = true", "phase 1 is frozen; give it act_bits of 1 to 8, not 32"),
    ('teacher = "float"', 'teacher = "big"', r"teacher of phase 1 must be an earlier phase [(]float[)], .* not 'big'"),
    (PHASE, 'name = "float"', r"name of phase 1 must not be taken [(]state, final, float, .*not 'float'"),
    (PHASE, 'name = "Float"', r"name of phase 1 must not be taken [(]state, final, float, .*not 'Float'"),
    (PHASE, 'name = "final"', r"name of phase 1 must not be .* not 'final'"),
    (PHASE, 'name = "a b"', "name of phase 1 must be at most 64 letters, digits, .* first, not 'a b'"),
    (PHASE, 'name = "../a"', "name of phase 1 must be at most 64 letters, .* not '../a'"),
    ("[network]", "[network", "small.toml: not valid TOML"),
    ("[network]", "[export]\nstream_bits = 17\n[network]", "stream_bits of export must be a whole .* 2 to 16, not 17"),
    ("[network]", "[export]\nwidth = 16\n[network]", "export has an unknown option 'width'; it takes stream_bits"),
    ("augment = {", "seed = 0.5\naugment = {", "seed must be a whole number from 0 to 9223372036854775807, not 0.5"),
    ("augment = {", f"seed = {2**64}\naugment = {{", "seed must be a whole number .*, not 18446744073709551616"),
    ("augment = {", "seed = -1\naugment = {", "seed must be a whole number from 0 .*, not -1"),
    ("flip = false", 'flip = "no"', "flip of augment must be true or false, not 'no'"),
    ("flip = false", "flip = 0", "flip of augment must be true or false, not 0"),
    ("shift = 1", "shift = -1", "shift of augment must be a whole number from 0 to 64, not -1"),
    ("shift = 1", "shift = 1.5", "shift of augment must be a whole number from 0 to 64, not 1.5"),
    ("shift = 1", "shfit = 1", "augment has an unknown option 'shfit'; it takes flip, shift"),
    ("augment = { shift = 1, flip = false }", "augment = 1", "augment must be a table, not 1"),
    ("depth = 4", "depth = 5", "Depth must be 2n[+]2 for 1 groups, not 5"),
    ("depth = 4", 'depth = "4"', "network: depth must be a whole number from 4 to 2002, not '4'"),
    ("depth = 4", 'depht = 4', "Network family 'resnet' has no option 'depht'; it takes act_bits, "),
    ("widths = [8]", "widths = [-4]", r"network: widths\[0\] must be a whole number from 1 to 65535, not -4"),
    ("widths = [8]", "widths = 8", "network: widths must be a list, each a whole number from 1 to 65535, not 8"),
    (NETWORK, 'learned_clip = "false"', "network: learned_clip must be true or false, not 'false'"),
    (NETWORK, 'stream_relu = "no"', "network: stream_relu must be true or false, not 'no'"),
    (NETWORK, "width_multiplier = nan", "width_multiplier must be a number above 0 and at most 64, not nan"),
    (NETWORK, 'activation = "swish"', "Activation must be one of relu, .*, not 'swish'"),
    (NETWORK, 'family = ["resnet"]', "Network family must be one of resnet, .*, not "),
    (NETWORK, "bits = { conv9 = [1, 2] }", "Bits are given for 'conv9', but the layers are stem, "),
    (NETWORK, "bits = { stem = [1] }", "bits must be a table, each entry a list of 2, each a whole number, not "),
    (NETWORK, "classes = 7", "data set digits has classes = 10, the recipe's network 7"),
    ("in_channels = 1", "in_channels = 3", "data set digits has in_channels = 1, the recipe's network 3"),
    ("depth = 4\nwidths = [8]", "depth = 12\nwidths = [4, 4, 4, 4, 4]",
     "group 4 would halve maps of 1 x 1, .*halves even sizes alone; take 4 groups"),
])  # fmt: skip
def test_wrong_recipes(tmp_path, old, new, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, RECIPE.replace(old, new, 1)))


def test_a_long_name_is_cut_in_the_message(tmp_path):
    with pytest.raises(RecipeError, match=r"name of phase 1 must be .* not 'aaa+\[\d+ characters\]a+'$"):
        load_recipe(write(tmp_path, RECIPE.replace(PHASE, f'name = "{"a" * 100_000}"')))


def test_a_recipe_needs_phases(tmp_path):
    text = RECIPE.split("[[phase]]")[0]
    for phases in ("phase = []\n" + text, text + '[phase]\nname = "float"\nepochs = 1\n'):
        with pytest.raises(RecipeError, match=r"phase must be at least one table \[\[phase\]\], not "):
            load_recipe(write(tmp_path, phases))
    with pytest.raises(RecipeError, match="phase 1 must be a table, not 3"):
        load_recipe(write(tmp_path, 'phase = [{name = "a", epochs = 1}, 3]\n' + text))


FOUR_GROUPS = RECIPE.replace("depth = 4\nwidths = [8]", "depth = 10\nwidths = [4, 4, 4, 4]")


def test_batchnorm_needs_two_values(tmp_path):
    assert load_recipe(write(tmp_path, FOUR_GROUPS))
    assert load_recipe(write(tmp_path, RECIPE.replace("batch = 32", "batch = 1")))  # maps of 8 x 8 have enough
    with pytest.raises(RecipeError, match=r"small.toml: phase 'float': batch must be at least 2, not 1: the last maps"):
        load_recipe(write(tmp_path, FOUR_GROUPS.replace("batch = 32", "batch = 1", 1)))


@pytest.mark.parametrize(("shortcut", "sizes"), [("avgpool", (8, 32, 6)), ("A", (7, 8, 9)), ("B", (7, 1, 32))])
def test_a_network_that_is_not_refused_takes_the_images(shortcut, sizes):
    """Whatever `least_map` lets pass goes through the network, and has the size it says."""
    for size in sizes:
        config = ResNetConfig(depth=6, widths=(2, 4), in_channels=1, shortcut=shortcut)
        features = ResNet(config).features(torch.rand(2, 1, size, size))
        assert features.shape[2] == config.least_map(size), size


@pytest.mark.parametrize("size", [7, 9])
def test_odd_maps_are_refused_with_averaging_shortcuts(size):
    with pytest.raises(ValueError, match=f"group 1 would halve maps of {size} x {size}"):
        ResNetConfig(depth=6, widths=(2, 4)).least_map(size)


@pytest.mark.parametrize("table", [
    {"family": "compact"}, {"family": "compact", "model": "og"}, {"family": "dorefa_svhn", "model": "D"},
    {"family": "reactnet", "width": 0.05},
], ids=str)  # fmt: skip
def test_small_images_suit_the_other_families(table):
    config = network_config(table | {"in_channels": 1})
    torch.manual_seed(0)
    with torch.device("meta"):
        network = build_network(config.to_dict())
        assert network.train()(torch.empty(2, 1, 8, 8)).shape == (2, config.classes)
    assert config.least_map(8) == 1 + (table == {"family": "compact"})


def test_alexnet_takes_its_size_alone():
    with pytest.raises(ValueError, match="AlexNet takes images of 224 x 224 pixels, not 32 x 32"):
        network_config({"family": "dorefa_alexnet"}).least_map(32)


@pytest.mark.parametrize(("classes", "bits"), [(300, 1), (1000, 2), (257, 8)])
def test_more_classes_than_a_label_holds_are_refused_before_training(tmp_path, classes, bits):
    text = RECIPE.replace('data = "digits"', 'data = "imagenet32"')
    text = text.replace("in_channels = 1", f"in_channels = 3\nclasses = {classes}")
    with pytest.raises(RecipeError, match=f"phase 'w1a2': .* at most 256 classes, not {classes}: its label has 8 bits"):
        load_recipe(write(tmp_path, text.replace("weight_bits = 1", f"weight_bits = {bits}")))
    assert load_recipe(write(tmp_path, text.replace("weight_bits = 1", "weight_bits = 32")))  # float: not for hardware
    assert load_recipe(write(tmp_path, text.replace(f"classes = {classes}", "classes = 256")))


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64, 2**80, 0.5])
def test_a_seed_of_the_command_line_is_checked_like_a_recipes(tmp_path, seed):
    with pytest.raises(RecipeError, match="seed must be a whole number from 0 to 9223372036854775807, not "):
        train.train(write(tmp_path), tmp_path / "out", torch.device("cpu"), seed)
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"small.toml: not valid TOML .*utf-8"):
        load_recipe(path)
    with pytest.raises(RecipeError, match=r"cannot be read \(Is a directory\)"):
        load_recipe(tmp_path)
    path.write_text("x = " + "[" * 100_000)
    with pytest.raises(RecipeError, match=r"small.toml: not valid TOML .*recursion"):
        load_recipe(path)
    path.write_text("#" * 2**21)
    with pytest.raises(RecipeError, match=r"small.toml: has 2,097,152 bytes; at most 1,048,576 are read"):
        load_recipe(path)
    with pytest.raises(RecipeError, match=r"^No recipe xxx.*\[\d+ characters\].*; there are "):
        load_recipe(Path("x" * 5000))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_recipes_are_valid(path):
    assert load_recipe(path)["phase"]


def test_schedules():
    phase = {"lr": 1.0, "warmup": 1.0, "epochs": 9, "schedule": "cosine"}
    assert learning_rate(phase, 0.5) == pytest.approx(0.501)
    assert learning_rate(phase, 5) == pytest.approx(0.5)
    assert learning_rate(phase, 9) == pytest.approx(0)
    short = phase | {"epochs": 1}
    assert [round(learning_rate(short, e), 3) for e in (0.125, 0.25, 0.625, 1)] == [0.504, 1.0, 0.5, 0.0]
    step = phase | {"schedule": "step"}
    assert [round(learning_rate(step, e), 3) for e in (1, 4.9, 5, 7)] == [1.0, 1.0, 0.1, 0.01]
