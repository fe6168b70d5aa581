"""Cycles an image of a shared stage, whose next image comes in while this one is in work."""

from __future__ import annotations

import math

from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.folding.walk import Walk

__all__ = ["stage_interval"]


def stage_interval(plan: StagePlan, supply: int) -> int:
    """Cycles an image, where a pixel of the input comes every `supply` cycles at best, and its rows are let in as far
    as they are open, in cycles in which no result of a layer is in the way.
    """
    channels, height, width = plan.source_shape
    beats = width * (channels // plan.entry)
    row = max(width * supply, beats)
    now, loaded = 0, 0.0  # rows of the next image
    for walk, rows in zip(plan.walks, [0, *plan.open_rows], strict=False):
        spent = plan.spent(walk)
        loaded = min(rows, loaded + min(spent / row, (spent - kept(plan, walk)) / beats)) if rows else 0.0
        now += spent
    return now + math.ceil((height - loaded) * row) + plan.enter


def kept(plan: StagePlan, walk: Walk) -> int:
    """Cycles of a layer in which its results have the ports through which the input comes into memory."""
    groups = walk.rows * walk.columns  # of pixels
    if walk.layer.value in plan.streams and plan.source in plan.streams and not plan.own:
        return groups * walk.groups * walk.beats
    return groups * -(-walk.layer.made[0] // plan.share.slice) if walk.layer.threshold is not None else 0
