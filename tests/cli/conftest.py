"""What the commands of working.py read."""

import shutil

import pytest

from popstream.model.manifest import save
from tests.cli.working import QUIET, RECIPE, SPEC
from tests.command import run_cli
from tests.networks import random_network


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """A long recipe and a sweep of it, a finished training, and a small network for the digits."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "long.toml").write_text(RECIPE.format(epochs=100_000))
    (folder / "short.toml").write_text(RECIPE.format(epochs=1))
    for name, recipe in (("spec", "long"), ("short-spec", "short")):
        (folder / f"{name}.toml").write_text(SPEC.format(recipe=folder / f"{recipe}.toml"))
    network = random_network(
        1, height=8, width=8, channels=(2,), strides=(1,), in_channels=1, first_bits=(1, 4), last_bits=(1, 1),
        convs_per_block=1, act_bits=1, classes=10, name="tiny",
    )  # fmt: skip
    save(type(network).build("tiny", "digits", network.classes, network.nodes), folder / "tiny")
    assert run_cli("train", folder / "short.toml", "--out", folder / "out", *QUIET)[0] == 0
    shutil.copy(folder / "out" / "final.pt", folder)
    return folder
