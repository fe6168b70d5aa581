"""Options of a phase: a teacher asked once, averaged weights, decay to zero, restarts, smoothing, smaller pieces."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from popstream.model.networks.layers import prepare
from popstream.model.networks.resnet import ResNet, ResNetConfig
from popstream.model.training import train as module
from popstream.model.training.augment import Augmentation, shuffled
from popstream.model.training.checkpoint import recipe_up_to
from popstream.model.training.precision import FLOAT32
from popstream.model.training.recipe import RecipeError, learning_rate, load_recipe, weight_decay
from popstream.model.training.step import loss_of
from popstream.model.training.teacher import views_taught
from popstream.model.training.train import Trainer, ema_of
from tests.model.training.test_train import RECIPE, write

CPU = torch.device("cpu")
SHORT = RECIPE.replace("epochs = 2\n", "epochs = 1\n").replace("epochs = 4", "epochs = 3")


def trained(folder, text, saved=None):
    """The finished checkpoint of a recipe; `saved` is called with the trainer after each epoch."""
    torch.set_num_threads(1)
    trainer = Trainer(load_recipe(write(folder, text)), folder / "out", CPU, precision="float32")
    if saved:
        trainer.saved = lambda: saved(trainer)
    return torch.load(trainer.train(), weights_only=True)


def same(one, other):
    return all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())


@pytest.mark.parametrize("crop", [None, 5])
def test_views_tell_which_image_and_whether_it_is_mirrored(crop):
    """Images whose columns count up from their number times 20: a mirrored one counts down."""
    images = (20 * torch.arange(10)[:, None, None, None] + torch.arange(10)).expand(10, 3, 10, 10).to(torch.uint8)
    augmentation = Augmentation(1, True, torch.Generator().manual_seed(0), crop)
    seen, columns = set(), set()
    for x, y, views in itertools.chain(*(shuffled(images, torch.arange(10), augmentation, 5, 2) for _ in range(40))):
        assert x.shape == (5, 3, crop or 8, crop or 8)
        step = x[:, 0, 0, 1].int() - x[:, 0, 0, 0].int()
        assert torch.equal(step < 0, (views % 2).bool())
        assert torch.equal(views // 2, y)
        assert torch.equal(x.amax((1, 2, 3)) // 20, y.to(torch.uint8))
        seen.update(views.tolist())
        columns.update((x.amin((1, 2, 3)) % 20).tolist())
    assert seen == set(range(20))
    assert columns == set(range(10 - (crop or 8) + 1))  # pieces come from all over the padded image


def test_a_teacher_asked_once_says_what_it_says_of_each_view():
    torch.manual_seed(1)
    teacher = ResNet(ResNetConfig(depth=4, widths=(4,), in_channels=1)).eval()
    images = torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8)
    said = views_taught(teacher, F.pad(images, (2,) * 4), 2, FLOAT32, batch=3)
    assert said.shape == (14, 10)
    for view in range(14):
        image = images[view // 2].flip(-1) if view % 2 else images[view // 2]
        assert torch.allclose(said[view].float(), teacher(prepare(image[None]))[0], atol=2e-3)


def test_taught_once_is_taught_where_images_are_not_shifted(tmp_path, monkeypatch):
    """Without shifts both teach the same; the teacher asked once is not asked again in a step."""
    text = SHORT.replace("shift = 1, flip = false", "shift = 0, flip = true")
    (tmp_path / "each").mkdir()
    each = trained(tmp_path / "each", text)
    teachers = []
    make = module.make_step
    monkeypatch.setattr(module, "make_step", lambda *given: teachers.append(make(*given)) or teachers[-1])
    once = trained(tmp_path, text.replace('teacher = "float"', 'teacher = "float"\ntaught_once = true'))
    for ours, theirs in zip(once["log"], each["log"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=0.02)
    assert not same(once, each)  # logits are kept in 16 bits
    teachers[-1].teacher = None
    images, labels = torch.zeros((4, 1, 8, 8), dtype=torch.uint8), torch.zeros(4, dtype=torch.long)
    alone, _ = teachers[-1](images, labels)
    taught, _ = teachers[-1](images, labels, torch.randn(4, 10))
    assert taught != alone


def test_the_average_is_what_is_evaluated_and_kept(tmp_path):
    text = SHORT.replace("lr = 0.05", "lr = 0.05\nema = 0.9")
    states = []
    final = trained(tmp_path, text, lambda t: states.append(torch.load(t.out / "state.pt", weights_only=True)))
    assert "average" not in states[0]  # of a phase without
    last = torch.load(tmp_path / "out" / "w1a2.pt", weights_only=True)["model"]
    for name, value in last.items():
        assert torch.equal(value, states[-1]["average"][f"module.{name}"]), name
    assert not torch.equal(last["stem.weight"], states[-1]["model"]["stem.weight"])
    assert final["log"][-1]["phase"] == "w1a2"


def test_the_average_is_of_some_steps():
    """After n steps from w0 to w1 at once: 0.9 of the average is kept each time; the first step is copied."""
    model = ResNet(ResNetConfig(depth=4, widths=(4,), in_channels=1))
    average = ema_of(model, 0.9)
    average.update_parameters(model)
    before = model.stem.weight.detach().clone()
    with torch.no_grad():
        model.stem.weight += 1
        model.stem_bn.running_mean += 2
    for _ in range(3):
        average.update_parameters(model)
    assert torch.allclose(average.module.stem.weight, before + 1 - 0.9**3)
    assert torch.allclose(average.module.stem_bn.running_mean, torch.full((4,), 2 * (1 - 0.9**3)))


class Killed(Exception):
    pass


def test_a_run_with_every_option_goes_on_to_the_unbroken_weights(tmp_path):
    options = "lr = 0.05\nema = 0.9\ntaught_once = true\nsmoothing = 0.1\nrestarts = 1\ndecay_to_zero = true\ncrop = 6"
    options += "\ncrop_epochs = 3"
    text = SHORT.replace("lr = 0.05", options)
    (tmp_path / "whole").mkdir()
    whole = trained(tmp_path / "whole", text)

    def kill(trainer):
        if len(trainer.log) == 3:
            raise Killed

    with pytest.raises(Killed):
        trained(tmp_path, text, kill)
    assert same(trained(tmp_path, text), whole)


def test_restarts_begin_the_cosine_anew():
    phase = {"lr": 1.0, "warmup": 1.0, "epochs": 9, "schedule": "cosine", "restarts": 1}
    assert [round(learning_rate(phase, e), 3) for e in (0.5, 1, 3, 4.999, 5, 7, 9)] == [0.501, 1, 0.5, 0, 1, 0.5, 0]


def test_decay_falls_to_zero():
    phase = {"weight_decay": 0.5, "epochs": 4}
    assert [weight_decay(phase, epoch) for epoch in (0, 3.9)] == [0.5, 0.5]
    phase["decay_to_zero"] = True
    assert [weight_decay(phase, epoch) for epoch in (0, 1, 4)] == [0.5, 0.375, 0]


def test_smoothing_is_spread_over_all_classes():
    logits, labels = torch.tensor([[2.0, 0.0, -1.0, 0.5]]), torch.tensor([0])
    log = F.log_softmax(logits, 1)[0]
    wanted = -(0.9 * log[0] + 0.1 * log.mean())
    assert loss_of(logits, labels, None, 1.0, 0.1) == pytest.approx(wanted.item())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("taught_once = true", "taught_once is about a teacher; name one, or leave it away"),
        ("smoothing = 1.0", "smoothing of phase 0 must be .*, not 1.0"),
        ("ema = 1", "ema of phase 0 must be .*, not 1"),
        ("restarts = -1", "restarts of phase 0 must be .*, not -1"),
        ('restarts = 1\nschedule = "step"', "restarts begin a cosine anew; leave them away with schedule = 'step'"),
        ('decay_to_zero = "yes"', "decay_to_zero of phase 0 must be .*, not 'yes'"),
        ("crop = 9", "crop must be at most 8, the images' size, not 9"),
        ("crop = 0", "crop of phase 0 must be .*, not 0"),
        ("crop_epochs = 1", "crop_epochs says how long images are cropped; give crop, too, or leave it away"),
        ("crop = 6\ncrop_epochs = 3", "crop_epochs must be at most 2, the phase's epochs, not 3"),
        ("crop = 6\ncrop_epochs = 0", "crop_epochs of phase 0 must be .*, not 0"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, line, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, RECIPE.replace("batch = 32\n[[", f"batch = 32\n{line}\n[[")))


@pytest.mark.parametrize(("line", "message"), [("ema = 0.9", "leave ema away"), ("crop = 6", "leave crop away")])
def test_options_that_a_frozen_phase_cannot_have(tmp_path, line, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, RECIPE + f"frozen = true\n{line}\n"))


def test_what_is_left_away_is_not_stored(tmp_path):
    stored = recipe_up_to(load_recipe(write(tmp_path)), 1)
    assert not any(
        name in stored
        for name in ("taught_once", "smoothing", "ema", "restarts", "decay_to_zero", "crop", "crop_epochs")
    )
