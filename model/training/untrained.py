"""An untrained network of a recipe's shape, for sizing hardware: `popstream untrained RECIPE --weight-bits 2`.

Its weights are the initial ones, its clips and BatchNorms are calibrated on training images, so that thresholds and
multipliers have a trained network's widths. Writes build/untrained/<name>/, a manifest like any other, with the
accuracy that such a network has: about that of guessing.
"""

from pathlib import Path

import torch

from popstream.model import data, manifest
from popstream.model.freezing import frozen
from popstream.model.freezing.freeze import freeze
from popstream.model.networks import build_network, phase_config
from popstream.model.networks.layers import prepare
from popstream.model.training.recipe import load_recipe
from popstream.model.training.train import reestimate_batchnorm

__all__ = ["FOLDER", "make", "name_of", "untrained"]

CALIBRATION_IMAGES = 500
TEST_IMAGES = 500
FOLDER = Path("build/untrained")


def untrained(name: str, recipe: dict, bits: dict[str, int]) -> manifest.Network:
    """The last phase's network at `bits` (weight_bits, act_bits), frozen with its initial weights."""
    config = phase_config(recipe, recipe["phase"][-1] | bits)
    torch.manual_seed(recipe.get("seed", 0))
    model, source = build_network(config.to_dict()), data.load(recipe["data"])
    images = torch.from_numpy(source.train_images[:CALIBRATION_IMAGES])
    model.calibrate(prepare(images))
    reestimate_batchnorm(model, images.split(100))
    stream_bits = recipe.get("export", {}).get("stream_bits", 16)
    training = {"untrained": True, "seed": recipe.get("seed", 0)}
    network = freeze(model, images.numpy(), name, source.name, source.classes, stream_bits, training=training)
    logits = frozen.run(network, source.test_images[:TEST_IMAGES], progress=True)
    top1 = round(frozen.top1(logits, source.test_labels[:TEST_IMAGES]), 2)
    accuracy = {"top1_float": top1, "top1_frozen": top1, "images": len(logits)}
    return manifest.Network.build(name, source.name, source.classes, network.nodes, accuracy, training)


def name_of(recipe: str, weight_bits: int, act_bits: int) -> str:
    """What the untrained network of a recipe, by its name, is called at these bits."""
    return f"{recipe.rsplit('-', 1)[0]}-w{weight_bits}a{act_bits}-untrained"


def make(path: Path, weight_bits: int | None = None, act_bits: int | None = None, name: str | None = None) -> Path:
    """Save the untrained network of the recipe at `path`, with its last phase's bits by default; returns its folder."""
    recipe = load_recipe(path)
    last = recipe["phase"][-1]
    bits = {"weight_bits": weight_bits or last["weight_bits"], "act_bits": act_bits or last["act_bits"]}
    name = name or name_of(path.stem, **bits)
    manifest.save(untrained(name, recipe, bits), FOLDER / name)
    return FOLDER / name
