"""`make accuracy`: four columns on the digits, and what it says when two of them differ."""

import json
import sys
from pathlib import Path

import pytest

import model
from popstream.model.data import quantize_pixels
from popstream.model.manifest import save
from popstream.sim import accuracy, golden
from tests.networks import random_network
from tests.sim.test_run import COMMON, ROOT

KEYS = {
    *("network", "images", "rtl_images", "top1_float", "top1_frozen", "top1_golden", "top1_rtl"),
    *("mismatches_frozen_golden", "mismatches_golden_rtl"),
}
PATH = ROOT / "digits-w1a2" / "accuracy.json"


def test_digits(capfd):
    pytest.importorskip("torch")
    assert accuracy.main(["digits-w1a2", *COMMON, "--images", "100", "--rtl", "12"]) == 0
    content = json.loads(PATH.read_text())
    assert content.keys() >= KEYS
    assert (content["images"], content["rtl_images"]) == (100, 12)
    assert content["mismatches_frozen_golden"] == content["mismatches_golden_rtl"] == 0
    assert content["top1_frozen"] == content["top1_golden"] > 80
    assert content["top1_rtl"] > 80
    assert content["top1_float"] > 80
    printed = capfd.readouterr().out
    assert "All agree" in printed
    for row in ("float (training)", "frozen (torch)", "golden (NumPy)", "RTL (Verilator)"):
        assert row in printed


def test_a_difference_is_counted(capfd, monkeypatch):
    def one_wrong(network, pixels):
        logits = golden.run_batches(network, quantize_pixels(pixels, network.input.bits))
        logits[3, 0] += 1
        return logits

    monkeypatch.setattr(accuracy, "frozen_logits", one_wrong)
    assert accuracy.main(["digits-w1a2", *COMMON, "--images", "20", "--rtl", "0"]) == accuracy.MISMATCH
    content = json.loads(PATH.read_text())
    assert (content["mismatches_frozen_golden"], content["top1_rtl"]) == (1, None)
    assert "FAILED: 1 mismatches" in capfd.readouterr().out


def test_without_torch(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "popstream.model.freezing.frozen", raising=False)
    monkeypatch.delattr(model, "frozen", raising=False)
    assert accuracy.main(["digits-w1a2", *COMMON, "--images", "3"]) == accuracy.ERROR
    message = "error: Package torch is missing, which the frozen network needs; `make accuracy` sets it up\n"
    assert capfd.readouterr().err == message


def test_needs_labelled_images(capfd, tmp_path):
    save(random_network(1, height=4, width=4, channels=(3,), strides=(1,)), tmp_path)
    assert accuracy.main([str(tmp_path), "--images", "3"]) == accuracy.ERROR
    assert "of which there are no labelled images" in capfd.readouterr().err


def test_options(capfd):
    for name, least in (
        ("images", "at least 1, not -1"),
        ("interval", "at least 1, not -1"),
        ("rtl", "negative, not -1"),
    ):
        with pytest.raises(SystemExit):
            accuracy.main(["digits-w1a2", f"--{name}", "-1"])
        assert f"--{name} must " in (message := capfd.readouterr().err)
        assert least in message
    assert accuracy.arguments(["x", "--images", "5", "--rtl", "9"]).rtl == 5
    assert Path("build") == accuracy.arguments(["x"]).root
