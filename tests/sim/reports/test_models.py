"""Both ways side by side: runs in turn; a wrong logit and a result in another cycle are counted."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from popstream.sim import golden
from popstream.sim.driver.driver import Answer
from popstream.sim.reports import models
from tests.command import run_cli
from tests.networks import random_images, random_network

IMAGES, SECONDS = 5, {b"blocks": 3.0, b"models": 1.2}


@pytest.fixture
def network():
    return random_network(3, height=4, width=4, channels=(3,), strides=(1,))


@pytest.fixture
def answers(network, monkeypatch):
    """The answer of each way, which a test may change; and the ways in the order in which they ran."""
    codes = random_images(network.input, 1, IMAGES)
    logits, cycles = golden.run_batches(network, codes), 100 * np.arange(IMAGES)
    right = Answer(golden.labels(logits), logits, cycles, cycles + 50, 600)
    given, order = {b"blocks": right, b"models": right}, []

    def model(network, folding, *, models, optimize, root, progress):
        program = SimpleNamespace(read_bytes=lambda: b"models" if models else b"blocks")
        return SimpleNamespace(program=program, predicted=100, top=SimpleNamespace(bits=8, shape=(3, 4, 4)))

    def run(program, arguments, data):
        order.append(program)
        return program, 0.0, SECONDS[program], b""

    monkeypatch.setattr(models, "DriverModel", model)
    monkeypatch.setattr(models, "run", run)
    monkeypatch.setattr(models, "read_answer", lambda top, images, output: given[output])
    return SimpleNamespace(given=given, order=order, codes=codes)


def test_in_turn(network, answers, tmp_path):
    content = models.measure(network, {}, answers.codes, 2, root=tmp_path)
    assert answers.order == [b"blocks", b"models"] * 2
    assert content == json.loads((tmp_path / "random" / "models.json").read_text())
    assert content["mismatches"] == 0
    assert content["ratio"] == 2.5
    assert content["images_per_cpu_second"] == {"blocks": round(5 / 3, 2), "models": round(5 / 1.2, 2)}
    assert content["cpu_seconds"] == {"blocks": [3.0] * 2, "models": [1.2] * 2}


@pytest.mark.parametrize("way", [b"blocks", b"models"])
def test_what_differs_is_counted(network, answers, tmp_path, way):
    right = answers.given[way]
    logits, emitted = right.logits.copy(), right.emitted.copy()
    logits[1, 0] += 1
    emitted[4] += 1
    for wrong, expected in (
        (dict(logits=logits), 1),
        (dict(emitted=emitted), 1),
        (dict(logits=logits, emitted=emitted), 2),
    ):
        answers.given[way] = replace(right, **wrong)
        assert models.measure(network, {}, answers.codes, 1, root=tmp_path)["mismatches"] == expected


@pytest.mark.parametrize(
    ("option", "message"), [(("--rtl", 0), "--rtl at least 1, not 0"), (("--trees",), "--trees and --compare exclude")]
)
def test_what_cannot_be_compared(option, message):
    status, _, error = run_cli("accuracy", "digits-w1a2", "--images", 9, "--compare", 1, *option)
    assert status != 0
    assert message in error
