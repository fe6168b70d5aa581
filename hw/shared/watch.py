"""Taps of what a shared stage computes, for comparison with the golden model: sums, values and codes of every layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Const, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.folding.walk import Walk, lane_range
from popstream.hw.lib.pipeline import delay
from popstream.hw.lib.tap import Tap

__all__ = ["Watch"]


def taps_of(plan: StagePlan) -> dict[str, list[tuple[int, Tap]]]:
    """By kind of what is watched, the taps and the layer, or the max-pooling, whose turn it is; a node once."""
    share = plan.share
    result: dict[str, list[tuple[int, Tap]]] = {kind: [] for kind in Watch.KINDS}
    seen = {plan.chain.end.name}  # leaves the stage, where it has a tap
    entry = plan.chain.threshold
    if entry is not None and plan.source_codes in plan.codes:
        beats = plan.source_shape[0] // plan.entry
        result["entry"].append((0, Tap(entry.name, plan.entry, plan.made_bits, False, None, beats)))
    passes = 0
    for index, walk in enumerate(plan.walks):
        layer = walk.layer
        if layer.conv is not None and layer.conv.name not in seen:
            tap = _tap(plan, walk, layer.conv.name, plan.sum_shape.width, plan.signed, _correction(plan, walk))
            result["sums"].append((index, tap))
            seen.add(layer.conv.name)
        if layer.value not in seen and (layer.threshold is None or layer.value != layer.threshold.name):
            result["values"].append((index, _tap(plan, walk, layer.value, plan.value_bits, True)))
            seen.add(layer.value)
        if layer.threshold is not None:
            result["codes"].append((index, _tap(plan, walk, layer.threshold.name, plan.made_bits, False)))
        for pool in layer.pools:
            tap = Tap(pool.name, share.slice, plan.code_bits, False, None, -(-pool.shape[0] // share.slice))
            result["pooled"].append((passes, tap))
            passes += 1
    return result


def _correction(plan: StagePlan, walk: Walk) -> np.ndarray | None:
    """What raw sums have too much."""
    return None if plan.signed else lane_range(walk.layer, walk.bits[1], False)[2]


def _tap(plan: StagePlan, walk: Walk, node: str, bits: int, signed: bool, correction: np.ndarray | None = None) -> Tap:
    share, stride = plan.share, walk.layer.stride
    order = walk.groups * walk.beats, share.pixels, share.pixels // stride, walk.after
    return Tap(node, share.beat, bits, signed, correction, *order)


class Watch(wiring.Component):
    """A pair of ports for each tap, high where that node's beat is among what passes.

    Parameters
    ----------
    plan : of the stage.

    Attributes
    ----------
    taps : in the order of their ports.

    Members
    -------
    layer : In, whose results begin in this cycle, a cycle ahead of `sums`. pool : In, the max-pooling at work.
    <kind>_valid, <kind> : In, what passes: raw sums, values, codes of a beat; codes of a beat that comes in; a word
        that a max-pooling writes.
    tap_<node>_valid, tap_<node>_data : Out, see Tap.
    """

    KINDS = ("sums", "values", "codes", "entry", "pooled")

    def __init__(self, plan: StagePlan) -> None:
        self.plan = plan
        self._taps = taps_of(plan)
        self.taps = [tap for some in self._taps.values() for _, tap in some]
        share = plan.share
        lanes = share.pixels * share.beat
        bits = {
            "sums": lanes * plan.sum_shape.width, "values": lanes * plan.value_bits, "codes": lanes * plan.made_bits,
            "entry": plan.entry * plan.made_bits, "pooled": share.slice * plan.code_bits,
        }  # fmt: skip
        members: dict[str, Any] = {
            "layer": In(range(max(2, len(plan.walks)))),
            "pool": In(range(max(2, len(self._taps["pooled"])))),
        }
        for kind in self.KINDS:
            members |= {f"{kind}_valid": In(1), kind: In(bits[kind])}
        for tap in self.taps:
            members |= {f"{tap.port}_valid": Out(1), f"{tap.port}_data": Out(tap.bits)}
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        plan = self.plan
        sums = delay(m, self.layer, 1, "of_sums")
        values = delay(m, sums, plan.value, "of_values")
        turns = {
            "sums": sums, "values": values, "codes": delay(m, values, plan.made_bits, "of_codes"),
            "entry": Const(0), "pooled": self.pool,
        }  # fmt: skip
        for kind, some in self._taps.items():
            for turn, tap in some:
                m.d.comb += [
                    getattr(self, f"{tap.port}_valid").eq(getattr(self, f"{kind}_valid") & (turns[kind] == turn)),
                    getattr(self, f"{tap.port}_data").eq(getattr(self, kind)),
                ]
        return m
