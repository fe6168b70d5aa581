"""Every quantizer by name: `to_int` against `forward`, its thresholds and steps, and what it refuses."""

import math

import pytest
import torch

from popstream.model.manifest import weight_integers
from popstream.model.quantizers import ACT_QUANTIZERS, WEIGHT_QUANTIZERS, act_quantizer, weight_quantizer
from tests.model.tensors import SHAPE, normal, shaken


def trained(quantizer, w, steps=20):
    """Weights and parameters after some steps towards a target: no longer random."""
    w = w.clone().requires_grad_()
    target = normal(*w.shape, seed=9)
    optimizer = torch.optim.SGD([w, *(p for p in quantizer.parameters() if p.requires_grad)], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        (quantizer(w) - target).square().sum().backward()
        optimizer.step()
    return w.detach()


def kinds(known):
    return [(name, bits) for name, kind in known.items() for bits in range(kind.least_bits, kind.most_bits + 1)]


@pytest.mark.parametrize(("name", "bits"), kinds(WEIGHT_QUANTIZERS))
@pytest.mark.parametrize("source", ["random", "shaken", "trained"])
def test_weight_codes_are_what_forward_uses(name, bits, source):
    quantizer = weight_quantizer(name, bits, SHAPE)
    w = normal(*SHAPE, scale=0.3)
    w[0, 0, 0, 0] = 0.0
    if source == "shaken":
        shaken(quantizer)
    elif source == "trained":
        w = trained(quantizer, w)
    codes, scale = quantizer.to_int(w)
    assert codes.dtype == torch.int64
    assert 0 <= codes.min() <= codes.max() <= 2**bits - 1
    assert len(codes.unique()) > 1
    assert (scale > 0).all()
    assert scale.numel() in (1, SHAPE[0])
    integers = torch.from_numpy(weight_integers(codes.numpy(), bits, quantizer.kind))
    torch.testing.assert_close(integers * scale, quantizer(w).detach(), rtol=1e-5, atol=1e-6)
    if quantizer.kind == "signed":
        assert integers.min() > -(2 ** (bits - 1))  # so that every filter can be negated


@pytest.mark.parametrize(("name", "bits"), kinds(ACT_QUANTIZERS))
@pytest.mark.parametrize("source", ["fresh", "calibrated", "shaken"])
def test_activation_codes_are_what_forward_uses(name, bits, source):
    quantizer = act_quantizer(name, bits, 4, learned=name == "dorefa").double()
    x = normal(20, 4, 6, 6).double()
    if source == "calibrated":
        quantizer.calibrate(x)
    elif source == "shaken":
        shaken(quantizer)
    thresholds = quantizer.thresholds()
    assert thresholds.shape == (4, 2**bits - 1)
    assert (thresholds.diff(dim=1) > 0).all()
    with torch.no_grad():
        codes = torch.floor(quantizer(x) / quantizer.amplitude() * (2**bits - 1) + 0.5)
    clear = (x[:, :, None] - thresholds[:, :, None, None]).abs().amin(2) > 1e-9
    assert clear.float().mean() > 0.999
    assert torch.equal(codes.long()[clear], quantizer.to_int(x)[clear])


@pytest.mark.parametrize("name", ["bnn", "irnet", "bireal", "react"])
def test_a_value_at_its_threshold_has_the_code_above(name):
    """Rule R4 compares by >=; these thresholds are exact, where others round."""
    quantizer = act_quantizer(name, 1, 2)
    if name == "react":
        quantizer.offset.data = torch.tensor([0.25, -1.5])
    x = quantizer.thresholds().float().view(1, 2, 1, 1).clone()
    assert quantizer(x).flatten().tolist() == quantizer.to_int(x).flatten().tolist() == [1, 1]


def test_bineal_slope_is_never_negative():
    quantizer = act_quantizer("bineal", 1, 2)
    quantizer.slope.data.fill_(-0.5)
    quantizer.after.data = torch.tensor([0.2, -0.2])
    x = torch.tensor([-9.0, -1.0, 0.1, 0.3]).view(1, 1, 1, 4).expand(1, 2, 1, 4)
    assert quantizer(x).tolist() == [[[[1.0, 1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0, 1.0]]]]
    assert quantizer.thresholds()[0, 0] == -math.inf
    assert quantizer.to_int(x).tolist() == [[[[1, 1, 1, 1]], [[0, 0, 0, 1]]]]


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_bineal_codes_and_scale_of_every_sign_are_what_forward_uses(dimensions):
    """A negative alpha negates its filter, a tiny one is held away from 0, a negative beta negates its weights."""
    quantizer = weight_quantizer("bineal", 1, SHAPE, dimensions=dimensions)
    quantizer.alpha.data.copy_(torch.tensor([0.7, -0.7, 1e-5, -1e-5, 0.0, -2.0]).view(-1, 1, 1, 1))
    quantizer.beta.data.flatten()[::3] *= -1
    w = normal(*SHAPE)
    w[:, 0, 0, 0] = 0.0
    codes, scale = quantizer.to_int(w)
    assert scale.flatten().tolist() == pytest.approx([0.7, 0.7, 1e-3, 1e-3, 1e-3, 2.0])
    torch.testing.assert_close((2 * codes - 1) * scale, quantizer(w).detach())
    assert quantizer(w)[:, 0, 0, 0].sign().tolist() == [1, -1, 1, -1, 1, -1]  # the sign of 0 is +1


@pytest.mark.parametrize("progress", [-1e-6, 1 + 1e-6, 2])
def test_a_schedule_goes_from_0_to_1(progress):
    quantizer = weight_quantizer("irnet", 1, SHAPE)
    for end in (0, 1):
        quantizer.set_progress(end)
        assert quantizer.progress == end
    with pytest.raises(ValueError, match=f"Progress must be 0 to 1, not {progress}"):
        quantizer.set_progress(progress)


@pytest.mark.parametrize(("name", "bits", "part"), [("dorefa", 2, 1), ("lsq", 1, 1), ("lsq", 3, 7), ("ewgs", 8, 255)])
def test_calibration_clips_at_2_4_times_the_rms(name, bits, part):
    quantizer = act_quantizer(name, bits, 2, learned=name == "dorefa")
    quantizer.calibrate(torch.tensor([3.0, -7.0, 4.0, -1.0]).view(1, 2, 1, 2))
    assert quantizer.step.item() == pytest.approx(2.4 * 2.5 / part)  # relu's rms: sqrt((9 + 16) / 4)
    quantizer.calibrate(-torch.ones(1, 2, 1, 2))
    assert quantizer.step.item() == pytest.approx(2.4e-3 / part)  # never 0


@pytest.mark.parametrize(("name", "bits"), [
    *(("lsq", bits) for bits in range(1, 9)), *(("lsq_signed", bits) for bits in range(2, 9)),
])  # fmt: skip
def test_gaussian_steps_are_near_the_best(name, bits):
    """Of Gaussian weights, no step 20 % to either side has a smaller squared error."""
    w = normal(40, 50, 10, 1)
    quantizer = weight_quantizer(name, bits, w.shape)
    errors = []
    for gain in (0.8, 1.0, 1.2):
        quantizer.gain.data.fill_(gain)
        errors.append((quantizer(w) - w).square().mean().item())
    assert errors[1] == min(errors)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: weight_quantizer("pact", 1, SHAPE), "Weight quantizer must be one of dorefa, xnor, .*, not 'pact'"),
    (lambda: act_quantizer("pact", 1, 3), "Activation quantizer must be one of dorefa, bnn, .*, not 'pact'"),
    (lambda: weight_quantizer("recu", 2, SHAPE), "ReCUWeights have 1 bit, or 32 for float, not 2"),
    (lambda: weight_quantizer("ternary", 3, SHAPE), "TernaryWeights have 2 bits, or 32 for float, not 3"),
    (lambda: weight_quantizer("lsq_signed", 1, SHAPE), "LSQSignedWeights have 2 to 8 bits, or 32 for float, not 1"),
    (lambda: act_quantizer("react", 2, 3), "RSignActivations have 1 bit, or 32 for float, not 2"),
    (lambda: act_quantizer("react", 1, 3, "mish"), "RSignActivations go with relu, not 'mish'"),
    (lambda: weight_quantizer("bineal", 1, SHAPE, dimensions=3), "beta must be one of 1, 2, 4, not 3"),
    (lambda: weight_quantizer("lsq", 32, SHAPE).to_int(torch.zeros(1)), "Float weights have no integer codes"),
    (lambda: act_quantizer("lsq", 32, 3).thresholds(), "Float activations have no thresholds"),
])  # fmt: skip
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
