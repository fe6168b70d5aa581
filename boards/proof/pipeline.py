# amaranth: UnusedElaboratable=no
"""Proofs of a small accelerator with a residual addition, and of a shared stage: no pause makes them stand still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from amaranth.hdl import Value

from popstream.boards.proof.contract import Bench
from popstream.boards.proof.proofs import Proof
from popstream.hw.accelerator import Accelerator
from popstream.hw.folding.chain import chain
from popstream.hw.folding.fold import Share
from popstream.hw.folding.folding import parallel
from popstream.hw.folding.stage_interval import stage_interval
from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.shared.stage import SharedStage
from popstream.model.manifest import Network, Node

__all__ = ["PROOFS"]


def residual() -> Network:
    """conv, requant, and a second conv beside a skip; images of one channel, codes of one bit."""
    kernel = np.ones((1, 1, 3, 3), dtype=np.uint8)
    conv: dict[str, Any] = dict(out_channels=1, kernel=3, stride=1, padding=1, weight_bits=1, act_bits=1)
    requant: dict[str, Any] = dict(shift=1, stream_bits=2, fraction_bits=0, relu=False)
    scale: dict[str, Any] = dict(multiplier=np.ones(1, np.int32), bias=np.zeros(1, np.int64))
    return Network.build("tiny", "none", ["a", "b"], [
        Node("image", "input", (), dict(channels=1, height=1, width=3, bits=1), {}),
        Node("conv1", "conv", ("image",), conv, dict(weight=kernel)),
        Node("stream", "requant", ("conv1",), requant, scale),
        Node("codes", "threshold", ("stream",), dict(bits=1), dict(thresholds=np.zeros((1, 1), np.int32))),
        Node("conv2", "conv", ("codes",), conv, dict(weight=kernel)),
        Node("sum", "requant", ("conv2", "stream"), requant, scale),
        Node("pool", "pool", ("sum",), dict(bits=1, shift=0), {}),
        Node("linear", "linear", ("pool",), dict(out_features=2, weight_bits=1, act_bits=1),
             dict(weight=np.array([[0], [1]], dtype=np.uint8), bias=np.zeros(2, np.int32))),
    ])  # fmt: skip


def make() -> Accelerator:
    network = residual()
    return Accelerator(network, parallel(network))


def plan() -> StagePlan:
    """The second conv and its addition as a shared stage of one lane."""
    return StagePlan(chain(residual(), ["conv2"]), Share(("conv2",), 1, 1, 1))


def moving(within: int) -> Callable[[Bench], None]:
    def claims(bench: Bench) -> None:
        """Payloads are 0: none decides whether a beat moves."""
        bench.assume(Value.cast(bench.inputs["i"].payload) == 0)
        bench.never_idle(within)
        bench.reach(bench.moves(bench.outputs["o"]), "a result comes", bench.depth)

    return claims


LATENCY, STAGE = sum(make().latencies.values()), stage_interval(plan(), 1)
PROOFS = [
    Proof("Accelerator", "a residual addition", make, moving(LATENCY), "stable, never idle, paths", 2 * LATENCY + 30,
          "twice the latency of all blocks, and thirty cycles"),
    Proof("SharedStage", "one lane, an addition", lambda: SharedStage(plan()), moving(STAGE),
          "stable, never idle, paths", STAGE + 20, "an image from its first beat to its last, and twenty cycles"),
]  # fmt: skip
