"""Checkpoints of another device, of another data set, or that are none: each told in one line, nothing half-written."""

import json

import pytest
import torch

from popstream.model import manifest
from popstream.model.freezing.export import export
from popstream.model.freezing.freeze import FreezeError
from popstream.model.networks.resnet import ResNetConfig
from popstream.model.networks.stored import CheckpointError, read_stored
from popstream.model.training import checkpoint
from popstream.model.training.checkpoint import TrainingError, load_network, load_teacher, read_state, restore
from popstream.model.training.recipe import load_recipe, recipe_up_to
from tests.model.training.test_phases import SHORT, finished
from tests.model.training.test_train import run, write

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training that has ended, with its recipe."""
    folder = tmp_path_factory.mktemp("trained")
    assert run(write(folder, SHORT), folder / "out") == 0
    return folder


def test_a_state_of_another_kind_of_device_goes_on_with_another_seed(trained, tmp_path, capsys):
    """16 bytes are what a GPU's generator has for its state."""
    state = torch.load(trained / "out" / "state.pt", weights_only=True)
    state |= {"generator": torch.zeros(16, dtype=torch.uint8), "epoch": 1}
    text = SHORT.rsplit("epochs = 1", 1)
    recipe = write(tmp_path, "epochs = 2".join(text))
    state["recipe"] = recipe_up_to(load_recipe(recipe), 1)
    (tmp_path / "out").mkdir()
    for name in ("float.pt", "w1a2.pt"):
        (tmp_path / "out" / name).write_bytes((trained / "out" / name).read_bytes())
    torch.save(state, tmp_path / "out" / "state.pt")
    assert run(recipe, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "w1a2: begun on another kind of device; order and augmentation go on with seed 1" in said
    assert "w1a2 2/2" in said
    assert "w1a2 1/2" not in said


def test_a_generator_takes_its_own_state_back():
    generator = torch.Generator().manual_seed(5)
    state = generator.get_state()
    first = torch.rand(3, generator=generator)
    assert restore(generator, state, 9)
    assert torch.equal(torch.rand(3, generator=generator), first)
    assert not restore(generator, torch.zeros(16, dtype=torch.uint8), 9)
    assert torch.equal(torch.rand(3, generator=generator), torch.rand(3, generator=torch.Generator().manual_seed(9)))


@pytest.mark.parametrize("role", ["Teacher", "Start"])
def test_a_network_of_another_data_set_is_refused_unless_asked_for(tmp_path, role):
    path, student = tmp_path / "svhn.pt", ResNetConfig(in_channels=1)
    finished(path)
    state = torch.load(path, weights_only=True)
    checkpoint.save(state | {"data": "svhn"}, path)
    with pytest.raises(TrainingError, match=f"{role} .*svhn.pt was trained on svhn, the recipe has digits; if that is"):
        load_network(path, student, role, "digits")
    for other in ("svhn", None):
        assert load_network(path, student, role, other)
    with pytest.raises(TrainingError, match=r"Start .*digits-w1a2 was trained on digits, the recipe has cifar10"):
        load_network(manifest.ZOO / "digits-w1a2", student, "Start", "cifar10")


def test_other_data_is_what_the_recipe_says(trained, tmp_path, capsys):
    final = torch.load(trained / "out" / "float.pt", weights_only=True)
    assert final["data"] == "digits"
    checkpoint.save(final | {"data": "cifar10"}, tmp_path / "other.pt")
    text = SHORT.replace('teacher = "float"', f'teacher = "{tmp_path}/other.pt"')
    assert run(write(tmp_path, text), tmp_path / "out") == 1
    assert "other.pt was trained on cifar10, the recipe has digits; if that is meant, write other_data = true" in (
        capsys.readouterr().err
    )
    asked = write(tmp_path, text.replace("teacher =", "other_data = true\nteacher ="))
    assert load_recipe(asked)["phase"][1]["other_data"] is True
    assert run(asked, tmp_path / "asked") == 0


def test_an_option_that_is_not_given_is_not_stored(tmp_path):
    """Checkpoints and sweeps from before other_data came are still those of the same recipe."""
    assert "other_data" not in recipe_up_to(load_recipe(write(tmp_path, SHORT)), 1)


WRONG = {
    "list": ([1], "holds a list, not a checkpoint"),
    "tensor": (torch.zeros(3), "holds a Tensor, not a checkpoint"),
    "empty": ({}, "is missing; "),
    "config": ({"model": {}, "config": [1]}, "'config' is of type list; "),
    "model": ({"model": 3, "config": {}}, "'model' is of type int; "),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_checkpoint_is_named(tmp_path, case):
    content, message = WRONG[case]
    path = tmp_path / "x.pt"
    torch.save(content, path)
    with pytest.raises(TrainingError, match=message):
        load_teacher(path, ResNetConfig(), CPU)
    with pytest.raises(FreezeError, match=message):
        export("x", path, tmp_path / "zoo")
    with pytest.raises(TrainingError, match=r"x\.pt"):
        read_state(path, load_recipe(write(tmp_path, SHORT)))
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize("recipe", ["", "[]", "{}", '{"phase": 3}', '{"phase": [3]}'])
def test_a_state_with_an_unreadable_recipe_is_named(trained, tmp_path, recipe):
    state = torch.load(trained / "out" / "state.pt", weights_only=True)
    torch.save(state | {"recipe": recipe}, tmp_path / "state.pt")
    with pytest.raises(TrainingError, match=r"its recipe cannot be read; remove .* to start again"):
        read_state(tmp_path / "state.pt", load_recipe(trained / "small.toml"))


@pytest.mark.parametrize(("change", "message"), [
    ({"config": {"depht": 20}}, "its network cannot be built .*no option 'depht'"),
    ({"config": {"family": 3}}, "its network cannot be built .*Network family must be one of"),
    ({"model": {"stem.weight": 3}}, "its network cannot be built"),
    ({"model": {}}, "its network cannot be built .*Missing key"),
])  # fmt: skip
def test_a_network_that_cannot_be_rebuilt_is_named(trained, tmp_path, change, message):
    path = tmp_path / "final.pt"
    torch.save(torch.load(trained / "out" / "final.pt", weights_only=True) | change, path)
    with pytest.raises(TrainingError, match=message):
        load_teacher(path, ResNetConfig(in_channels=1), CPU)
    with pytest.raises(FreezeError, match=message):
        export("x", path, tmp_path / "zoo")


@pytest.mark.parametrize("key", ["config", "model", "data", "recipe", "log", "command", "top1_float"])
def test_export_names_what_a_checkpoint_lacks(trained, tmp_path, key):
    state = torch.load(trained / "out" / "final.pt", weights_only=True)
    del state[key]
    torch.save(state, tmp_path / "final.pt")
    with pytest.raises(FreezeError, match=f"'{key}' is missing; it is no finished training; run `make train"):
        export("x", tmp_path / "final.pt", tmp_path / "zoo")


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"model": {}, "config": Harmful()}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"x\.pt is damaged \(PickleError: it would call "):
        read_stored(tmp_path / "x.pt", {}, "")
    assert not (tmp_path / "ran").exists()


def test_export_on_a_full_disk_leaves_what_was_there(trained, tmp_path, monkeypatch):
    final = trained / "out" / "final.pt"
    before = json.loads((manifest.ZOO / "digits-w1a2" / "network.json").read_text())
    manifest.save(manifest.load(manifest.ZOO / "digits-w1a2"), tmp_path / "zoo")

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest.files, "write_whole", full)
    for folder in ("zoo", "new"):
        with pytest.raises(FreezeError, match=r"could not be written \(No space left on device\); what was there is"):
            export("x", final, tmp_path / folder)
    monkeypatch.undo()
    assert json.loads((tmp_path / "zoo" / "network.json").read_text())["name"] == before["name"]
    assert manifest.load(tmp_path / "zoo").hash == manifest.load(manifest.ZOO / "digits-w1a2").hash
    assert not (tmp_path / "new").exists()
