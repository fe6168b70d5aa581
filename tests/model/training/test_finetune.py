"""Fine-tuning on the frozen integers: what is trained is what the manifest computes, for every shortcut kind."""

import numpy as np
import pytest
import torch

from popstream.model import data, manifest
from popstream.model.freezing import frozen
from popstream.model.freezing.export import export
from popstream.model.freezing.freeze import freeze
from popstream.model.networks import build_network
from popstream.model.networks.layers import QuantNetwork, prepare
from popstream.model.networks.resnet import ResNet, ResNetConfig
from popstream.model.training.checkpoint import TrainingError
from popstream.model.training.finetune import FrozenForward, places
from popstream.model.training.step import make_optimizer, make_step
from tests.model.training.test_train import RECIPE, run, write

PHASE = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.0, "label_weight": 1.0}


def network(shortcut="avgpool", convs=1, **options):
    """A network with BatchNorm statistics and clips away from their first values."""
    torch.manual_seed(4)
    config = {"depth": 6, "widths": (4, 6), "in_channels": 1, "weight_bits": 1, "act_bits": 2, "learned_clip": True}
    model = ResNet(ResNetConfig(**(config | {"shortcut": shortcut, "convs_per_shortcut": convs} | options)))
    model.calibrate(prepare(images(200)))
    for _ in range(3):
        model(prepare(images(200)))
    return model.eval()


def images(count):
    return torch.from_numpy(data.load("digits").train_images[:count])


@pytest.mark.parametrize(("shortcut", "convs", "options"), [
    ("avgpool", 1, {}), ("A", 2, {"stream_relu": True}), ("B", 2, {"weight_bits": 2}), ("A", 1, {"activation": "mish"}),
    ("avgpool", 1, {"act_bits": 1, "act_quantizer": "react", "learned_clip": False, "stream_prelu": True}),
    ("avgpool", 1, {"act_quantizer": "lsq", "weight_quantizer": "ewgs", "weight_bits": 2, "learned_clip": False}),
])  # fmt: skip
def test_forward_is_the_manifests(shortcut, convs, options):
    model = network(shortcut, convs, **options)
    forward = FrozenForward(model, images(300), 12)
    x = images(50)
    with torch.autocast("cpu", torch.bfloat16):
        logits = forward(prepare(x))
    integers = freeze(network(shortcut, convs, **options), images(300).numpy(), "n", "digits", list("0123456789"), 12)
    expected = frozen.run(integers, x.numpy())
    unit = (logits.detach().double() / torch.from_numpy(expected)).nanmedian().item()
    assert unit > 0
    assert np.array_equal(np.round(logits.detach().double().numpy() / unit), expected)


@pytest.mark.parametrize("prelu", [False, True])
def test_every_threshold_and_addition_is_replaced(prelu):
    model = network("B", 2, stream_prelu=prelu)
    forward = FrozenForward(model, images(100), 16)
    named = {name for _, name in places(model)}
    nodes = forward.nodes()
    bent = {node.inputs[0] for node in nodes if node.op == "prelu"}  # additions that an RPReLU follows
    assert len(bent) == prelu
    assert named == {node.name for node in nodes if node.op in ("threshold", "requant", "prelu")} - bent


def test_gradients_reach_every_parameter_and_lower_the_loss():
    model = network()
    forward = FrozenForward(model, images(300), 16)
    optimizer = make_optimizer(model, PHASE)
    step = make_step(forward, None, optimizer, 1.0, record=False)
    x, y = images(200), torch.from_numpy(data.load("digits").train_labels[:200])
    statistics = [b.clone() for b in model.buffers()]
    losses = [step(x, y)[0].item() for _ in range(12)]
    assert losses[-1] < losses[0]
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters() if p.requires_grad)
    assert all(torch.equal(a, b) for a, b in zip(statistics, model.buffers(), strict=True))  # BatchNorm is frozen


def test_a_float_network_has_no_integers():
    with pytest.raises(TrainingError, match="A frozen phase needs a network that has integers"):
        FrozenForward(ResNet(ResNetConfig(depth=4, widths=(4,), in_channels=1)), images(50), 16)


def test_a_frozen_phase_trains_and_exports_what_it_trained(tmp_path):
    text = RECIPE.replace("epochs = 2", "epochs = 1").replace("epochs = 4", "epochs = 1") + (
        '[[phase]]\nname = "integers"\nweight_bits = 1\nact_bits = 2\nepochs = 1\nbatch = 64\n'
        "lr = 1e-3\nfrozen = true\n"
    )
    assert run(write(tmp_path, text), tmp_path / "out") == 0
    exported = export("n", tmp_path / "out" / "final.pt", tmp_path / "zoo")
    source = data.load("digits")
    state = torch.load(tmp_path / "out" / "final.pt", weights_only=True)
    assert exported.training["torch"] == torch.__version__.split("+")[0]
    curve = exported.training["curve"]
    assert [row["loss"] for row in curve] == [row["loss"] for row in state["log"]]
    assert [row["phase"] for row in curve] == ["float", "w1a2", "integers"]
    model = build_network(state["config"])
    model.load_state_dict(state["model"])
    forward = FrozenForward(model, torch.from_numpy(source.train_images[: data.CALIBRATION_IMAGES]), 16)
    for mine, theirs in zip(forward.nodes(), manifest.load(tmp_path / "zoo").nodes, strict=True):
        for name, tensor in theirs.tensors.items():
            assert np.array_equal(mine.tensors[name], tensor), (mine.name, name)
    assert exported.accuracy["images"] == 360


def test_a_frozen_phase_is_at_the_end_of_every_schedule(tmp_path, monkeypatch):
    """Schedules do not begin again: what is trained stays what BatchNorm was measured on."""
    seen = []
    monkeypatch.setattr(QuantNetwork, "set_progress", lambda self, progress: seen.append(progress))
    text = RECIPE.replace("epochs = 4", "epochs = 3") + (
        '[[phase]]\nname = "integers"\nweight_bits = 1\nact_bits = 2\nepochs = 2\nbatch = 512\nfrozen = true\n'
    )
    text = text.replace("learned_clip = true", 'weight_quantizer = "recu"')
    assert run(write(tmp_path, text.replace("epochs = 2", "epochs = 1", 1)), tmp_path / "out") == 0
    assert seen == [1.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0]


def test_a_family_without_frozen_phases_is_refused_before_anything_is_trained(tmp_path, capsys):
    text = RECIPE.replace("depth = 4\nwidths = [8]", 'family = "dorefa_svhn"\nsize = 32').replace(
        "learned_clip = true", ""
    )
    assert run(write(tmp_path, text.replace("lr = 0.05", "frozen = true")), tmp_path / "out") == 1
    assert "phase 1 is frozen, which family 'resnet' alone can be, not 'dorefa_svhn'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
