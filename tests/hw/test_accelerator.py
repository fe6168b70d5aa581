# amaranth: UnusedElaboratable=no
"""Whole accelerators against the golden model, every node's values and every logit, under stalls on both sides."""

from dataclasses import replace

import numpy as np
import pytest

from popstream.hw.accelerator import Accelerator
from popstream.hw.folding.buffering import Buffer, buffers
from popstream.hw.folding.folding import Folding, FoldingError, interval, parallel, serial
from popstream.hw.solver.solve import solve
from popstream.model.manifest import Network
from tests.hw.accelerator_bench import HangError, compare, random_folding, simulate
from tests.networks import SHORTCUTS, random_images, random_network

STALLS = [(0.0, 0.0), (0.4, 0.4), (0.0, 0.9), (0.8, 0.0)]
PLAIN = dict(first_bits=(2, 2), last_bits=(2, 2), blocks=1, convs_per_block=2)
SIGNED = dict(weights="signed", end_weights="signed")

# (W, A), kernel, strides, height x width, channels, shortcut, convs per shortcut, folding, others
GRID = [
    ((1, 1), 3, (1, 2), (5, 7), (3, 5), "A", 1, "random", {}),
    ((1, 1), 1, (1, 2), (4, 6), (2, 6), "avgpool", 1, "random", {}),
    ((1, 2), 3, (1, 2), (6, 4), (3, 7), "B", 1, "random", {}),
    ((1, 2), 3, (1,), (3, 3), (2,), "identity", 1, "serial", {}),
    ((1, 2), 3, (2,), (4, 6), (4,), "avgpool", 2, "parallel", {"in_channels": 1}),
    ((1, 2), 3, (1, 2), (4, 4), (4, 8), "avgpool", 1, "solved", {"first_bits": (8, 8), "last_bits": (8, 8)}),
    ((1, 3), 3, (2, 1), (6, 8), (3, 6), "avgpool", 1, "random", {"relu": True}),
    ((1, 4), 1, (2, 2), (7, 5), (5, 10), "A", 1, "random", {}),
    ((1, 8), 3, (1, 2), (3, 5), (2, 3), "B", 2, "random", {}),
    ((2, 1), 3, (1, 1), (4, 5), (3, 3), "identity", 2, "random", {}),
    ((2, 2), 3, (2, 2), (8, 4), (3, 6), "avgpool", 2, "random", {}),
    ((2, 2), 1, (1, 2), (3, 7), (4, 6), "B", 1, "parallel", {}),
    ((2, 3), 3, (1, 2), (5, 3), (2, 4), "A", 2, "random", {"stream_bits": 16}),
    ((2, 4), 3, (2,), (6, 6), (3,), "A", 1, "solved", {}),
    ((2, 8), 1, (2, 1), (4, 6), (3, 5), "avgpool", 1, "random", {}),
    ((3, 1), 3, (1, 2), (4, 6), (3, 5), "avgpool", 1, "random", {"in_channels": 2}),
    ((3, 2), 1, (1, 1), (3, 4), (6, 6), "identity", 1, "random", {"stream_bits": 8}),
    ((3, 3), 3, (1, 2), (4, 3), (2, 6), "B", 1, "random", {}),
    ((3, 4), 3, (2, 2), (5, 6), (3, 9), "A", 1, "random", {"relu": True}),
    ((3, 8), 3, (1,), (3, 4), (2,), "identity", 1, "random", {}),
    ((4, 1), 3, (2, 1), (4, 8), (2, 4), "avgpool", 2, "random", {}),
    ((4, 2), 3, (1, 2), (6, 2), (3, 4), "avgpool", 1, "random", {"stream_bits": 6}),
    ((4, 3), 1, (2, 2), (5, 5), (4, 6), "B", 2, "random", {}),
    ((4, 4), 3, (1, 2), (3, 5), (3, 5), "A", 2, "random", {}),
    ((4, 8), 3, (2,), (4, 4), (3,), "B", 1, "random", {"classes": 1}),
    ((8, 1), 3, (1, 2), (4, 4), (2, 3), "B", 1, "random", {}),
    ((8, 2), 1, (2, 1), (6, 5), (3, 6), "A", 1, "random", {"classes": 10}),
    ((8, 3), 3, (1,), (4, 3), (3,), "identity", 2, "random", {}),
    ((8, 4), 3, (2, 1), (4, 6), (2, 4), "avgpool", 1, "random", {}),
    ((8, 8), 3, (1, 2), (4, 2), (2, 3), "A", 1, "random", {"first_bits": (8, 8), "last_bits": (8, 8)}),
    ((8, 8), 1, (1,), (2, 3), (3,), "identity", 1, "parallel", {}),
    ((1, 2), 3, (1,), (7, 8), (3,), "identity", 1, "random", {"padding": 0}),
    ((2, 2), 3, (1, 2), (4, 5), (2, 4), "identity", 1, "random", {"padding": 2}),
    ((1, 2), 5, (1, 2), (5, 6), (2, 3), "A", 1, "random", {}),
    ((1, 2), 3, (1,), (1, 1), (3,), "identity", 1, "random", {}),
    ((1, 1), 3, (1,), (1, 6), (3,), "identity", 2, "random", {}),
    ((1, 1), 3, (1, 2), (4, 6), (4, 8), "avgpool", 1, "random", {"prelu": True}),
    ((1, 1), 3, (1, 2), (5, 4), (3, 6), "B", 1, "random", {"prelu": True, "stream_bits": 16}),
    ((1, 2), 3, (1, 2), (4, 5), (3, 5), "A", 2, "solved", {"prelu": True, "blocks": 2}),
    ((1, 1), 3, (1, 2), (4, 5), (3, 6), "A", 1, "random", SIGNED),
    ((1, 2), 1, (1,), (3, 4), (4,), "identity", 1, "parallel", SIGNED),
    ((1, 3), 3, (2,), (4, 6), (4,), "avgpool", 2, "random", {**SIGNED, "last_bits": (8, 8)}),
    ((2, 1), 3, (1, 2), (5, 3), (3, 5), "B", 1, "random", {"weights": "signed"}),
    ((2, 2), 3, (1, 2), (6, 4), (4, 8), "avgpool", 1, "solved", {**SIGNED, "first_bits": (8, 8), "padding": 1}),
    ((2, 2), 3, (1,), (2, 3), (2,), "identity", 1, "serial", {**SIGNED, "in_channels": 1}),
    ((2, 4), 1, (2, 1), (5, 6), (4, 6), "A", 2, "random", {**SIGNED, "prelu": True}),
    ((3, 2), 3, (1, 2), (4, 6), (2, 4), "B", 2, "random", SIGNED),
    ((4, 4), 3, (2,), (4, 5), (3,), "A", 1, "random", {"end_weights": "signed", "first_bits": (3, 5)}),
    ((4, 8), 3, (1,), (3, 4), (2,), "identity", 1, "random", SIGNED),
    ((8, 2), 3, (1, 2), (3, 5), (2, 3), "A", 1, "random", SIGNED),
    ((8, 8), 1, (1,), (4, 3), (3,), "identity", 1, "parallel", SIGNED),
]


def fold_by(name: str, network: Network, seed: int) -> Folding:
    if name == "random":
        return random_folding(network, seed)
    return {"serial": serial, "parallel": parallel, "solved": lambda n: solve(n, 900)}[name](network)


@pytest.mark.parametrize("index", range(len(GRID)))
def test_every_value_equals_golden(index):
    (w, a), kernel, strides, (height, width), channels, shortcut, every, fold, others = GRID[index]
    network = random_network(
        index, weight_bits=w, act_bits=a, kernel=kernel, strides=strides, height=height, width=width,
        channels=channels, shortcut=shortcut, convs_per_shortcut=every, **{**PLAIN, **others},
    )  # fmt: skip
    accelerator = Accelerator(network, fold_by(fold, network, index), taps=True)
    images = random_images(network.input, index, 3)
    compare(network, images, simulate(accelerator, images, index, *STALLS[index % len(STALLS)]))


@pytest.mark.parametrize("factor", [2**17 - 1, 2**17, -(2**17) - 1, 2**31 - 1])
def test_multipliers_beyond_a_blocks_18_bits(factor):
    """One of more bits takes a block more, and gives what golden gives."""
    network = random_network(1, height=4, width=4, channels=(2,), strides=(1,), **PLAIN)
    wide = next(node for node in network.nodes if node.op == "requant" and len(node.inputs) == 2)
    nodes = [
        replace(node, tensors=node.tensors | {"multiplier": np.array([factor, 1], np.int32)}) if node is wide else node
        for node in network.nodes
    ]
    network = type(network).build("wide", "random", network.classes, nodes)
    images = random_images(network.input, 1, 2)
    compare(network, images, simulate(Accelerator(network, serial(network), taps=True), images))


def test_grid_covers_its_axes():
    bits, kernels, strides, sizes, _, shortcuts, every, folds, _ = zip(*GRID, strict=True)
    assert {w for w, _ in bits} == {a for _, a in bits} == {1, 2, 3, 4, 8}
    assert {1, 3} <= set(kernels)
    assert {s for group in strides for s in group} == {1, 2}
    assert sum(h != w for h, w in sizes) > len(GRID) // 2
    assert set(zip(shortcuts, every, strict=True)) == {(s, n) for s in SHORTCUTS for n in (1, 2)}
    assert set(folds) == {"random", "serial", "parallel", "solved"}
    signed = [bits[index] for index, case in enumerate(GRID) if case[-1].get("weights") == "signed"]
    assert {w for w, _ in signed} == {a for _, a in signed} == {1, 2, 3, 4, 8}


def at_minimum(depths, less=0):
    """The same FIFOs, as short as they may be; or shorter by `less` pixels where that leaves one."""

    def cut(buffer):
        return None if buffer is None else Buffer(max(1, buffer.minimum - less), buffer.minimum)

    return {name: replace(d, skip=cut(d.skip), main=cut(d.main)) for name, d in depths.items()}


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("shortcut", ["A", "B", "avgpool", "identity"])
def test_the_deadlock_bound_is_enough(shortcut, every):
    network = random_network(
        every, height=4, width=6, channels=(3, 5), shortcut=shortcut, convs_per_shortcut=every, act_bits=1, **PLAIN
    )
    folding = random_folding(network, 10 + every, 600)
    accelerator = Accelerator(network, folding, True, at_minimum(buffers(network, folding, {})))
    images = random_images(network.input, 5, 3)
    compare(network, images, simulate(accelerator, images, 3, 0.2, 0.2))


@pytest.mark.parametrize("shortcut", ["A", "avgpool", "identity"])
def test_less_than_the_bound_hangs(shortcut):
    """With one lane at the fork, registers outside of the FIFO hold less than a pixel: two pixels less must hang."""
    network = random_network(2, height=4, width=7 if shortcut == "A" else 8, channels=(4, 8), shortcut=shortcut,
                             act_bits=1, **PLAIN)  # fmt: skip
    folding = {name: replace(fold, pe=1, prefetch=False) for name, fold in parallel(network).items()}
    images = random_images(network.input, 6, 3)
    found = buffers(network, folding, {})
    assert max(d.skip.minimum for d in found.values()) > 5
    compare(network, images, simulate(Accelerator(network, folding, True, at_minimum(found)), images))
    with pytest.raises(HangError, match="Nothing moves since cycle"):
        simulate(Accelerator(network, folding, True, at_minimum(found, less=2)), images, patience=800)


CALM = [
    (dict(height=8, width=8, channels=(4, 8), act_bits=2), 1500),
    (dict(height=6, width=10, channels=(4, 6), act_bits=1, shortcut="A", convs_per_shortcut=2), 1000),
    (dict(height=8, width=8, channels=(6,), strides=(2,), shortcut="B", act_bits=3), 1500),
    (dict(height=9, width=7, channels=(3, 5), strides=(1, 2), shortcut="identity", weight_bits=2), 1500),
]


@pytest.mark.parametrize("index", range(len(CALM)))
def test_measured_interval_is_the_estimate(index):
    """In steady state and without stalls, with the solver's folding."""
    options, target = CALM[index]
    network = random_network(index, **PLAIN | options)
    folding = solve(network, target)
    estimate = max(interval(network, folding).values())
    images = random_images(network.input, 7, 6)
    result = simulate(Accelerator(network, folding), images, patience=100_000)
    measured = (result.times[-1] - result.times[-4]) / 3
    assert measured == pytest.approx(estimate, rel=0.1)


def test_interface():
    network = random_network(0, in_channels=3, first_bits=(4, 5), classes=6, channels=(4,), strides=(1,))
    with pytest.raises(FoldingError, match="no entry for node"):
        Accelerator(network, {})
    plain = Accelerator(network, parallel(network))
    assert list(plain.signature.members) == ["i", "o"]
    assert plain.i.payload.shape().size == 3 * 5
    assert plain.o.payload.shape().size == 8 + 6 * 32
    tapped = Accelerator(network, parallel(network), taps=True)
    assert [tap.node for tap in tapped.taps] == [node.name for node in network.nodes[1:]]
    assert tapped.taps[0].port == "tap_stem_conv"
    assert len(tapped.tap_stem_conv_data) == tapped.taps[0].lanes * tapped.taps[0].width
