"""Every quantizer's gradients, against finite differences of its surrogate or the formula of its paper."""

import math

import pytest
import torch

from popstream.model.quantizers import (
    ACTIVATIONS,
    DoReFaWeights,
    GradientQuantizer,
    RPReLU,
    Scheduled,
    act_quantizer,
    weight_quantizer,
)
from popstream.model.quantizers.learned import GAUSSIAN_STEPS, LevelsOfStep
from popstream.model.quantizers.signs import Bent, clipped_slope, decay_slope, polynomial_slope
from tests.model.tensors import SHAPE, normal, shaken


def numeric(f, x, step=1e-6):
    """Gradient of the scalar f at x by central differences, element by element."""
    moves = step * torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape)
    return torch.stack([(f(x + move) - f(x - move)) / (2 * step) for move in moves]).view(x.shape)


def check(quantizer, x, surrogate, seed=1):
    """The gradients to x and to every learned parameter are those of sum(g * surrogate(x, **parameters)), g random."""
    x, grad = x.clone().requires_grad_(), normal(*x.shape, seed=seed).double()
    learned = {name: p for name, p in quantizer.named_parameters() if p.requires_grad}
    quantizer(x).backward(grad)
    values = {"x": x.detach()} | {name: p.detach() for name, p in learned.items()}
    for name, leaf in ({"x": x} | learned).items():
        expected = numeric(lambda p, name=name: (grad * surrogate(**(values | {name: p}))).sum(), values[name])
        assert expected.abs().max() > 0.01, name
        torch.testing.assert_close(leaf.grad, expected, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def error_decay(u, progress):
    t = 10 ** (2 * progress - 1)
    return max(1 / t, 1) * torch.tanh(t * u)


SURROGATES = {
    "bnn": lambda u, p: u.clamp(-1, 1), "xnor": lambda u, p: u.clamp(-1, 1), "irnet": error_decay,
    "bireal": lambda u, p: 2 * u.clamp(-1, 1) - u.clamp(-1, 1) * u.clamp(-1, 1).abs(),
}  # fmt: skip
SURROGATES |= {"recu": SURROGATES["bireal"]}


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_sign_activations_have_the_gradient_of_their_surrogate(name, progress):
    """Half of the paper's slope, as codes 0 and 1 stand for -1 and +1."""
    quantizer = act_quantizer(name, 1, 3).double()
    if isinstance(quantizer, Scheduled):
        quantizer.set_progress(progress)
    check(quantizer, normal(2, 3, 5, 5).double(), lambda x: SURROGATES[name](x, progress) / 2)


def test_slopes_are_the_papers():
    u = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 1.5])
    assert clipped_slope(u).tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert polynomial_slope(u).tolist() == [0, 0, 1, 2, 1.5, 0, 0]
    flat = decay_slope(u, torch.zeros(()))  # t = 0.1, k = 10: about 1 everywhere
    torch.testing.assert_close(flat, 1 - torch.tanh(u / 10).square())
    sharp = decay_slope(u, torch.ones(()))  # t = 10, k = 1
    torch.testing.assert_close(sharp, 10 * (1 - torch.tanh(10 * u).square()))


def smooth(u):
    return SURROGATES["bireal"](u, 0) / 2


def test_rsign_gradients_are_those_of_its_surrogate():
    quantizer = shaken(act_quantizer("react", 1, 3).double())
    check(quantizer, normal(2, 3, 5, 5).double(), lambda x, offset: smooth(x - offset.view(-1, 1, 1)))


def test_bineal_activations_gradients_are_those_of_their_surrogate():
    """alpha times the code, which moves as its smooth form does: alpha's gradient sums codes, not the smooth form."""
    x, quantizer = normal(2, 3, 5, 5).double(), shaken(act_quantizer("bineal", 1, 3).double())
    quantizer.slope.data = torch.tensor([0.3, 0.7, 0.1]).double()
    quantizer.alpha.data.fill_(0.6)

    def inner(x, beta, before, slope, after):
        beta, before, slope, after = (p.view(-1, 1, 1) for p in (beta, before, slope, after))
        u = beta * x + before
        return torch.where(u >= 0, u, slope * u) + after

    at = inner(x, *(getattr(quantizer, name).detach() for name in ("beta", "before", "slope", "after")))
    check(quantizer, x, lambda alpha, **inputs: alpha * ((at >= 0) + smooth(inner(**inputs)) - smooth(at)))


@pytest.mark.parametrize("bits", [1, 3])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("learned", [False, True])
def test_dorefa_activations_gradients_are_those_of_the_clip(bits, activation, learned):
    """clip(h((x - offset[c]) / step), 0, 1), rounding passed through."""
    quantizer = act_quantizer("dorefa", bits, 3, activation, learned).double()
    offset, step = torch.tensor([-0.3, 0.1, 0.4]).double(), torch.tensor(1.7).double()
    if learned:
        quantizer.offset.data, quantizer.step.data = offset, step

    def clip(x, offset, step):
        return ACTIVATIONS[activation]((x - offset.view(-1, 1, 1)) / step).clamp(0, 1)

    fixed = {} if learned else {"offset": torch.zeros(3), "step": torch.ones(())}
    check(quantizer, normal(2, 3, 5, 5, scale=1.5).double(), lambda **inputs: clip(**(fixed | inputs)))


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


def unit_filters(x):
    v = x - x.mean((1, 2, 3), keepdim=True)
    return v / v.square().sum((1, 2, 3), keepdim=True).div(x[0].numel() - 1).sqrt()


@pytest.mark.parametrize("bits", [1, 3])
@pytest.mark.parametrize(("scale", "standardized", "keep"), [("layer", False, False), ("channel", True, False),
                                                             ("layer", False, True)])  # fmt: skip
def test_dorefa_weight_gradients_are_equations_8_and_10(bits, scale, standardized, keep):
    """On standardized filters those are differentiated too; the largest |tanh| is a constant."""
    w = normal(*SHAPE).double()
    prepare = unit_filters if standardized else torch.clone
    largest = 1.0 if keep else torch.tanh(prepare(w)).abs().max()
    surrogate = (lambda x: torch.tanh(prepare(x)) / largest) if bits > 1 else prepare
    check(DoReFaWeights(bits, scale, standardized, keep), w, surrogate)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_irnet_gradient_is_that_of_its_surrogate(progress):
    """2^s k tanh(t v) of the standardized filters, all of it differentiated but s."""
    w, quantizer = normal(*SHAPE).double(), weight_quantizer("irnet", 1, SHAPE)
    w[:3] = w[:3] ** 3  # long tails: a small mean beside the deviation
    quantizer.set_progress(progress)
    scale = quantizer.to_int(w)[1]
    assert scale.flatten().tolist() == [0.5] * 3 + [1.0] * 3
    check(quantizer, w, lambda x: scale * error_decay(unit_filters(x), progress))


@pytest.mark.parametrize(("progress", "tau"), [(0.0, 0.85), (1.0, 0.99)])
def test_recu_clamps_at_its_quantiles(progress, tau):
    """The share that is kept, and the gradient: that of the clamp of filters of deviation 2 sqrt(2)."""
    torch.manual_seed(6)
    w = torch.distributions.Laplace(0.0, 0.02).rsample((4, 4000, 1, 1))
    quantizer = weight_quantizer("recu", 1, w.shape)
    quantizer.set_progress(progress)
    clamped = quantizer._clamped(w)
    kept = (clamped.abs() < clamped.abs().amax((1, 2, 3), keepdim=True)).float().mean()
    assert kept == pytest.approx(2 * tau - 1, abs=0.02)  # both tails are clamped
    assert torch.equal(quantizer(w).sign(), torch.where(clamped >= 0, 1.0, -1.0))
    w = torch.distributions.Laplace(0.0, 1.0).rsample(SHAPE).double()
    bound = -math.log(2 - 2 * tau) * (math.sqrt(8) * unit_filters(w)).abs().mean((1, 2, 3), keepdim=True)
    check(quantizer, w, lambda x: torch.minimum(torch.maximum(math.sqrt(8) * unit_filters(x), -bound), bound))


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("levels", [1, 3, 255])
def test_a_learned_steps_gradient_passes_at_both_ends_of_the_clip(odd, levels):
    low, high = (-levels, levels) if odd else (0, levels)
    x = torch.tensor([low - 0.25, low, high, high + 0.25]).mul(0.5).requires_grad_()
    LevelsOfStep.apply(x, torch.tensor(0.5), levels, low, 2 if odd else 1, 0.0, 1.0).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]


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


@pytest.mark.parametrize("name", ["lsq", "ewgs"])
@pytest.mark.parametrize("bits", [1, 3])
def test_learned_activation_step_gradients_are_the_papers(name, bits):
    quantizer, n = act_quantizer(name, bits, 3).double(), 2**bits - 1
    x, grad = normal(4, 3, 5, 5).double().requires_grad_(), normal(4, 3, 5, 5, seed=1).double()
    quantizer.calibrate(x.detach())
    quantizer(x).backward(grad)
    unit = (x / quantizer.step).detach()
    code, inside = quantizer.to_int(x), (unit >= 0) & (unit <= n)
    factor = 1 + (1e-3 if name == "ewgs" else 0) * grad.sign() * (unit - code) / n
    torch.testing.assert_close(x.grad, grad * inside * factor)
    slope = torch.where(inside, code - unit, torch.where(unit > n, float(n), 0.0))
    torch.testing.assert_close(quantizer.step.grad, (grad * slope).sum() / math.sqrt(75 * n), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_bineal_weight_gradients_are_those_of_their_surrogate(dimensions):
    """alpha times the sign, which moves as tanh(beta w) does; beta has its gradient in each of its dimensions."""
    w, quantizer = normal(*SHAPE).double(), weight_quantizer("bineal", 1, SHAPE, dimensions=dimensions)
    quantizer = shaken(quantizer.double())
    quantizer.alpha.data[2] = -0.7
    assert quantizer.beta.shape == (*SHAPE[:dimensions], *[1] * (4 - dimensions))
    at = torch.tanh(quantizer.beta.detach() * w)
    sign = torch.where(at >= 0, 1.0, -1.0)
    check(quantizer, w, lambda x, alpha, beta: alpha * (sign + torch.tanh(beta * x) - at))


def test_rprelu_is_the_papers_formula():
    prelu = shaken(RPReLU(3).double())
    r = normal(2, 3, 4, 4).double()
    gamma, beta, zeta = (p.detach().view(-1, 1, 1) for p in (prelu.shift_in, prelu.slope, prelu.shift_out))
    torch.testing.assert_close(prelu(r), torch.where(r > gamma, r - gamma, beta * (r - gamma)) + zeta)
    inputs = (r.requires_grad_(), prelu.shift_in, prelu.slope, prelu.shift_out)
    assert torch.autograd.gradcheck(Bent.apply, inputs)  # against finite differences


def test_gradient_quantizer_rounds_at_random_without_bias():
    """Eq. 12's noise of half a level each way: any gradient in the range is kept in the mean."""
    torch.manual_seed(7)
    grad = torch.full((1, 200_000), 0.3)
    grad[0, :2] = torch.tensor([1.0, -1.0])  # the range; levels of 2 bits: -1, -1/3, 1/3, 1
    x = torch.zeros_like(grad).requires_grad_()
    GradientQuantizer.apply(x, 2).backward(grad)
    levels, counts = x.grad[0, 2:].unique(return_counts=True)
    torch.testing.assert_close(levels, torch.tensor([-1 / 3, 1 / 3]))
    assert (counts[0] / counts.sum()).item() == pytest.approx(0.05, abs=0.005)
    assert x.grad.mean().item() == pytest.approx(0.3, abs=0.002)
