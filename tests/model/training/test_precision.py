"""The precision of training: found by a trial that changes nothing, kept on the machine, told where it differs."""

import pytest
import torch

from popstream.cli import main
from popstream.model.training import precision, train
from popstream.model.training.precision import AUTO, FLOAT32, choose, fixed, machine, trial
from popstream.model.training.step import make_optimizer, make_step
from tests.model.training.test_step import PHASE, parts
from tests.model.training.test_train import QUIET, RECIPE, run, write

CPU = torch.device("cpu")
ONE = RECIPE.split('[[phase]]\nname = "w1a2"')[0].replace("epochs = 2", "epochs = 1")


def unwanted() -> dict[str, float]:
    raise AssertionError("no trial was due")


def test_a_trial_orders_precisions_and_leaves_no_trace(monkeypatch):
    model, step = parts()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = torch.randint(0, 256, (99, 1, 8, 8), dtype=torch.uint8), torch.arange(99) % 10
    random, seen = torch.get_rng_state(), []
    pace = {"float32": 1.0, "bfloat16": 0.5, "float32-nchw": 1.25, "bfloat16-nchw": 1.75}

    def make(twin, chosen):
        inner = make_step(twin, step.teacher, make_optimizer(twin, PHASE), 0.5, precision=chosen)

        def timed(images, labels):
            inner(images, labels)
            torch.rand(1)
            seen.append(chosen.name)

        return timed

    monkeypatch.setattr(precision, "seconds", lambda step, *batch: step(*batch) or pace[seen[-1]])
    assert trial(model, make, images, labels) == {"bfloat16": 128.0, "float32": 64.0, "float32-nchw": 51.2}
    assert seen.count("bfloat16-nchw") == 1  # over three times the fastest: one step is enough of it
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_fastest_is_chosen_once_on_a_machine():
    long = precision.TRIAL_FROM
    record, why = choose(AUTO, None, CPU, long, lambda: {"bfloat16": 30.0, "float32": 20.0})
    assert record == {"precision": "bfloat16", "machine": machine(CPU)}
    assert why == "the fastest in a trial (images/s: bfloat16 30, float32 20)"
    assert choose(AUTO, record, CPU, long, unwanted) == (record, "")
    assert choose(AUTO, None, CPU, long - 1, unwanted) == ({"precision": "float32", "machine": machine(CPU)}, "")


def test_another_machine_chooses_anew_and_says_so():
    before = {"precision": "bfloat16", "machine": "a faster one"}
    record, why = choose(AUTO, before, CPU, precision.TRIAL_FROM, lambda: {"float32": 20.0})
    assert record["precision"] == "float32"
    assert why.endswith("; before in bfloat16 on a faster one: bits may differ")
    assert choose("float32", before, CPU, 0, unwanted)[1].startswith("as asked for; before in bfloat16")
    assert "on a machine not noted" in choose(AUTO, {}, CPU, 0, unwanted)[1]  # checkpoints from before the choice


def test_a_gpu_and_other_devices_need_no_trial(monkeypatch):
    cuda = torch.device("cuda")
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert fixed(cuda, precision.TRIAL_FROM).name == expected
    assert fixed(torch.device("mps"), precision.TRIAL_FROM) == FLOAT32


@pytest.mark.parametrize("name", ["bfloat16", "float32-nchw"])
def test_every_precision_trains_and_is_recorded(tmp_path, capsys, name):
    path, out = write(tmp_path, ONE), tmp_path / "out"
    assert main(["train", str(path), "--out", str(out), *QUIET, "--precision", name]) == 0
    assert f"float: {name}, as asked for" in capsys.readouterr().out
    final = torch.load(out / "final.pt", weights_only=True)
    assert final["precisions"] == {"float": {"precision": name, "machine": machine(CPU)}}
    assert final["top1_float"] > 15
    assert run(path, out) == 0  # resumed without the option: it stays
    assert torch.load(out / "state.pt", weights_only=True)["precisions"] == final["precisions"]


def test_a_long_phase_makes_the_trial(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(precision, "TRIAL_FROM", 0)
    monkeypatch.setattr(train, "trial", lambda *given: {"float32-nchw": 3.0, "float32": 2.0})
    path, out = write(tmp_path, ONE), tmp_path / "out"
    assert run(path, out) == 0
    told = "float: float32-nchw, the fastest in a trial (images/s: float32-nchw 3, float32 2)"
    assert told in capsys.readouterr().out
    assert torch.load(out / "state.pt", weights_only=True)["precisions"]["float"]["precision"] == "float32-nchw"


def test_an_unknown_precision_is_refused(capsys):
    assert main(["train", "digits-w1a2", "--precision", "float16"]) == 2
    assert "float16" in (message := capsys.readouterr().err)
    assert "bfloat16" in message
