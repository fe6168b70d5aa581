"""What a matrix-vector unit takes of an ECP5: lanes or multipliers, weights, selection, accumulators, output FIFO."""

from __future__ import annotations

from functools import cache

from amaranth.hdl import signed, unsigned

from popstream.hw.cost.parts import adder, choice, counter, fifo_cost, logic, register_bits, rom_luts
from popstream.hw.cost.prices import Cost
from popstream.hw.lib.carry import chain_luts
from popstream.hw.lib.memory import EBR_WORDS, block_rams
from popstream.hw.lib.multiply import Multiplier
from popstream.hw.lib.pipeline import select_levels
from popstream.hw.lib.planes import falls
from popstream.hw.lib.popcount import AdderTree, PopCount
from popstream.hw.unit.bitplane import product_limits
from popstream.hw.unit.plan import MatVecPlan
from popstream.hw.unit.weights import WeightMemory

__all__ = ["matvec_cost"]


def select_cost(plan: MatVecPlan, bits: int) -> Cost:
    """The registered choice of `bits` bits among plan.choices, in levels."""
    result, among = Cost(), plan.choices
    for level in select_levels(among):
        full, rest = divmod(among, 1 << level)
        luts = full * choice(1 << level) + (choice(rest) if rest else 0)
        among = full + (rest > 0)
        result += Cost(logic(luts * bits), among * bits)
    return result


def weights_cost(plan: MatVecPlan, storage: str) -> Cost:
    """The weight memories of all copies, each of its own block RAMs."""
    style = WeightMemory.style_of(plan.words, storage, plan.arithmetic == "lanes")
    place = register_bits(plan.words)
    if style == "constant":
        return Cost(logic(plan.simd * plan.planes))
    if style == "block":
        rams = sum(block_rams(plan.words, plan.word_bits * pes) for pes in plan.pes_of_copies)
        late = max(0, plan.select + plan.copies - 1 - WeightMemory.block_stages(plan.words))
        behind = plan.word_bits * plan.pe if plan.words <= EBR_WORDS else 0  # else the second register is inside
        return Cost(ff=behind + late * place, ebr=rams)
    address = Cost(ff=(plan.select + plan.copies - 1) * place)
    if style == "merged":
        known = 1 - 2.0 ** (1 - plan.words)  # of the bits, so many are not the same in all words
        return address + Cost(logic(known * plan.word_bits * plan.planes * plan.pe))
    bits = plan.word_bits * plan.pe
    return address + Cost(logic(bits * rom_luts(plan.words)), bits)


def lanes_cost(plan: MatVecPlan, width: int, merged: bool) -> Cost:
    """Population counts, and accumulators of `width` bits, of all output channels."""
    luts, flip_flops, shared = PopCount.size(plan.simd, plan.planes, not merged, plan.levels)
    result = Cost(luts, flip_flops) * plan.pe + Cost(ff=shared * plan.copies)
    if not plan.accumulates:
        return result
    chains = sum(chain_luts([width] * pes) for pes in plan.pes_of_copies)
    shifts = len(falls(plan.steps)[1])
    return result + Cost(chains + logic(shifts * width * plan.pe), width * plan.pe)


def mac_cost(plan: MatVecPlan, width: int) -> Cost:
    """Multipliers, the adders behind them, and accumulators of `width` bits, of all output channels."""
    low, high = product_limits(plan.weight_bits, plan.act_bits, plan.kind)
    assert Multiplier.blocks_of(signed(plan.weight_bits + 1), unsigned(plan.act_bits)) == 1  # its registers inside
    result = Cost(ff=AdderTree.shape_of(low, high).width, dsp=1) * plan.simd
    numbers = [1] * plan.simd  # products in each
    while len(numbers) > 1:
        pairs = [(a, b) for a, b in zip(numbers[::2], numbers[1::2], strict=False)]
        for a, b in pairs:
            result += Cost(adder(AdderTree.shape_of((a + b) * low, (a + b) * high).width))
        numbers = [a + b for a, b in pairs] + (numbers[-1:] if len(numbers) % 2 else [])
        result += Cost(ff=sum(AdderTree.shape_of(n * low, n * high).width for n in numbers))
    if plan.group_cycles > 1:
        result += Cost(adder(width) + logic(width), width)
    return result * plan.pe


@cache
def matvec_cost(plan: MatVecPlan, width: int, storage: str) -> Cost:
    """hw.unit.matvec.MatVec whose output has lanes of `width` bits."""
    result = weights_cost(plan, storage)
    if plan.arithmetic == "lanes":
        merged = WeightMemory.style_of(plan.words, storage) in ("constant", "merged")
        result += select_cost(plan, plan.simd * plan.planes) + lanes_cost(plan, width, merged)
        seen = plan.simd * plan.planes
    else:
        result += select_cost(plan, plan.simd * plan.act_bits) + mac_cost(plan, width)
        seen = plan.simd * plan.act_bits
    result += Cost(ff=seen * (plan.copies - 1))  # the codes, again for each further copy
    waiting = sum(plan.pes_of_copies[:-1])  # totals that wait for the last copy's
    result += Cost(ff=waiting * width + plan.copies)
    if plan.beats > 1:
        result += Cost(logic((plan.pe - plan.lanes) * width), plan.pe * width + plan.beats) + counter(plan.beats)
    result += fifo_cost(plan.lanes * width, plan.depth)
    sequencer = counter(plan.chunks) + counter(len(plan.steps)) + counter(plan.groups) + counter(plan.words)
    described = register_bits(plan.words) + register_bits(plan.chunks) + 4  # a chunk: the present one and the next two
    registers = 3 * described + 2 * register_bits(plan.credits + 1) + 5
    if plan.subtracts and plan.weight_bits > 1:  # the flag of the highest plane, on its way
        registers += 2 + plan.total + plan.copies - 1
    return result + sequencer + Cost(logic(SEQUENCE), registers + 2 * plan.total)


SEQUENCE = 22
