"""Convs of training: values and gradients are those of the formula, and no memory is written but their own."""

import ctypes.util
import os
import subprocess
import sys
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from popstream.model.networks.layers import QuantConv2d
from popstream.model.quantizers import DoReFaWeights

CHECKED = "libc_malloc_debug.so.0"  # glibc's: a block that was written beyond its end ends the process
EVERY_CONV = """
import itertools, torch
from popstream.model.networks.layers import QuantConv2d
from popstream.model.quantizers import DoReFaWeights
kinds = itertools.product((1, 3), (1, 2), ((3, 4), (4, 6), (6, 10), (6, 8), (16, 32)),
                          (torch.contiguous_format, torch.channels_last), range(10))
for kernel, stride, (c_in, c_out), form, _ in kinds:
    conv = QuantConv2d((c_out, c_in, kernel, kernel), stride, DoReFaWeights(2)).to(memory_format=form)
    x = torch.rand(2, c_in, 16, 12).contiguous(memory_format=form).requires_grad_()
    y = conv(x)
    y.backward(torch.rand_like(y))
"""


@pytest.mark.parametrize(("kernel", "stride"), list(product((1, 3), (1, 2, 3))))
def test_a_conv_is_its_formula(kernel, stride):
    ours = QuantConv2d((6, 4, kernel, kernel), stride, DoReFaWeights(32)).double()
    x = torch.rand(2, 4, 9, 7, dtype=torch.float64, requires_grad=True)
    inputs = (x, ours.weight)
    y, expected = ours(x), F.conv2d(x, ours.weight, stride=stride, padding=kernel // 2)
    torch.testing.assert_close(y, expected)
    weight = torch.rand_like(y)
    found = torch.autograd.grad((y * weight).sum(), inputs)
    for gradient, right in zip(found, torch.autograd.grad((expected * weight).sum(), inputs), strict=True):
        torch.testing.assert_close(gradient, right)


@pytest.mark.skipif(ctypes.util.find_library("c_malloc_debug") is None, reason="this C library checks no memory")
def test_no_conv_writes_beyond_its_memory():
    checked = {**os.environ, "LD_PRELOAD": CHECKED, "MALLOC_CHECK_": "3"}
    done = subprocess.run([sys.executable, "-c", EVERY_CONV], env=checked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
