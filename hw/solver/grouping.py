"""Groupings of the layers behind the first into shared stages in a row, each on a unit that routes at speed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from popstream.hw.cost.prices import Cost, Prices
from popstream.hw.cost.stage import code_rams, stage_parts, stream_rams
from popstream.hw.folding.fold import FoldingError, Share
from popstream.hw.folding.outline import plan_of
from popstream.hw.folding.stage_interval import stage_interval
from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.lib.memory import block_rams
from popstream.model.manifest import Network

__all__ = ["Grouping", "memory_of", "undominated"]

EBR_WORTH = (1, 4, 16)  # times its price, where a grouping of the cheapest stages has too many block RAMs
FINER = 1.04  # from a pace that is tried to the next
SUPPLY = 0.35  # of an image's cycles in which its pixels come in, at best


def least_memory(plan: StagePlan) -> int:
    """Block RAMs of weights, codes and streams."""
    share = plan.share
    return block_rams(plan.weight_words, share.pe * plan.kernel * share.slice) + code_rams(plan) + stream_rams(plan)


def memory_of(network: Network, shares: Sequence[Share]) -> int:
    """The same of stages in a row."""
    return sum(least_memory(plan_of(network, share)) for share in shares)


def undominated(rows: np.ndarray) -> list[int]:
    """Which of the rows [n, m] no other is at most equal to in every column; of equal ones the first."""
    return [
        index
        for index, row in enumerate(rows)
        if not any((other <= row).all() and ((other < row).any() or at < index) for at, other in enumerate(rows))
    ]


class Part(NamedTuple):
    """Layers on a unit: cycles an image, with pixels coming in as fast as they are taken, and block RAMs."""

    plan: StagePlan
    cycles: int
    memory: int


def each_pixel(plan: StagePlan) -> int:
    """Cycles in which a pixel is taken."""
    return plan.source_shape[0] // plan.entry


class Grouping:
    """Ways to cut the layers of `plans` into stages of their sizes.

    Parameters
    ----------
    network.
    plans : a stage of all layers for each size that is allowed.
    prices : of resources.
    """

    def __init__(self, network: Network, plans: Sequence[StagePlan], prices: Prices) -> None:
        self.network, self.names, self.ebr = network, plans[0].share.layers, prices.ebr
        costs = self._costs(plans)
        spent = [self._spent(plan) for plan in plans]
        rows = [(*each, c.lut, c.ff, least_memory(plan), c.dsp, plan.share.apart, not plan.share.apart)
                for each, c, plan in zip(spent, costs, plans, strict=True)]  # fmt: skip
        logic = [c.lut * prices.lut + c.ff * prices.ff + c.dsp * prices.dsp for c in costs]
        kept = sorted(undominated(np.array(rows)), key=logic.__getitem__)  # the cheapest first
        self.plans, self.logic = [plans[i] for i in kept], [logic[i] for i in kept]
        self.spent = [list(accumulate(spent[i], initial=0)) for i in kept]
        self._parts: dict[tuple[int, int, int], Part | None] = {}

    @staticmethod
    def _costs(plans: Sequence[StagePlan]) -> list[Cost]:
        """What stages take, but for memories, on which `apart` and the layers have a bearing."""
        known: dict[Share, Cost] = {}
        for plan in plans:
            share = replace(plan.share, apart=False)
            if share not in known:
                known[share] = sum(stage_parts(plan).values(), Cost())
        return [known[replace(plan.share, apart=False)] for plan in plans]

    @staticmethod
    def _spent(plan: StagePlan) -> list[int]:
        """Cycles of each conv; what has none counts to the one before."""
        each: list[int] = []
        for walk in plan.walks:
            if walk.layer.conv is not None:
                each.append(0)
            each[-1] += plan.spent(walk)
        return each

    def part(self, size: int, start: int, end: int) -> Part | None:
        """The convs start..end - 1 on a unit of this size; None where they cannot share it."""
        key = size, start, end
        if key not in self._parts:
            try:
                plan = plan_of(self.network, replace(self.plans[size].share, layers=self.names[start:end]))
            except FoldingError:
                self._parts[key] = None
            else:
                self._parts[key] = Part(plan, stage_interval(plan, each_pixel(plan)), least_memory(plan))
        return self._parts[key]

    def at_pace(self, target: int, stages: int, worth: float = 1) -> list[Share] | None:
        """At most so many stages of at most `target` cycles each, the cheapest of those that are looked at, at `worth`
        times the price of block RAM: ahead of each conv, the stage of each size that goes as far as the pace allows.
        None where there are none.
        """
        count = len(self.names)
        best: dict[tuple[int, int], tuple[float, list[Share]]] = {
            (count, left): (0.0, []) for left in range(stages + 1)
        }
        for start in reversed(range(count)):
            found = self._first(start, target, worth * self.ebr)
            for left in range(1, stages + 1):
                ways = [
                    (cost + best[end, left - 1][0], [share, *best[end, left - 1][1]])
                    for end, (cost, share) in found.items()
                    if (end, left - 1) in best
                ]
                if ways:
                    best[start, left] = min(ways, key=lambda way: way[0])
        return best[0, stages][1] if (0, stages) in best else None

    def _first(self, start: int, target: int, ebr: float) -> dict[int, tuple[float, Share]]:
        """By the conv behind it, the cheapest stage that begins with a conv, and what it costs."""
        cheapest: dict[int, tuple[float, Share]] = {}
        for size, (logic, spent) in enumerate(zip(self.logic, self.spent, strict=True)):
            for end in range(bisect_right(spent, spent[start] + target) - 1, start, -1):
                if end in cheapest and logic >= cheapest[end][0]:
                    break
                part = self.part(size, start, end)
                if part is None or part.cycles > target or (not start and self._supplied(part.plan, target) > target):
                    continue
                cost = logic + part.memory * ebr
                if end not in cheapest or cost < cheapest[end][0]:
                    cheapest[end] = cost, part.plan.share
                break
        return cheapest

    @staticmethod
    def _supplied(plan: StagePlan, target: int) -> int:
        """Cycles an image of the first stage, whose pixels come at the pace of what makes them."""
        _, height, width = plan.source_shape
        return stage_interval(plan, max(each_pixel(plan), int(SUPPLY * target) // (height * width)))

    def fastest(self, stages: int, fits: Callable[[list[Share]], bool], most: int, memory: int) -> list[Share] | None:
        """The shares of the least pace that fit, of less than `most` cycles; None where none do, as where so slow a
        grouping has more block RAMs than `memory` already.
        """
        slow = self.at_pace(int(most / FINER), stages, EBR_WORTH[-1])
        if slow is not None and memory_of(self.network, slow) > memory:
            return None
        pace = max(1.0, min(spent[-1] for spent in self.spent) / stages)
        while pace < most:
            found = self._fitting(int(pace), stages, fits)
            if found is not None:
                return found
            pace *= FINER
        return None

    def _fitting(self, target: int, stages: int, fits: Callable[[list[Share]], bool]) -> list[Share] | None:
        for worth in EBR_WORTH:
            shares = self.at_pace(target, stages, worth)
            if shares is None:
                return None
            if fits(shares):
                return shares
        return None
