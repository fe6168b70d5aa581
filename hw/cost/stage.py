"""What a shared stage takes of an ECP5: lanes, weights, both memories, the last steps, tables and walkers."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from popstream.hw.cost.parts import adder, fifo_cost, logic, register_bits, rom_luts
from popstream.hw.cost.prices import Cost
from popstream.hw.folding.stage_plan import BLOCKS, WAITING, StagePlan
from popstream.hw.lib.memory import block_rams, distributed_luts
from popstream.hw.lib.planes import falls
from popstream.hw.lib.popcount import PopCount
from popstream.hw.shared.constants import Constants

__all__ = ["stage_parts"]

WALKERS = Cost(420, 330)
"""Issue, retire and load with their tables of layers: a guess, not measured yet, as are LUTs between carry cells."""


def lanes_cost(plan: StagePlan, width: int) -> Cost:
    """Population counts, sums, and the registers in which a group's wait for their beats."""
    share, size = plan.share, plan.kernel * plan.share.slice
    luts, flip_flops, shared = PopCount.size(size, share.planes, True, share.levels)
    shifts = len(falls(plan.steps)[1])
    each = Cost(luts, flip_flops) + Cost(adder(width) + logic((1 + shifts) * width), width)
    held = Cost(logic(width * (1 - share.beat / share.pe)), width)
    beat = Cost(logic(share.pixels * share.beat * width / 2), share.pixels * share.beat * width)
    return (each + held) * (share.pe * share.pixels) + Cost(ff=shared * share.pixels) + beat


def weights_cost(constants: Constants) -> Cost:
    """Block RAMs of all weights and constants, and registers behind them."""
    words, width = constants.memory.shape
    return Cost(ff=width + 3 * register_bits(words), ebr=block_rams(words, width))


def codes_cost(plan: StagePlan) -> Cost:
    """Banks of codes, of which a window's columns are chosen."""
    share, word = plan.share, plan.share.slice * plan.act_bits
    columns, places = share.pixels + plan.kernel - 1, plan.banks // share.pixels
    seen = share.pixels * share.planes * plan.kernel * share.slice
    address = register_bits(plan.code_words)
    chosen = columns * share.slice * share.planes
    choice = chosen * (places * plan.act_bits / share.planes > 1) + chosen * (plan.act_bits > share.planes)
    return Cost(
        logic(choice) + 4 * adder(address) + plan.banks * address,
        plan.banks * (word + address) + seen + 5 * address,
        plan.banks * block_rams(plan.code_words, word),
    )


def finish_cost(plan: StagePlan, constants: Constants) -> Cost:
    """From beats of sums to values and codes; with the stream memory."""
    share, bits, width = plan.share, constants.stream_bits, constants.sum_shape.width
    lanes = share.pixels * share.beat
    bias, y = constants.bias_shape.width, constants.y_shape.width
    halved = any(walk.slow or walk.layer.conv["stride"] == 2 for walk in plan.walks)
    added = max(y, bits) + 1
    each = Cost(adder(bias + 1) + adder(added) + logic(3 * bits), 2 * width + y + added + bits, dsp=1)
    each += Cost(logic(bits * (1 + 1.5 * halved)), bits * (1 + 1 + 2 + 2))  # what is read, delayed, chosen
    each += Cost(plan.act_bits * adder(bits + 1) + logic(bits * (2**plan.act_bits - 1 - plan.act_bits)),
                 bits * (plan.act_bits - 1) + plan.act_bits * (plan.act_bits + 1) // 2)  # fmt: skip
    result = each * lanes
    if halved:
        result += Cost(2 * adder(bits + 2), 3 * bits) * (lanes // 2)
    result += Cost(ebr=share.pixels * block_rams(plan.stream_words, share.beat * bits))
    table, entry = constants.word_bits, constants.fields["thresholds"][1]
    result += Cost(distributed_luts(plan.constant_words, table), table)
    if constants.shares > 1:
        result += Cost(logic(table * (constants.shares / 2)))
    result += Cost(logic(entry * (rom_luts(len(constants.entry)) + 1)), entry)
    word = share.slice * plan.act_bits
    slot = 40 + plan.share.pixels + plan.banks
    return result + Cost(logic(word * (share.pixels + 1)) + word * share.pixels, word * (share.pixels + 1) + slot * 10)


@lru_cache(maxsize=4096)
def stage_parts(plan: StagePlan) -> dict[str, Cost]:
    """Costs of hw.shared.stage.SharedStage by kind of block."""
    constants = Constants(plan)
    share, bits = plan.share, constants.stream_bits
    words = BLOCKS * (plan.layers[-1].made[0] // share.beat)
    width = share.pixels * share.beat * bits
    leaves = Cost(distributed_luts(words, width) + ceil(width / 2) + 40, 2 * share.beat * bits + 30)
    return {
        "unit": lanes_cost(plan, constants.sum_shape.width) + weights_cost(constants),
        "window": codes_cost(plan),
        "stage": finish_cost(plan, constants) + WALKERS + fifo_cost(share.beat * bits, WAITING) + leaves,
    }
