"""The recorded step: same weights as the eager one, no trace of warm-up, eager where recording fails."""

import pytest
import torch

from popstream.model.networks.resnet import ResNet, ResNetConfig
from popstream.model.training.augment import Augmentation, shuffled
from popstream.model.training.recipe import OPTIMIZERS
from popstream.model.training.step import RecordedStep, Step, make_optimizer, make_step

PHASE = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "label_weight": 0.5}


def parts(optimizer="sgd"):
    torch.manual_seed(2)
    config = ResNetConfig(depth=4, widths=(4,), in_channels=1, weight_bits=1, act_bits=2, learned_clip=True)
    model, teacher = ResNet(config), ResNet(config).eval()
    return model, Step(model, teacher, make_optimizer(model, PHASE | {"optimizer": optimizer}), 0.5)


def batches(count):
    generator = torch.Generator().manual_seed(5)
    for _ in range(count):
        yield (
            torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8, generator=generator),
            torch.randint(0, 10, (16,), generator=generator),
        )


def replayed(step):
    """A recorder without a GPU: a replay does the work again, into gradients that start from nothing."""

    def recorder(work):
        def replay():
            step.optimizer.zero_grad(set_to_none=True)
            work()

        return replay

    return recorder


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_recorded_and_eager_steps_give_the_same_weights(optimizer):
    model, eager = parts(optimizer)
    twin, step = parts(optimizer)
    recorded = RecordedStep(step, twin, replayed(step))
    for index, (images, labels) in enumerate(batches(4)):
        for group in (*eager.optimizer.param_groups, *step.optimizer.param_groups):
            group["lr"] = 0.05 / (index + 1)  # a schedule reaches a recorded step too
        expected, result = eager(images, labels), recorded(images, labels)
        assert [float(a) for a in expected] == [float(a) for a in result]
    for (name, a), b in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_a_step_that_cannot_be_recorded_runs_eagerly():
    model, eager = parts()
    twin, step = parts()

    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing")

    recorded = RecordedStep(step, twin, refuse)
    for index, (images, labels) in enumerate(batches(2)):
        eager(images, labels)
        if index == 0:
            with pytest.warns(UserWarning, match="runs unrecorded, slower: RuntimeError: operation not permitted"):
                recorded(images, labels)
        else:
            recorded(images, labels)
    for (name, a), b in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_on_a_cpu_the_step_is_eager():
    model, step = parts()
    assert isinstance(make_step(model, None, step.optimizer, 1.0), Step)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by torch's tracer itself
@pytest.mark.parametrize("options", [
    {"learned_clip": True, "standardize": True, "act_bits": 2},
    {"weight_quantizer": "recu", "act_quantizer": "react", "stream_prelu": True, "act_bits": 1},
    {"weight_quantizer": "lsq", "act_quantizer": "lsq", "act_bits": 2},
    {"weight_quantizer": "ewgs", "act_quantizer": "ewgs", "act_bits": 2},
    {"weight_quantizer": "irnet", "act_quantizer": "irnet", "act_bits": 1},
    {"weight_quantizer": "bineal", "act_quantizer": "bineal", "act_bits": 1},
])  # fmt: skip
def test_a_network_is_traced_whole(options):
    """torch.compile finds no break in a low-bit network, forward and backward, and computes the same."""
    torch.manual_seed(3)
    model = ResNet(ResNetConfig(depth=4, widths=(4,), weight_bits=1, **options))
    x = torch.rand(8, 3, 8, 8).to(memory_format=torch.channels_last)
    results = []
    for call in (model, torch.compile(model, backend="aot_eager", dynamic=False, fullgraph=True)):
        model.zero_grad()
        call(x).square().sum().backward()
        results.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for eager, compiled in zip(*results, strict=True):
        assert torch.allclose(eager, compiled, rtol=1e-4, atol=1e-5)


def test_decay_is_on_conv_and_linear_weights_alone():
    config = ResNetConfig(
        depth=4, widths=(4,), weight_bits=1, act_bits=1, weight_quantizer="bineal", act_quantizer="bineal",
        beta_dimensions=4,
    )  # fmt: skip
    model = ResNet(config)
    decayed, plain = make_optimizer(model, PHASE).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == [
        "stem.weight", "residuals.0.units.0.conv.weight", "residuals.1.units.0.conv.weight", "linear.weight",
    ]  # fmt: skip
    assert (decayed["weight_decay"], plain["weight_decay"]) == (1e-4, 0.0)
    assert len(decayed["params"]) + len(plain["params"]) == len(names)


class OnGpu(torch.Tensor):
    """A tensor that takes itself for one on a GPU, for what a CPU can run of that branch."""

    is_cuda = True


@pytest.mark.parametrize(("kind", "calls"), [(torch.Tensor, [16, 16]), (OnGpu, [32])])
def test_every_image_keeps_its_label(kind, calls):
    """An epoch's batches: of 40 images whose pixels tell which one each is, two batches of 16, none of them twice."""
    images = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(40, 3, 12, 12)
    labels = (100 - torch.arange(40)).as_subclass(kind)
    augmentation, sizes = Augmentation(2, True, torch.Generator().manual_seed(0)), []

    def augment(images):
        sizes.append(len(images))
        return augmentation(images)

    augment.generator = augmentation.generator
    epochs = []
    for _ in range(2):
        parts = list(shuffled(images, labels, augment, 16, 2))
        assert [(x.shape, y.shape) for x, y, _ in parts] == [((16, 3, 8, 8), (16,))] * 2
        assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _, _ in parts)
        x, y, _ = (torch.cat(several) for several in zip(*parts, strict=True))
        which = x[:, 0, 0, 0]
        assert torch.equal(x, which.view(-1, 1, 1, 1).expand_as(x))
        assert y.tolist() == (100 - which.int()).tolist()
        assert len(which.unique()) == 32
        epochs.append(which.tolist())
    assert sizes == calls * 2  # on a GPU an epoch is augmented in one call
    assert epochs[0] != sorted(epochs[0])
    assert epochs[0] != epochs[1]
