"""DoReFa-Net's quantizers against its formulas, and `to_int` against `forward`."""

import pytest
import torch

from popstream.model.quantizers.base import ACTIVATIONS, RoundToLevels, inverse
from popstream.model.quantizers.clipped import CURVES, DEGREES, ClippedLevels, curve, horner
from popstream.model.quantizers.dorefa import DoReFaActivations, DoReFaWeights, GradientQuantizer

BITS = range(1, 9)


def images(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("scale", "standardize", "keep"), [("layer", False, False), ("channel", True, False),
                                                             ("layer", False, True)])  # fmt: skip
def test_weight_codes_are_what_forward_uses(bits, scale, standardize, keep):
    w = images(6, 5, 3, 3) * 0.3
    quantizer = DoReFaWeights(bits, scale, standardize, keep)
    codes, step = quantizer.to_int(w)
    assert codes.min() >= 0
    assert codes.max() <= 2**bits - 1
    assert (step > 0).all()
    torch.testing.assert_close((2 * codes - (2**bits - 1)) * step, quantizer(w), rtol=1e-5, atol=1e-6)


def test_one_bit_weights_are_equation_7():
    w = images(4, 3, 3, 3)
    w[0, 0, 0, 0] = 0.0
    out = DoReFaWeights(1)(w)
    expected = torch.where(w >= 0, 1.0, -1.0) * w.abs().mean()
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("bits", range(2, 9))
def test_more_bits_are_equation_9(bits):
    w = images(4, 3, 3, 3)
    levels = 2**bits - 1
    unit = torch.tanh(w) / (2 * torch.tanh(w).abs().max()) + 0.5
    torch.testing.assert_close(DoReFaWeights(bits)(w), 2 * torch.floor(unit * levels + 0.5) / levels - 1)


def test_weight_gradient_is_straight_through():
    w = images(2, 2, 3, 3).requires_grad_()
    grad = images(2, 2, 3, 3, seed=1)
    DoReFaWeights(1)(w).backward(grad)
    torch.testing.assert_close(w.grad, grad)  # eq. 8
    w.grad = None
    DoReFaWeights(4)(w).backward(grad)  # eq. 10: d tanh(w) / max |tanh(w)|
    torch.testing.assert_close(w.grad, grad * (1 - torch.tanh(w) ** 2) / torch.tanh(w).abs().max())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("learned", [False, True])
def test_thresholds_are_the_quantizer(bits, activation, learned):
    quantizer = DoReFaActivations(bits, 3, activation, learned)
    if learned:
        quantizer.offset.data = torch.tensor([-0.3, 0.0, 0.4])
        quantizer.step.data = torch.tensor(1.7)
    x = images(50, 3, 8, 8).double() * 1.5
    codes = torch.floor(quantizer.double()(x) * (2**bits - 1) + 0.5)
    thresholds = quantizer.thresholds()
    distance = (x[:, :, None] - thresholds[:, :, None, None]).abs().amin(2)
    counted = (x[:, :, None] >= thresholds[:, :, None, None]).sum(2)
    clear = distance > 1e-9  # on a threshold the last bit of floating point decides
    assert clear.float().mean() > 0.999
    assert torch.equal(codes[clear], counted[clear].double())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_inverse(name):
    y = torch.linspace(0.01, 0.999, 50, dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](inverse(name, y)), y)


def test_fused_clip_equals_plain_autograd():
    x = images(4, 5, 6, 7).to(memory_format=torch.channels_last).requires_grad_()
    offset, step = images(5, seed=1).requires_grad_(), torch.tensor(1.3, requires_grad=True)
    grad = images(4, 5, 6, 7, seed=2)
    fused = ClippedLevels.apply(x, offset, step, 3, None)
    fused.backward(grad)
    found = [p.grad.clone() for p in (x, offset, step)]
    for p in (x, offset, step):
        p.grad = None
    plain = RoundToLevels.apply(((x - offset.view(-1, 1, 1)) / step).clamp(0, 1), 3)
    plain.backward(grad)
    torch.testing.assert_close(fused, plain)
    for got, p in zip(found, (x, offset, step), strict=True):
        torch.testing.assert_close(got, p.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize(("dtype", "errors"), [(torch.bfloat16, (1e-5, 1e-4)), (torch.float32, (1e-7, 2e-6))])
def test_curves_are_their_polynomials(name, dtype, errors):
    """The errors that the module's first lines give, at points between the interpolated ones."""
    fitted, v = curve(name, DEGREES[dtype]), torch.linspace(0, 1, 10_001, dtype=torch.float64)
    x = (fitted.unit * v).requires_grad_()
    h = ACTIVATIONS[name](x)
    (slope,) = torch.autograd.grad(h.sum(), x)
    assert (horner(fitted.ratio, v) * v - h).abs().max() < errors[0]
    assert (horner(fitted.slope, v) - fitted.unit * slope).abs().max() < errors[1]
    assert h[-1].item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("dtype", DEGREES)
def test_curves_follow_the_formula(name, bits, learned, dtype):
    """Codes and gradients of autograd through the formula, to the accuracy of the type."""
    quantizer = DoReFaActivations(bits, 5, name, learned)
    if learned:
        quantizer.offset.data, quantizer.step.data = images(5, seed=1) / 2, torch.tensor(1.3)
    x = images(4, 5, 16, 16).to(dtype).to(memory_format=torch.channels_last)
    grad = (images(4, 5, 16, 16, seed=2) + 0.5).to(dtype)
    found = x.clone().requires_grad_()
    mine = quantizer(found)
    mine.backward(grad)
    offset, step = (p.detach().clone().requires_grad_() for p in (quantizer.offset, quantizer.step))
    exact = x.float().requires_grad_()
    clipped = ACTIVATIONS[name]((exact - offset.view(-1, 1, 1)) / step).clamp(0, 1)
    clipped.backward(grad.float())
    assert mine.dtype == found.grad.dtype == dtype
    codes = (mine.float() * (2**bits - 1)).round()
    expected = torch.floor(clipped * (2**bits - 1) + 0.5)
    assert (codes - expected).abs().max() <= 1
    close = 0.01 if dtype == torch.bfloat16 else 1e-5
    assert (codes != expected).float().mean() < close * 2**bits  # only where a level is near
    assert (found.grad.float() - exact.grad).abs().mean() < close * exact.grad.abs().mean()
    if learned:
        torch.testing.assert_close(quantizer.offset.grad, offset.grad, rtol=0.03, atol=1)
        torch.testing.assert_close(quantizer.step.grad, step.grad, rtol=0.03, atol=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_small_gradients_are_quantized_without_bias(bits, dtype):
    torch.manual_seed(5)
    x = torch.zeros(4, 8, 64, 64, dtype=dtype, requires_grad=True)
    grad = torch.zeros_like(x)
    grad[:, 0, 0, 0] = 1.0  # the scale of each image; all else is 0, halfway between two levels
    GradientQuantizer.apply(x, bits).backward(grad)
    steps = x.grad.float() / 2 * (2**bits - 1)
    assert x.grad.dtype == dtype
    assert steps[:, 1:].mean().abs() < 0.01  # deviation of the mean: 0.0015
    assert steps[:, 1:].std() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_gradient_quantizer_is_equation_12(bits):
    torch.manual_seed(123)
    x = torch.zeros(8, 4, 16, 16, requires_grad=True)
    grad = images(8, 4, 16, 16)
    GradientQuantizer.apply(x, bits).backward(grad)
    levels, scale = 2**bits - 1, 2 * grad.abs().amax((1, 2, 3), keepdim=True)
    codes = (x.grad / scale + 0.5) * levels
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-3)  # one of 2^k levels an image
    error = (x.grad - grad) / scale * levels  # rounding plus noise: at most one step, unbiased inside the range
    assert error.abs().max() <= 1 + 1e-4
    assert error.mean().abs() < 0.02


@pytest.mark.parametrize(("make", "message"), [
    (lambda: DoReFaWeights(0), "Weights must be 1 to 8 bits, or 32 for float, not 0"),
    (lambda: DoReFaWeights(9), "not 9"),
    (lambda: DoReFaWeights(1, "filter"), "Weight scale must be one of layer, channel, not 'filter'"),
    (lambda: DoReFaActivations(2, 4, "swish"), "Activation must be one of relu, mish, leaky_relu, gelu, .*'swish'"),
    (lambda: DoReFaWeights(32).to_int(torch.zeros(1)), "Float weights have no integer codes"),
    (lambda: DoReFaActivations(32, 1).thresholds(), "Float activations have no thresholds"),
])  # fmt: skip
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
