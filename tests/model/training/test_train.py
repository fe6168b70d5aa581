"""Training: recipes, resuming after SIGKILL to the same weights, and what happens when things go wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from popstream.cli import main
from popstream.model.networks.resnet import ResNet, ResNetConfig
from popstream.model.training import checkpoint
from popstream.model.training.augment import Augmentation
from popstream.model.training.recipe import RECIPES, load_recipe, recipe_up_to

ROOT = Path(__file__).parents[3]
RECIPE = """
data = "digits"
augment = { shift = 1, flip = false }
[network]
depth = 4
widths = [8]
in_channels = 1
learned_clip = true
[[phase]]
name = "float"
epochs = 2
batch = 32
[[phase]]
name = "w1a2"
weight_bits = 1
act_bits = 2
epochs = 4
batch = 32
teacher = "float"
lr = 0.05
"""


def write(tmp_path, text=RECIPE):
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path


def command(recipe, out):
    return [
        sys.executable,
        "-m",
        "popstream",
        "train",
        str(recipe),
        "--out",
        str(out),
        "--threads",
        "1",
        "--device",
        "cpu",
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    subprocess.run(command(write(folder), folder / "out"), cwd=ROOT, check=True, capture_output=True)
    return torch.load(folder / "out" / "final.pt", weights_only=True)


def test_sigkill_and_resume_give_the_unbroken_weights(tmp_path, unbroken):
    recipe, out = write(tmp_path), tmp_path / "out"
    for epochs_seen in (1, 4):  # once in the first phase, once in the second
        process = subprocess.Popen(command(recipe, out), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(epochs_seen if epochs_seen == 1 else 2)]
        assert all("loss" in line for line in lines)
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        assert not (out / "final.pt").exists()
    done = subprocess.run(command(recipe, out), cwd=ROOT, check=True, capture_output=True, text=True)
    assert "float 1/2" not in done.stdout  # it went on, it did not start again
    final = torch.load(out / "final.pt", weights_only=True)
    assert [(r["phase"], r["epoch"]) for r in final["log"]] == [(r["phase"], r["epoch"]) for r in unbroken["log"]]
    for name, value in unbroken["model"].items():
        assert torch.equal(final["model"][name], value), name
    assert (out / "curves.png").stat().st_size > 10_000


def test_killed_while_the_last_curves_are_drawn(tmp_path):
    """What was half-written goes, and the curves are those of the whole training."""
    recipe, out = write(tmp_path), tmp_path / "out"
    whole = run(recipe, out)
    assert whole == 0
    drawn = (out / "curves.png").read_bytes()
    (out / "curves.png").unlink()
    (out / "final.pt").unlink()
    process = subprocess.Popen(["true"])
    process.wait()
    (out / f".curves.png.{process.pid}").write_bytes(drawn[:100])
    assert run(recipe, out) == 0
    assert (out / "curves.png").read_bytes() == drawn
    assert not list(out.glob(".*"))


def test_it_learns(unbroken):
    assert unbroken["log"][-1]["loss"] < unbroken["log"][0]["loss"]
    assert unbroken["top1_float"] > 30  # ten classes: chance is 10


QUIET = ("--device", "cpu", "--threads", "1")  # as many threads as cores wait for each other beside other tests


def run(recipe, out):
    return main(["train", str(recipe), "--out", str(out), *QUIET])


def test_a_loss_that_is_not_finite_keeps_the_checkpoint(tmp_path, capsys):
    text = RECIPE.replace("epochs = 2\n", "epochs = 1\n")
    out = tmp_path / "out"
    path = write(tmp_path, text.replace("epochs = 4", "epochs = 1"))
    assert run(path, out) == 0
    before = (out / "float.pt").read_bytes()
    broken = write(tmp_path, text.replace("lr = 0.05", "lr = 1e30"))
    (out / "final.pt").unlink()
    state = torch.load(out / "state.pt", weights_only=True)
    state["phase"], state["recipe"] = 0, recipe_up_to(load_recipe(broken), 0)
    state["model"] = torch.load(out / "float.pt", weights_only=True)["model"]
    torch.save(state, out / "state.pt")
    kept = (out / "state.pt").read_bytes()
    capsys.readouterr()
    assert run(broken, out) == 1
    assert "the loss is nan; lower lr (1e+30). The last checkpoint is kept" in capsys.readouterr().err
    assert (out / "state.pt").read_bytes() == kept
    assert (out / "float.pt").stat().st_size == len(before)


def test_another_recipe_is_refused(tmp_path, capsys):
    out = tmp_path / "out"
    short = RECIPE.split('[[phase]]\nname = "w1a2"')[0]
    assert run(write(tmp_path, short.replace("epochs = 2", "epochs = 1")), out) == 0
    assert run(write(tmp_path, short.replace("epochs = 2", "epochs = 3")), out) == 1
    assert "was made by another recipe; remove" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_named(tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "state.pt").write_bytes(b"PK not really")
    assert run(write(tmp_path), out) == 1
    assert "state.pt is damaged" in capsys.readouterr().err


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    checkpoint.save({"epoch": 1}, path)

    def fail(beside, content):
        with beside.open("wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(checkpoint.TrainingError, match=r"No space left on device.*the checkpoint before it is intact"):
        checkpoint.save({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_teacher_of_other_classes_is_refused(tmp_path):
    out = tmp_path / "float.pt"
    config = {"depth": 4, "widths": (4,), "in_channels": 1, "classes": 7}
    model = ResNet(ResNetConfig(**config))
    checkpoint.save({"config": config, "model": model.state_dict()}, out)
    with pytest.raises(checkpoint.TrainingError, match="has 7 classes, the student 10"):
        checkpoint.load_teacher(out, ResNetConfig(in_channels=1), torch.device("cpu"))
    with pytest.raises(checkpoint.TrainingError, match="has 1 in_channels, the student 3"):
        checkpoint.load_teacher(out, ResNetConfig(classes=7), torch.device("cpu"))


@pytest.mark.parametrize(("old", "new", "message"), [
    ("in_channels = 1", "in_channels = 1\nclasses = 7", "digits has classes = 10, the recipe's network 7"),
    ("in_channels = 1", "in_channels = 3", "digits has in_channels = 1, the recipe's network 3"),
])  # fmt: skip
def test_a_network_that_does_not_fit_the_data_is_refused(tmp_path, capsys, old, new, message):
    assert run(write(tmp_path, RECIPE.replace(old, new)), tmp_path / "out") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unknown_recipe_lists_the_known(capsys):
    assert main(["train", "no-such-net"]) == 2
    assert "'no-such-net' is no recipe; known are" in (message := capsys.readouterr().err)
    assert ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml"))) in message


def test_augmentation_only_shifts_and_mirrors():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (50, 3, 6, 5), dtype=torch.uint8)
    padded = torch.nn.functional.pad(images, (2,) * 4)
    out, _ = Augmentation(2, True, generator)(padded)
    assert out.shape == images.shape
    seen = set()
    for source, result in zip(padded, out, strict=True):
        crops = {(y, x): source[:, y : y + 6, x : x + 5] for y in range(5) for x in range(5)}
        matches = [(place, False) for place, crop in crops.items() if torch.equal(result, crop)]
        matches += [(place, True) for place, crop in crops.items() if torch.equal(result, crop.flip(2))]
        assert matches
        seen.add(matches[0])
    assert len(seen) > 20


def test_timing_of_progress_is_shown(tmp_path):
    began = time.time()
    text = subprocess.run(command(write(tmp_path, RECIPE.split("[[phase]]\nname = \"w1a2\"")[0]), tmp_path / "out"),
                          cwd=ROOT, check=True, capture_output=True, text=True).stdout  # fmt: skip
    seconds = float(text.splitlines()[0].split("seconds")[1])
    assert 0 < seconds < time.time() - began


@pytest.mark.parametrize(("option", "value", "message"), [
    ("--device", "abacus", "--device must be one that torch has here, such as cpu, not 'abacus'"),
    ("--threads", "-3", "--threads must be at least 0, not -3"),
])  # fmt: skip
def test_wrong_options(capsys, option, value, message):
    assert main(["train", "digits-w1a2", option, value]) == 2
    assert message in capsys.readouterr().err
