"""Models in the place of blocks change no result of an accelerator and no cycle of it, under stalls."""

from pathlib import Path

import numpy as np

from popstream.hw.folding.drawn import random_folding
from popstream.sim import golden
from popstream.sim.driver.driver import arguments_for, beats, read_answer
from popstream.sim.driver.farm import DriverModel
from popstream.sim.driver.worker import run
from tests.networks import random_images, random_network

ROOT = Path("build/tests")


def test_same_results_in_the_same_cycles():
    network = random_network(
        5, height=4, width=4, channels=(4,), strides=(1,), weight_bits=2, act_bits=4, weights="signed"
    )
    folding = random_folding(network, 5, most=400)
    codes = random_images(network.input, 5, 6)
    answers, texts = [], []
    for models in (False, True):
        model = DriverModel(network, folding, models=models, optimize=0, root=ROOT)
        arguments = arguments_for(model.top, len(codes), expected=model.predicted, stall=0.3, seed=1)
        output = run(model.program.read_bytes(), arguments, beats(codes, model.top.bits))[0]
        answers.append(read_answer(model.top, len(codes), output))
        texts.append((model.program.parent / "top.v").read_text())
    plain, modelled = answers
    assert np.array_equal(plain.logits, golden.run_batches(network, codes))
    assert np.array_equal(plain.logits, modelled.logits)
    assert np.array_equal(plain.accepted, modelled.accepted)
    assert np.array_equal(plain.emitted, modelled.emitted)
    assert plain.cycles == modelled.cycles
    for block in ("popcount_model", "planes_model"):
        assert [f"\n  {block} #(" in text for text in texts] == [False, True]
