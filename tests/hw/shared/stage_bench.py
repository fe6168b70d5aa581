"""A shared stage of a network's body, fed with golden's stream, in Amaranth's simulator."""

from __future__ import annotations

import numpy as np

from popstream.hw.folding.chain import chain
from popstream.hw.folding.fold import Share
from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.shared.stage import SharedStage
from popstream.model.manifest import Network
from popstream.sim import golden
from popstream.sim.golden.drawn import random_images
from tests.hw.beats import from_beats, to_beats
from tests.hw.stream_bench import run_stream

IMAGES = 2


def body(network: Network) -> tuple[str, ...]:
    """All convs but the first."""
    return tuple(node.name for node in network.nodes if node.op == "conv")[1:]


def share(
    network: Network, slice: int, pe: int, pixels: int, planes: int, beat: int, apart: bool = False,
    names: tuple[str, ...] = (),
) -> Share:  # fmt: skip
    return Share(names or body(network), slice, pe, pixels, planes, beat, apart)


def plan(network: Network, size: Share) -> StagePlan:
    return StagePlan(chain(network, size.layers), size)


def mismatches(network: Network, size: Share, stalls: tuple[float, float], seed: int = 0) -> tuple[int, list[int]]:
    """Values that are not golden's, of IMAGES images, and the cycle of each image's last."""
    stage = SharedStage(plan(network, size))
    source, end = stage.plan.source, stage.plan.chain.end.name
    _, taps = golden.run(network, random_images(network.input, seed, IMAGES), taps=[source, end])
    beats, times = taps[end].size // size.beat, {}
    given = {"i": to_beats(taps[source], stage.plan.chain.source.bits, stage.plan.entry)}
    result = run_stream(stage, given, {"o": beats}, seed, *stalls, timeout_cycles=20_000, times=times)
    made = from_beats(result["o"], taps[end].shape, stage.bits, size.beat, True)
    each = beats // IMAGES
    return int(np.sum(made != taps[end])), times["o"][each - 1 :: each]
