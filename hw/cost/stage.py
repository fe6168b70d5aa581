"""What a shared stage takes of an ECP5: lanes, weights, both memories, the last steps, tables and walkers."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

from amaranth.hdl import signed

from popstream.hw.cost.parts import adder, fifo_cost, logic, register_bits, rest_cost, rom_luts
from popstream.hw.cost.prices import Cost
from popstream.hw.folding.stage_plan import BEND, ENTER, WAITING, StagePlan
from popstream.hw.lib.memory import block_rams, distributed_luts
from popstream.hw.lib.multiply import Multiplier
from popstream.hw.lib.planes import falls
from popstream.hw.lib.popcount import PopCount
from popstream.hw.shared.constants import Constants

__all__ = ["code_rams", "stage_parts", "stream_rams"]

WALKERS = Cost(500, 210)
"""Issue, retire and load with their tables of layers, as synthesised in the stages of hw.synthesis.fit.SEEN."""


def lanes_cost(plan: StagePlan) -> Cost:
    """Population counts, sums, and the registers in which a group's wait for their beats."""
    share, size, width = plan.share, plan.kernel * plan.share.slice, plan.sum_shape.width
    luts, flip_flops, shared = PopCount.size(size, share.planes, True, share.levels)
    shifts = len({fall for steps in plan.steps_of.values() for fall in falls(steps)[1]})
    each = Cost(luts, flip_flops) + Cost(adder(width) + logic((1 + shifts + plan.signed) * width), width)
    held = Cost(logic(width * (1 - share.beat / share.pe)), width)
    beat = Cost(logic(share.pixels * share.beat * width / 2), share.pixels * share.beat * width)
    return (each + held) * (share.pe * share.pixels) + Cost(ff=shared * share.pixels) + beat


def weights_cost(constants: Constants) -> Cost:
    """Block RAMs of all weights and constants, and registers behind them."""
    words, width = constants.memory.shape
    return Cost(ff=width + 3 * register_bits(words), ebr=block_rams(words, width))


def code_rams(plan: StagePlan) -> int:
    """Block RAMs of the code memory."""
    return plan.banks * block_rams(plan.code_words, plan.share.slice * plan.code_bits)


def stream_rams(plan: StagePlan) -> int:
    """Block RAMs of the stream memory, with the input's own banks."""
    each = (block_rams(words, plan.share.beat * plan.stream_bits) for words in (plan.stream_words, plan.own_words))
    return plan.share.pixels * sum(each)


def codes_cost(plan: StagePlan) -> Cost:
    """Banks of codes, of which a window's columns are chosen."""
    share, word = plan.share, plan.share.slice * plan.code_bits
    columns, places = share.pixels + plan.kernel - 1, plan.banks // share.pixels
    seen = share.pixels * share.planes * plan.kernel * share.slice
    address = register_bits(plan.code_words)
    chosen = columns * share.slice * share.planes
    choices = -(-plan.code_bits // share.planes)
    choice = chosen * (places * choices > 1) + chosen * (choices > 1)
    return Cost(
        logic(choice + seen * plan.narrow) + 4 * adder(address) + plan.banks * address,
        plan.banks * (word + address) + seen + 5 * address,
        code_rams(plan),
    )


def values_cost(plan: StagePlan, constants: Constants) -> Cost:
    """From beats of sums to values; with the stream memory."""
    share, bits, width = plan.share, plan.value_bits, plan.sum_shape.width
    lanes = share.pixels * share.beat
    factor, bias, y = constants.shapes["factors"], constants.shapes["biases"].width, constants.y_shape.width
    halved = any(walk.layer.skip and walk.layer.skip.stride == 2 for walk in plan.walks)
    added = max(y, bits) + 1
    dsp = Multiplier.blocks_of(plan.sum_shape, factor)
    each = Cost(adder(bias + 1) + adder(added) + logic(3 * bits), 2 * width + y + added + bits, dsp=dsp)
    if plan.streams:  # what is read, delayed, chosen
        each += Cost(logic(bits * (1 + 1.5 * halved)), bits * (1 + 1 + 2 + plan.multiplied - 2))
    if plan.bends:
        each += bend_cost(plan, constants)
    result = (each + rest_cost(plan.sum_shape, factor)) * lanes
    if halved:
        result += Cost(2 * adder(bits + 2), 3 * bits) * (lanes // 2)
    result += Cost(ebr=stream_rams(plan))
    if plan.own and plan.stream_words:  # which of the words is added
        result += Cost(logic(lanes * bits))
    table = constants.word_bits
    if constants.shares > 1:
        result += Cost(logic(table * (constants.shares / 2)))
    return result + Cost(distributed_luts(plan.constant_words, table), table)


def bend_cost(plan: StagePlan, constants: Constants) -> Cost:
    """A PReLU of one value: a product of what lies below, rounded by each of the shifts; what waits beside it."""
    bits, slopes = plan.value_bits, constants.shapes["slopes"]
    product = bits + 1 + slopes.width
    rounded = [product + 2 - shift for shift in constants.slope_shifts]
    bent = max(bits + 1, *rounded) + 1
    luts = adder(bits + 1) + sum(map(adder, rounded)) + logic((len(rounded) - 1) * max(rounded)) + adder(bent)
    waits = 2 * (bits + 1) + BEND * bits  # distance and v
    return Cost(
        luts + logic(3 * bits + bent), bits + 1 + waits + bent, dsp=Multiplier.blocks_of(signed(bits + 1), slopes)
    )


def encode_cost(plan: StagePlan, constants: Constants) -> Cost:
    """From values to words of codes."""
    share, bits, made = plan.share, plan.value_bits, plan.made_bits
    each = Cost(made * adder(bits + 1) + logic(bits * (2**made - 1 - made)),
                bits * max(0, made - 1) + made * (made + 1) // 2)  # fmt: skip
    result = each * (share.pixels * share.beat)
    if constants.entry is not None:
        entry = constants.fields["thresholds"][1]
        result += each * plan.entry + Cost(logic(entry * rom_luts(len(constants.entry))), entry)
    word = share.slice * plan.code_bits
    slot = (40 + plan.share.pixels + plan.banks) * (plan.value + made + 1)  # in every cycle on its way
    enters = (25 + plan.share.pixels + plan.banks) * (ENTER + made + 1) + plan.entry * plan.chain.source.bits
    return result + Cost(
        logic(word * (share.pixels + 1)) + word * share.pixels, word * (share.pixels + 1) + slot + enters
    )


def squares_cost(plan: StagePlan) -> Cost:
    """Max-pooling: a bank's word chosen, compared, and a walker of its own."""
    if not any(layer.pools for layer in plan.layers):
        return Cost()
    word, address = plan.share.slice * plan.code_bits, register_bits(plan.code_words)
    luts = logic(word * (plan.banks - 1) + 2 * word) + plan.share.slice * adder(plan.code_bits)
    return Cost(luts + plan.banks * address + 120, 2 * word + 8 * address + 60)


@lru_cache(maxsize=4096)
def stage_parts(plan: StagePlan) -> dict[str, Cost]:
    """Costs of hw.shared.stage.SharedStage by kind of block."""
    constants = Constants(plan)
    share, bits = plan.share, plan.end_bits
    words = plan.blocks * -(-plan.layers[-1].made[0] // share.beat)
    width = share.pixels * share.beat * bits
    leaves = Cost(distributed_luts(words, width) + ceil(width / 2) + 40, 2 * share.beat * bits + 30)
    waiting = fifo_cost(plan.entry * plan.chain.source.bits, WAITING)
    return {
        "unit": lanes_cost(plan) + weights_cost(constants),
        "window": codes_cost(plan) + squares_cost(plan),
        "requant": values_cost(plan, constants),
        "threshold": encode_cost(plan, constants),
        "walkers": WALKERS + waiting + leaves,
    }
