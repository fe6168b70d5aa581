"""`make accuracy`: four columns on the digits, and what it says when two of them differ."""

import json
import re
import sys

import pytest

from popstream.model import freezing
from popstream.model.data import quantize_pixels
from popstream.model.manifest import save
from popstream.sim import accuracy, golden
from tests.command import run_cli
from tests.networks import random_network
from tests.sim.test_run import COMMON, ROOT

KEYS = {
    *("network", "images", "rtl_images", "top1_float", "top1_frozen", "top1_golden", "top1_rtl"),
    *("mismatches_frozen_golden", "mismatches_golden_rtl"),
}
PATH = ROOT / "digits-w1a2" / "accuracy.json"


def test_digits():
    pytest.importorskip("torch")
    status, printed, _ = run_cli("accuracy", "digits-w1a2", *COMMON, "--images", 100, "--rtl", 12)
    assert status == 0
    content = json.loads(PATH.read_text())
    assert content.keys() >= KEYS
    assert (content["images"], content["rtl_images"]) == (100, 12)
    assert content["mismatches_frozen_golden"] == content["mismatches_golden_rtl"] == 0
    assert content["top1_frozen"] == content["top1_golden"] > 80
    assert content["top1_rtl"] > 80
    assert content["top1_float"] > 80
    assert "All agree" in printed
    for row in ("float (training)", "frozen (torch)", "golden (NumPy)", "RTL (Verilator)"):
        assert row in printed


def test_a_difference_is_counted(monkeypatch):
    def one_wrong(network, pixels):
        logits = golden.run_batches(network, quantize_pixels(pixels, network.entry_bits))
        logits[3, 0] += 1
        return logits

    monkeypatch.setattr(accuracy, "frozen_logits", one_wrong)
    status, _, said = run_cli("accuracy", "digits-w1a2", *COMMON, "--images", 20, "--rtl", 0)
    assert status == 1
    content = json.loads(PATH.read_text())
    assert (content["mismatches_frozen_golden"], content["top1_rtl"]) == (1, None)
    assert said.startswith("error: 1 mismatches; ")


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "popstream.model.freezing.frozen", raising=False)
    monkeypatch.delattr(freezing, "frozen", raising=False)
    status, _, said = run_cli("accuracy", "digits-w1a2", *COMMON, "--images", 3)
    assert status == 1
    assert said == "error: Package torch is missing, which the frozen network needs; make accuracy brings it\n"


def test_needs_labelled_images(tmp_path):
    save(random_network(1, height=4, width=4, channels=(3,), strides=(1,)), tmp_path)
    status, _, said = run_cli("accuracy", tmp_path, "--images", 3)
    assert status == 1
    assert said == "error: random is for 'random', of which there are no labelled images\n"


def test_no_accuracy_on_images_without_labels(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    status, printed, said = run_cli("accuracy", "resnet20-w2a2", "--images", 3)
    assert (status, printed) == (1, "")
    assert re.fullmatch(r"error: No cifar-10-batches-py/test_batch in .*; set CIFAR10_DIR .*\n", said)


@pytest.mark.parametrize(("name", "least"), [("images", 1), ("interval", 1), ("rtl", 0)])
def test_options(name, least):
    status, _, said = run_cli("accuracy", "digits-w1a2", f"--{name}", -1)
    assert status == 2
    assert said.startswith(f"error: --{name} must be at least {least}, not -1; ")
