"""Gradients of every quantizer, against its estimator or its paper's formula."""

import math

import pytest
import torch

from model.quant import RPReLU, Scheduled, act_quantizer, weight_quantizer
from model.quantizers.learned import GAUSSIAN_STEPS
from model.quantizers.signs import Bent, clipped_slope, decay_slope, polynomial_slope
from tests.model.tensors import SHAPE, normal, shaken


def slope_of(quantizer, x):
    """Gradient of the sum of outputs with respect to x."""
    x = x.clone().requires_grad_()
    quantizer(x).sum().backward()
    return x.grad


def difference(f, x, step=1e-6):
    """Central finite difference of f, element by element."""
    return (f(x + step) - f(x - step)) / (2 * step)


def error_decay(u, progress):
    t = 10 ** (2 * progress - 1)
    return max(1 / t, 1) * torch.tanh(t * u)


SURROGATES = {
    "bnn": lambda u, p: u.clamp(-1, 1), "xnor": lambda u, p: u.clamp(-1, 1), "irnet": error_decay,
    "bireal": lambda u, p: 2 * u.clamp(-1, 1) - u.clamp(-1, 1) * u.clamp(-1, 1).abs(),
}  # fmt: skip
SURROGATES |= {"recu": SURROGATES["bireal"], "react": SURROGATES["bireal"], "bineal": SURROGATES["bireal"]}


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_sign_activations_have_the_gradient_of_their_surrogate(name, progress):
    """Half of the paper's slope, as codes 0 and 1 stand for -1 and +1."""
    quantizer = act_quantizer(name, 1, 3).double()
    if isinstance(quantizer, Scheduled):
        quantizer.set_progress(progress)
    x = normal(2, 3, 5, 5).double()
    inner = lambda x: torch.where(x >= 0, x, 0.25 * x) if name == "bineal" else x  # noqa: E731
    expected = difference(lambda x: SURROGATES[name](inner(x), progress) / 2, x)
    torch.testing.assert_close(slope_of(quantizer, x), expected, rtol=1e-5, atol=1e-5)


def test_slopes_are_the_papers():
    u = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 1.5])
    assert clipped_slope(u).tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert polynomial_slope(u).tolist() == [0, 0, 1, 2, 1.5, 0, 0]
    flat = decay_slope(u, torch.zeros(()))  # t = 0.1, k = 10: about 1 everywhere
    torch.testing.assert_close(flat, 1 - torch.tanh(u / 10).square())
    sharp = decay_slope(u, torch.ones(()))  # t = 10, k = 1
    torch.testing.assert_close(sharp, 10 * (1 - torch.tanh(10 * u).square()))


def test_rsign_and_bineal_parameters_have_the_gradient_of_their_surrogate():
    x, smooth = normal(2, 3, 5, 5).double(), SURROGATES["bireal"]
    quantizer = shaken(act_quantizer("react", 1, 3).double())
    quantizer(x).sum().backward()
    expected = difference(lambda a: (smooth(x - a.view(-1, 1, 1), 0) / 2).sum((0, 2, 3)), quantizer.offset.detach())
    torch.testing.assert_close(quantizer.offset.grad, expected, rtol=1e-5, atol=1e-5)
    quantizer = shaken(act_quantizer("bineal", 1, 3).double())
    quantizer.slope.data = torch.tensor([0.3, 0.7, 0.1]).double()
    quantizer.alpha.data.fill_(1.0)
    quantizer(x).sum().backward()
    names = ["beta", "before", "slope", "after"]
    values = {name: getattr(quantizer, name).detach() for name in names}

    def surrogate(beta, before, slope, after):
        beta, before, slope, after = (p.view(-1, 1, 1) for p in (beta, before, slope, after))
        u = beta * x + before
        return (smooth(torch.where(u >= 0, u, slope * u) + after, 0) / 2).sum((0, 2, 3))

    for name in names:
        expected = difference(lambda p, name=name: surrogate(**(values | {name: p})), values[name])
        torch.testing.assert_close(getattr(quantizer, name).grad, expected, rtol=1e-4, atol=1e-4, msg=name)


def weight_gradient(quantizer, w, grad):
    w = w.clone().requires_grad_()
    quantizer(w).backward(grad)
    return w.grad


def test_bnn_and_xnor_weight_gradients():
    w, grad = normal(*SHAPE), normal(*SHAPE, seed=1)
    torch.testing.assert_close(weight_gradient(weight_quantizer("bnn", 1, SHAPE), w, grad), grad * (w.abs() <= 1))
    torch.testing.assert_close(weight_gradient(weight_quantizer("xnor", 1, SHAPE), w, grad), grad)
    values = weight_quantizer("xnor", 1, SHAPE)(w)
    torch.testing.assert_close(values[2].abs(), w[2].abs().mean().expand(5, 3, 3))


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_irnet_gradient_is_that_of_its_surrogate(progress):
    """2^s k tanh(t v) of the standardized filters, all of it differentiated but s."""
    w, grad = normal(*SHAPE).double(), normal(*SHAPE, seed=1).double()
    quantizer = weight_quantizer("irnet", 1, SHAPE).double()
    quantizer.set_progress(progress)
    scale = quantizer.to_int(w)[1]
    assert torch.equal(torch.log2(scale), torch.log2(scale).round())

    def surrogate(w):
        v = w - w.mean((1, 2, 3), keepdim=True)
        v = v / v.std((1, 2, 3), keepdim=True)
        return (grad * scale * error_decay(v, progress)).sum()

    reference = w.clone().requires_grad_()
    surrogate(reference).backward()
    found = weight_gradient(quantizer, w, grad)
    torch.testing.assert_close(found, reference.grad, rtol=1e-5, atol=1e-6)
    moved = torch.zeros_like(w)
    moved[1, 2, 0, 1] = 1e-5
    slope = (surrogate(w + moved) - surrogate(w - moved)) / 2e-5
    torch.testing.assert_close(found[1, 2, 0, 1], slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("progress", "tau"), [(0.0, 0.85), (1.0, 0.99)])
def test_recu_clamps_at_its_quantiles(progress, tau):
    w = torch.distributions.Laplace(0.0, 0.02).rsample((4, 4000, 1, 1))
    quantizer = weight_quantizer("recu", 1, w.shape)
    quantizer.set_progress(progress)
    clamped = quantizer._clamped(w)
    kept = (clamped.abs() < clamped.abs().amax((1, 2, 3), keepdim=True)).float().mean()
    assert kept == pytest.approx(2 * tau - 1, abs=0.02)  # both tails are clamped
    w.requires_grad_()
    clamped = quantizer._clamped(w)
    clamped.sum().backward()
    assert torch.equal(quantizer(w).sign(), torch.where(clamped >= 0, 1.0, -1.0))


@pytest.mark.parametrize("name", ["lsq", "ewgs"])
@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize(("gain", "size"), [(1.0, 1.0), (0.8, 0.02)])
def test_learned_step_gradients_are_the_papers(name, bits, gain, size):
    """LSQ eqs. 3 and 5 with odd levels, and EWGS eq. 6 on what passes."""
    w, grad = normal(*SHAPE, scale=size).double(), normal(*SHAPE, seed=1).double()
    quantizer, n = weight_quantizer(name, bits, SHAPE).double(), 2**bits - 1
    quantizer.gain.data.fill_(gain)
    base = (w.abs().mean() * GAUSSIAN_STEPS[bits - 1]).item()
    unit = w / (gain * base)
    q = quantizer.to_int(w)[0]
    level = 2 * q - n
    inside = unit.abs() <= n
    factor = 1 + (1e-3 if name == "ewgs" else 0) * grad.sign() * (unit - level) / (2 * n)
    torch.testing.assert_close(weight_gradient(quantizer, w, grad), grad * inside * factor)
    slope = torch.where(inside, level - unit, unit.sign() * n)
    of_step = (grad * slope).sum() / math.sqrt(w.numel() * n)  # section 2.2: times 1 / sqrt(N Q_P)
    moved = gain * base - 0.1 * of_step  # by one step of SGD on s itself
    torch.testing.assert_close((gain - 0.1 * quantizer.gain.grad) * base, moved, rtol=1e-5, atol=0)


def lsq_ratio(w, step, n, grad):
    """LSQ's balance ratio R of weights with a parameter s = `step`, by autograd through rounding (its appendix A)."""
    s, w = step.clone().requires_grad_(), w.clone().requires_grad_()
    scaled = s * (w.numel() * n) ** -0.5
    scaled = scaled + (s - scaled).detach()  # the value of s, the gradient of the scaled one
    unit = (w / scaled).clamp(-n, n)
    level = (2 * torch.floor(unit / 2 + (n + 1) / 2) - n).clamp(-n, n)
    ((unit + (level - unit).detach()) * scaled).backward(grad)
    return ratio(s, w.grad, w)


def ratio(step, to_weights, w):
    """R = (|d L / d s| / s) / (||d L / d w|| / ||w||): how fast a step learns beside its weights, both relative."""
    return ((step.grad.abs() / step) / (to_weights.norm() / w.norm())).item()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize(("gain", "size"), [(1.0, 1.0), (1.0, 0.02), (0.7, 0.02)])
def test_a_gain_learns_as_fast_as_lsqs_step(bits, gain, size):
    w, grad = normal(*SHAPE, scale=size).double(), normal(*SHAPE, seed=1).double()
    quantizer = weight_quantizer("lsq", bits, SHAPE).double()
    quantizer.gain.data.fill_(gain)
    found = ratio(quantizer.gain, weight_gradient(quantizer, w, grad), w)
    expected = lsq_ratio(w, quantizer.to_int(w)[1].flatten()[0].double(), 2**bits - 1, grad)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("bits", [1, 3])
def test_learned_activation_step_gradient(bits):
    quantizer, n = act_quantizer("lsq", bits, 3), 2**bits - 1
    x = normal(4, 3, 5, 5).requires_grad_()
    quantizer.calibrate(x.detach())
    grad = normal(4, 3, 5, 5, seed=1)
    quantizer(x).backward(grad)
    unit = (x / quantizer.step).detach()
    inside = (unit >= 0) & (unit <= n)
    torch.testing.assert_close(x.grad, grad * inside)
    slope = torch.where(inside, quantizer.to_int(x) - unit, torch.where(unit > n, float(n), 0.0))
    torch.testing.assert_close(quantizer.step.grad, (grad * slope).sum() / math.sqrt(75 * n), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_bineal_weights(dimensions):
    """alpha sign(tanh(beta w)): gradients of alpha and of what sign passes."""
    w, grad = normal(*SHAPE).double(), normal(*SHAPE, seed=1).double()
    quantizer = shaken(weight_quantizer("bineal", 1, SHAPE, dimensions=dimensions).double())
    quantizer.alpha.data[2] = -0.7
    assert quantizer.beta.shape == (*SHAPE[:dimensions], *[1] * (4 - dimensions))
    bounded = torch.tanh(quantizer.beta * w).detach()
    found = weight_gradient(quantizer, w, grad)
    alpha = quantizer.alpha.detach()
    torch.testing.assert_close(found, grad * alpha * quantizer.beta.detach() * (1 - bounded**2))
    sign = torch.where(bounded >= 0, 1.0, -1.0).double()
    torch.testing.assert_close(quantizer.alpha.grad, (grad * sign).sum((1, 2, 3), keepdim=True))


def test_rprelu_is_the_papers_formula():
    prelu = shaken(RPReLU(3).double())
    r = normal(2, 3, 4, 4).double()
    gamma, beta, zeta = (p.detach().view(-1, 1, 1) for p in (prelu.shift_in, prelu.slope, prelu.shift_out))
    torch.testing.assert_close(prelu(r), torch.where(r > gamma, r - gamma, beta * (r - gamma)) + zeta)
    inputs = (r.requires_grad_(), prelu.shift_in, prelu.slope, prelu.shift_out)
    assert torch.autograd.gradcheck(Bent.apply, inputs)  # against finite differences
