"""The few passes against the modules that they stand for: values, gradients, statistics, in training and evaluation."""

import copy
import subprocess

import pytest
import torch
import torch.nn.functional as F

from popstream.model.networks.layers import QuantConv2d
from popstream.model.networks.resnet import ResNet, ResNetConfig, Shortcut
from popstream.model.quantizers import DoReFaWeights, RPReLU, act_quantizer
from popstream.model.training.fused import Fused, fused, kernels, small
from popstream.model.training.fused.norm import NOTHING, kind_of, place
from popstream.model.training.precision import BFLOAT16, FLOAT32, PRECISIONS
from tests.model.tensors import normal, shaken

QUANTIZERS = {
    "relu": lambda: act_quantizer("dorefa", 32, 32),
    "mish": lambda: act_quantizer("dorefa", 32, 32, "mish"),
    "clip1": lambda: act_quantizer("dorefa", 1, 32, learned=True),
    "clip2": lambda: act_quantizer("dorefa", 2, 32, learned=True),
    "clip8": lambda: act_quantizer("dorefa", 8, 32, learned=True),
    "fixed": lambda: act_quantizer("dorefa", 2, 32),
    "sign": lambda: act_quantizer("react", 1, 32),
    "lsq": lambda: act_quantizer("lsq", 2, 32),
}


def image(*shape, seed=0, dtype=torch.float32):
    return normal(*shape, seed=seed).to(dtype).contiguous(memory_format=torch.channels_last)


def norm_of(channels):
    norm = torch.nn.BatchNorm2d(channels)
    norm.weight.data, norm.bias.data = 0.5 + torch.rand(channels), torch.rand(channels)
    norm.running_mean.copy_(torch.rand(channels))
    return norm


def both(quantizer, prelu, skip, dtype):
    """Outputs, gradients and statistics by modules in float64, and by the one function."""
    torch.manual_seed(0)
    norm, results = norm_of(32), []
    z, s = image(6, 32, 8, 8, seed=1, dtype=dtype), image(6, 32, 8, 8, seed=2, dtype=dtype)
    to_r, to_q = image(6, 32, 8, 8, seed=3, dtype=dtype), image(6, 32, 8, 8, seed=4, dtype=dtype)
    for exact in (True, False):
        kind = torch.float64 if exact else torch.float32
        modules = [copy.deepcopy(m).to(kind) if m is not None else None for m in (norm, prelu, quantizer)]
        inputs = [t.to(torch.float64 if exact else dtype).requires_grad_() for t in ((z, s) if skip else (z,))]
        if exact:
            r = modules[0](inputs[0]) + (inputs[1] if skip else 0)
            r = modules[1](r) if prelu else r
            stored = r + (r.to(dtype).double() - r).detach()  # codes are those of what memory holds
            q = modules[2](stored)
        else:
            r, q = place(inputs[0], inputs[1] if skip else None, *modules)
        torch.autograd.backward([r, q], [to_r.to(r.dtype), to_q.to(q.dtype)])
        learned = {n: p.grad for m in modules if m is not None for n, p in m.named_parameters() if p.requires_grad}
        found = {"r": r, "q": q, "z": inputs[0].grad, **learned, "mean": modules[0].running_mean,
                 "var": modules[0].running_var, **({"s": inputs[1].grad} if skip else {})}  # fmt: skip
        assert modules[0].num_batches_tracked == 1
        results.append({name: value.detach().double() for name, value in found.items()})
    return results


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("bent", "skip"), [(False, True), (True, True), (True, False)])
def test_one_function_is_its_modules(name, dtype, bent, skip):
    quantizer, prelu = QUANTIZERS[name](), shaken(RPReLU(32)) if bent else None
    if name != "fixed":
        shaken(quantizer)
    assert (kind_of(quantizer) == NOTHING) == (name == "lsq")
    if name == "lsq" and dtype == torch.bfloat16:
        return  # a module of its own, which computes in bfloat16 itself
    expected, found = both(quantizer, prelu, skip, dtype)
    for key, value in expected.items():
        close = 1e-5 if dtype == torch.float32 or key in ("mean", "var") else 2e-2
        if dtype == torch.bfloat16 and name == "fixed":
            close = 0.1  # values on the clip itself
        error = (value - found[key]).norm() / value.norm()
        assert error < close, (key, error)


def test_threads_share_the_work(monkeypatch):
    quantizer = QUANTIZERS["clip2"]()
    _, one = both(quantizer, None, True, torch.float32)
    monkeypatch.setattr(kernels, "LEAST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert kernels.parts(torch.empty(6, 32, 8, 8)) == 3
    _, three = both(quantizer, None, True, torch.float32)
    for key, value in one.items():
        torch.testing.assert_close(three[key], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("module", [Shortcut(16, 32, 2, True), Shortcut(16, 48, 2, True), Shortcut(16, 16, 2, True)])
def test_shortcuts(module, dtype):
    results = []
    for function in (module, lambda x: small.shortcut(module, x)):
        x = image(4, 16, 8, 12, dtype=dtype).requires_grad_()
        y = function(x)
        y.backward(image(*y.shape, seed=1, dtype=dtype))
        results.append((y, x.grad))
    assert results[1][0].grad_fn.name() == "PooledAndPaddedBackward"
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_signs_of_standardized_weights(dtype):
    layer = QuantConv2d((32, 16, 3, 3), 1, DoReFaWeights(1, standardized=True)).to(memory_format=torch.channels_last)
    results = []
    for function in (layer, lambda x: small.conv(layer, x)):
        layer.zero_grad()
        x = image(4, 16, 6, 6).to(dtype).requires_grad_()
        with BFLOAT16.autocast(torch.device("cpu")) if dtype == torch.bfloat16 else FLOAT32.autocast(x.device):
            y = function(x)
        y.backward(image(*y.shape, seed=1, dtype=dtype))
        results.append((y, x.grad, layer.weight.grad))
    assert small.StandardizedSigns.apply(layer.weight, dtype).grad_fn is not None
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"activation": "mish"}, {"convs_per_shortcut": 2}, {"shortcut": "A"},
                                     {"stream_prelu": True}])  # fmt: skip
def test_a_float_network_is_itself(options):
    """Float, where no code falls on the other side of a threshold: logits and gradients of every parameter."""
    torch.manual_seed(1)
    model = ResNet(ResNetConfig(depth=8, widths=(16, 32, 32), **options)).to(memory_format=torch.channels_last)
    twin, x, y = copy.deepcopy(model), torch.rand(8, 3, 8, 8), torch.arange(8)
    x = x.contiguous(memory_format=torch.channels_last)
    quick = fused(twin, FLOAT32)
    assert isinstance(quick, Fused)
    for _ in range(2):
        for forward in (model, quick):
            F.cross_entropy(forward(x), y).backward()
    for (name, a), b in zip(model.named_parameters(), twin.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")
    for a, b in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(quick.network.eval() and quick(x), model.eval()(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"widths": (8,)}, {"stream_relu": True, "widths": (16,)},
                                     {"shortcut": "B", "widths": (16, 32)}])  # fmt: skip
def test_other_networks_run_by_their_modules(options):
    model = ResNet(ResNetConfig(depth=2 * len(options["widths"]) + 2, **{"shortcut": "A"} | options))
    assert fused(model, FLOAT32) is model
    assert fused(ResNet(ResNetConfig(depth=8)), PRECISIONS["float32-nchw"]).__class__ is ResNet


def test_without_a_compiler_the_modules_run(monkeypatch, tmp_path):
    def missing(command, **options):
        raise FileNotFoundError(2, "No such file or directory: 'g++'")

    monkeypatch.setattr(subprocess, "run", missing)
    kernels.library.cache_clear()
    model = ResNet(ResNetConfig(depth=8))
    with pytest.warns(UserWarning, match=r"more passes, slower: g\+\+ compiles no C\+\+ here .*No such file"):
        assert fused(model, BFLOAT16) is model
    kernels.library.cache_clear()
    monkeypatch.undo()
    assert isinstance(fused(model, BFLOAT16), Fused)
