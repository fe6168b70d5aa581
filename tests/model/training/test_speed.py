"""The benchmark of training: both loops train the same network, and its report is whole."""

import json

import pytest
import torch

from popstream.cli import main
from popstream.model.networks import build_network, phase_config
from popstream.model.quantizers.clipped import ClippedLevels
from popstream.model.quantizers.rows import long_rows
from popstream.model.training import speed
from popstream.model.training.precision import PRECISIONS
from popstream.model.training.recipe import OPTIMIZERS, RECIPES, load_recipe
from popstream.model.training.step import make_optimizer


def test_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["speed", "digits-w1a2", "--steps", "2", "--turns", "1", "--device", "cpu", "--threads", "1"]) == 0
    report = json.loads((tmp_path / "build" / "digits-w1a2" / "speed.json").read_text())
    assert [(row["phase"], row["weight_bits"], row["act_bits"]) for row in report["rows"]] == [
        ("float", 32, 32), ("w1a2", 1, 2)
    ]  # fmt: skip
    for row in report["rows"]:
        assert row["ratio"] == pytest.approx(row["images_per_s"] / row["plain_images_per_s"], abs=0.01)
        assert row["precision"] in PRECISIONS
    assert report["threads"] == 1
    assert "ratio" in capsys.readouterr().out
    assert main(["speed", "digits-w1a2", "--phases", "w4a4"]) == 1
    assert "no phase 'w4a4' to measure; there are float, w1a2" in capsys.readouterr().err


def test_epochs_of_smaller_images_count_by_their_share(monkeypatch):
    """30 of 40 epochs at a quarter of the time: the mean epoch takes 0.4375 of a whole one."""
    recipe = load_recipe(RECIPES / "digits-w1a2.toml")
    phase = recipe["phase"][0] | {"epochs": 40, "crop": 6, "crop_epochs": 30}
    now, seen = [0.0], []

    def ours(step, model, optimizer, phase, images, labels, augmentation, steps):
        now[0] += 1.0 if augmentation.crop else 4.0
        seen.append(augmentation.crop)

    def plain(model, optimizer, phase, images, labels, augmentation, steps):
        assert augmentation.crop is None
        now[0] += 4.0

    monkeypatch.setattr(speed, "our_loop", ours)
    monkeypatch.setattr(speed, "plain_loop", plain)
    monkeypatch.setattr(speed, "clock", lambda device: lambda: now[0])
    row = speed.measure(recipe, phase, torch.device("cpu"), 1, 2, False, "float32")
    assert seen == 3 * [6, None]
    assert (row["ratio"], row["smaller"]) == (round(1 / 0.4375, 2), 0.75)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_both_loops_have_the_recipes_optimizer(name):
    recipe = load_recipe(RECIPES / "digits-w1a2.toml")
    phase = recipe["phase"][0] | {"optimizer": name}
    model = build_network(phase_config(recipe, phase).to_dict())
    plain, ours = speed.plain_optimizer(model, phase), make_optimizer(model, phase)
    assert type(plain) is type(ours)
    for key in ("lr", "momentum"):
        assert plain.defaults.get(key) == ours.defaults.get(key), key


@pytest.mark.parametrize(("net", "phase"), [("digits-w1a2", 0), ("digits-w1a2", 1), ("digits-react-w1a1", 0),
                                            ("digits-react-w1a1", 2)])  # fmt: skip
def test_both_loops_compute_the_same_network(net, phase):
    recipe = load_recipe(RECIPES / f"{net}.toml")
    torch.manual_seed(0)
    plain = build_network(phase_config(recipe, recipe["phase"][phase]).to_dict()).double().eval()
    for parameter in plain.parameters():  # off the values at which comparisons tie
        parameter.data.add_(0.05 * torch.rand_like(parameter))
    ours = build_network(plain.config.to_dict()).double().eval()
    ours.load_state_dict(plain.state_dict())
    speed.write_out(plain)
    x, y = torch.rand(20, 1, 8, 8).double(), torch.arange(20) % 10
    assert torch.allclose(plain(x), ours(x))
    for model in (plain, ours):
        torch.nn.functional.cross_entropy(model(x), y).backward()
    for (name, a), b in zip(plain.named_parameters(), ours.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        assert a.grad is None or torch.allclose(a.grad, b.grad), name


@pytest.mark.parametrize(("shape", "expected"), [((4, 16, 8, 8), (8, 512)), ((3, 5, 3, 3), (27, 5)),
                                                 ((2, 600, 2, 2), (8, 600))])  # fmt: skip
def test_rows_of_several_pixels_keep_the_gradient(shape, expected):
    """ClippedLevels in rows against autograd through the formula, offsets and step included."""
    torch.manual_seed(1)
    x = torch.randn(shape).to(memory_format=torch.channels_last).requires_grad_()
    offset, step = torch.randn(shape[1]).mul(0.2).requires_grad_(), torch.tensor(1.3, requires_grad=True)
    assert long_rows(x).shape == expected
    weight = torch.randn(shape)
    mine = ClippedLevels.apply(x, offset, step, 3, None)
    found = torch.autograd.grad((mine * weight).sum(), (x, offset, step))
    u = ((x - offset.view(-1, 1, 1)) / step).clamp(0, 1)
    rounded = u + (torch.floor(3 * u + 0.5) / 3 - u).detach()
    assert torch.allclose(mine, rounded, atol=1e-6)
    for a, b in zip(found, torch.autograd.grad((rounded * weight).sum(), (x, offset, step)), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3)
