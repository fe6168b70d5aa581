"""What a phase starts from and learns from: teachers, other networks, stored defaults, clips set anew."""

import json
import resource

import pytest
import torch

from popstream.cli import main
from popstream.model.networks.resnet import ResNet, ResNetConfig
from popstream.model.training import checkpoint
from popstream.model.training.fused.kernels import library
from popstream.model.training.recipe import PHASE_DEFAULTS, load_recipe, recipe_up_to
from tests.model.training.test_train import RECIPE, run, write

SHORT = RECIPE.replace("epochs = 2", "epochs = 1").replace("epochs = 4", "epochs = 1")


def finished(path, classes=10, **options):
    """A finished network of SHORT's shape at `path`, weights from seed 1."""
    torch.manual_seed(1)
    config = ResNetConfig(depth=4, widths=(8,), in_channels=1, classes=classes, learned_clip=True, **options)
    model = ResNet(config)
    checkpoint.save({"config": config.to_dict(), "model": model.state_dict()}, path)
    return model


def test_a_teacher_may_be_a_file(tmp_path):
    finished(tmp_path / "big.pt")
    text = SHORT.replace('teacher = "float"', f'teacher = "{tmp_path}/big.pt"\nlabel_weight = 0.0')
    assert run(write(tmp_path, text), tmp_path / "out") == 0
    taught = torch.load(tmp_path / "out" / "final.pt", weights_only=True)
    assert run(write(tmp_path, SHORT), tmp_path / "plain") == 0
    plain = torch.load(tmp_path / "plain" / "final.pt", weights_only=True)
    assert taught["log"][0]["loss"] == plain["log"][0]["loss"]  # the first phase has no teacher
    assert taught["log"][1]["loss"] != plain["log"][1]["loss"]


@pytest.mark.parametrize("role", ["teacher", "start"])
def test_a_network_of_other_classes_is_refused(tmp_path, capsys, role):
    finished(tmp_path / "seven.pt", classes=7)
    text = SHORT.replace('teacher = "float"', f'{role} = "{tmp_path}/seven.pt"')
    assert run(write(tmp_path, text), tmp_path / "out") == 1
    assert f"{role.title()} {tmp_path}/seven.pt has 7 classes, the student 10" in capsys.readouterr().err
    assert torch.load(tmp_path / "out" / "state.pt", weights_only=True)["epoch"] == 1  # the phase before is kept


def test_another_recipes_network_must_be_trained_first(tmp_path, capsys, monkeypatch):
    text = SHORT.replace('teacher = "float"', 'teacher = "digits-w1a2"')
    monkeypatch.chdir(tmp_path)
    assert run(write(tmp_path, text), tmp_path / "out") == 1
    assert "No checkpoint build/digits-w1a2/train/final.pt; train it first" in capsys.readouterr().err


def test_start_takes_over_weights_and_refuses_another_shape(tmp_path, capsys):
    model = finished(tmp_path / "begun.pt")
    text = (
        SHORT.split("[[phase]]")[0] + f'[[phase]]\nname = "on"\nepochs = 1\nlr = 0.0\nstart = "{tmp_path}/begun.pt"\n'
    )
    assert run(write(tmp_path, text), tmp_path / "out") == 0
    final = torch.load(tmp_path / "out" / "final.pt", weights_only=True)["model"]
    for name, value in model.named_parameters():
        assert torch.equal(final[name], value), name
    assert run(write(tmp_path, text.replace("widths = [8]", "widths = [4]")), tmp_path / "other") == 1
    assert "Phase on cannot take over the weights" in capsys.readouterr().err


def test_clips_are_set_where_activations_become_coarser_only(tmp_path):
    """Two-step training: activations first, then weights with the learned clips kept."""
    phases = '\n[[phase]]\nname = "a2"\nact_bits = 2\nepochs = 1\nbatch = 32\n'
    text = SHORT.replace('\n[[phase]]\nname = "w1a2"', phases + '[[phase]]\nname = "w1a2"').replace(
        "lr = 0.05", "lr = 0.0"
    )
    assert run(write(tmp_path, text), tmp_path / "out") == 0
    steps = [
        torch.load(tmp_path / "out" / f"{name}.pt", weights_only=True)["model"] for name in ("float", "a2", "w1a2")
    ]
    key = next(name for name in steps[0] if name.endswith("quantizer.step") and steps[0][name] != steps[1][name])
    assert steps[0][key] == 1
    assert steps[2][key] == steps[1][key] != 1


def test_a_state_from_before_an_option_came_goes_on(tmp_path):
    path = write(tmp_path, SHORT)
    assert run(path, tmp_path / "out") == 0
    state = torch.load(tmp_path / "out" / "state.pt", weights_only=True)
    table = json.loads(state["recipe"])
    table.pop("seed", None)
    for phase in table["phase"]:
        del phase["start"], phase["frozen"]
    state["recipe"] = json.dumps(table)
    checkpoint.save(state, tmp_path / "out" / "state.pt")
    assert checkpoint.read_state(tmp_path / "out" / "state.pt", load_recipe(path))["epoch"] == 1
    assert "frozen" in PHASE_DEFAULTS
    assert json.loads(recipe_up_to(load_recipe(path), 0))["phase"][0]["frozen"] is False


def test_seeds_differ_and_have_folders_of_their_own(tmp_path):
    path, out = write(tmp_path, SHORT.split('[[phase]]\nname = "w1a2"')[0]), tmp_path / "out"
    for seed in ([], ["--seed", "0"], ["--seed", "3"]):
        assert main(["train", str(path), "--out", str(out), "--device", "cpu", *seed]) == 0
    first, third = (torch.load(p, weights_only=True) for p in (out / "final.pt", out / "seed3" / "final.pt"))
    assert first["log"][0]["loss"] != third["log"][0]["loss"]
    assert third["recipe"]["seed"] == 3
    assert (first["command"], third["command"]) == (f"make train NET={path}", f"make train NET={path} SEED=3")
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["seed3"]


def test_a_disk_that_fills_up_in_training_leaves_the_checkpoint_before(tmp_path, capsys):
    wide = SHORT.split('[[phase]]\nname = "w1a2"')[0].replace("widths = [8]", "widths = [64]")
    path, out = write(tmp_path, wide.replace("epochs = 1", "epochs = 2")), tmp_path / "out"
    library()  # compiled while there is room
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # as a full disk: a write beyond it fails
    try:
        assert run(path, out) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "state.pt could not be written" in (message := capsys.readouterr().err)
    assert "the checkpoint before it is intact" in message
    assert not out.exists()  # nothing half-written, and nothing else was in it
    assert run(path, out) == 0
