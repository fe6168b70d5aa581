"""What each block takes of an ECP5, from its parameters: LUT4 (a carry cell two), flip-flops, block RAMs, multipliers.

Block RAMs and multipliers follow from the rules by which the blocks are built (hw.memory, hw.table). Flip-flops and
carry cells are counted along the blocks' structure. The LUTs between them are synthesis' own work: the constants here
were read off blocks synthesised by themselves, and SHARED off whole networks (`make cost` repeats the comparison).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, gcd

from hw.fifo import StreamFifo
from hw.head import Classifier, Pool
from hw.maxpool import MaxPool
from hw.memory import block_rams, distributed_luts, in_block
from hw.multiply import MULTIPLIER_BITS, Multiplier
from hw.prelu import PReLU
from hw.prices import Cost
from hw.residual import Requant
from hw.shortcut import Shortcut
from hw.table import Table, TablePair, range_shape
from hw.threshold import Threshold
from hw.timing import WindowGeometry

__all__ = [
    "Cost",
    "adder",
    "choice",
    "classifier_cost",
    "counter",
    "fifo_cost",
    "fork_cost",
    "logic",
    "maxpool_cost",
    "multipliers",
    "pool_cost",
    "prelu_cost",
    "register_bits",
    "repack_cost",
    "requant_cost",
    "rom_luts",
    "shortcut_cost",
    "table_cost",
    "threshold_cost",
    "window_cost",
]

SHARED = 0.95  # of the LUTs of blocks by themselves, so many are left where blocks meet
CARRY_BITS = 5  # bits from which on yosys builds an adder of carry cells


def logic(luts: float) -> int:
    """LUTs that are left of so many."""
    return round(SHARED * luts)


def register_bits(states: int) -> int:
    """Bits of a register of so many states."""
    return (states - 1).bit_length()


def adder(bits: int) -> int:
    """LUTs of an adder, subtracter or comparator, a carry cell counting two."""
    return 2 * ceil(bits / 2) if bits >= CARRY_BITS else bits


def counter(states: int) -> Cost:
    """A counter that starts again after so many states."""
    bits = register_bits(states)
    wraps = 0 if states & (states - 1) == 0 else logic(1 + bits / 2)
    return Cost(adder(bits) + wraps, bits) if bits else Cost()


def choice(among: int) -> float:
    """LUTs a bit of a registered choice of one among so many, up to 8: two to a LUT, and one for all of them."""
    return min(among - 1, among / 2 + 1)


def rom_luts(words: int) -> float:
    """LUTs a bit of a memory of constants: one for 16 words, and about one more to choose between two such."""
    return 1.0 if words <= 16 else words / 8 - 0.35


def multipliers(left: int, right: int) -> int:
    """Multipliers of a product of so many by so many bits, signs included."""
    return ceil(left / MULTIPLIER_BITS) * ceil(right / MULTIPLIER_BITS) if min(left, right) > 1 else 0


def memory_cost(width: int, words: int, block: bool) -> Cost:
    """A memory with a write and a read port, registers of what is read left out."""
    if words == 1:
        return Cost(ff=width)
    return Cost(ebr=block_rams(1 << register_bits(words), width)) if block else Cost(distributed_luts(words, width))


def fifo_cost(width: int, depth: int) -> Cost:
    """hw.fifo.StreamFifo."""
    if depth == 1:
        return Cost(logic(3), width + 1)
    block = in_block(depth, width)
    skids = StreamFifo.has_skid(depth)
    words = depth - 1 - block - skids
    place, level = register_bits(words), words.bit_length()
    control = logic(10 + 1.6 * (place + level))
    carries = 2 * sum(adder(bits) for bits in (place, level) if bits >= CARRY_BITS)
    result = Cost(control + carries, width + 2 * place + level + 3 + block)
    return result + memory_cost(width, 1 << place, block) + (skid_cost(width) if skids else Cost())


def table_cost(entries: Sequence[int], storage: str = "auto") -> Cost:
    """hw.table.Table: one bit less for each bit that is the same in all entries."""
    width = varying(entries)
    if not width:
        return Cost()
    if Table.in_block(len(entries), storage):
        return Cost(0, width, block_rams(len(entries), width))
    return Cost(logic(width * rom_luts(len(entries))), width)


def varying(entries: Sequence[int]) -> int:
    """Bits that are not the same in all entries."""
    some, every = 0, -1
    for entry in entries:
        some, every = some | entry, every & entry
    return ((some ^ every) & (1 << range_shape(min(entries), max(entries)).width) - 1).bit_count()


def window_cost(geometry: WindowGeometry, bits: int, lanes: int, prefetch: bool, turns: bool = False) -> Cost:
    """hw.window.Window: flip-flops of the window, of the store, and of the beats on their way through line memory."""
    g, groups = geometry, geometry.channels // lanes
    window, beat = g.kernel**2 * g.channels * bits, lanes * bits
    result = Cost(logic(window if turns else 0), window * (g.kernel + g.moved) // g.kernel if prefetch else window)
    result += counter(groups)
    if g.kernel == 1:
        return result + Cost(logic(9), 4)
    columns, rows = counter(len(g.loaded if prefetch else g.columns)), counter(len(g.rows))
    width, depth = (g.kernel - 1) * beat, g.width * groups
    block = in_block(depth, width)
    result += memory_cost(width, depth, block) + Cost(logic(width), (g.kernel + 1) * beat + (0 if block else width))
    result += counter(depth) * 2 + columns * 3 + rows * 2  # two or one comparisons beside the counting
    result += Cost(logic(40), (20 if prefetch else 12) - 2 * columns.ff - rows.ff)
    return result


def threshold_cost(block: Threshold) -> Cost:
    """hw.threshold.Threshold: in each stage a comparator, a table and a copy of the value for each lane."""
    width, groups, result = block.shape.width, register_bits(block.channels // block.lanes), Cost(logic(4))
    for level, cycles in enumerate(block.reads):
        result += Cost(adder(width) * block.lanes, cycles * (block.lanes * (width + level) + groups + 1))
    result += last_stage_cost(block.lanes * block.bits) + counter(block.channels // block.lanes)
    for lane in range(block.lanes):
        entries, pairs = block.entries[lane], block.pairs(lane)
        for first, second in pairs:
            result += Cost(ff=2 * TablePair.form(entries[first], entries[second])[0].width, ebr=1)
        paired = {level for pair in pairs for level in pair}
        for level in set(range(block.bits)) - paired:
            result += table_cost(entries[level], block.storage)
    return result


def requant_cost(block: Requant) -> Cost:
    """hw.residual.Requant: the multiplier's registers are those of its DSP block, but for two parts and their sum."""
    width, stream = block.acc_shape.width, block.stream_bits
    groups = block.channels // block.lanes
    stages = block.multiplied - 1
    result = Cost(logic(4), 4 + stages * (1 + register_bits(groups))) + counter(groups)
    result += last_stage_cost(block.lanes * stream)
    blocks = Multiplier.blocks_of(block.acc_shape, block.factor)
    assert blocks  # an accumulator has 35 bits at most
    for lane in range(block.lanes):
        product, y = (shape.width for shape in block.lane_shapes(lane))
        total = max(y, stream) + block.skip
        tables = [table_cost(entries, block.storage) for entries in block.constants(lane)]
        result += sum(tables, Cost(ff=block.reads * width + y + total, dsp=blocks))
        if blocks > 1:
            result += Cost(adder(product), 2 * product + 17)
        result += Cost(adder(product) + (adder(total) if block.skip else 0) + logic(stream))
    return result


def prelu_cost(block: PReLU) -> Cost:
    """hw.prelu.PReLU."""
    stream, result = block.stream_bits, Cost(logic(4), 5) + counter(block.channels // block.lanes)
    result += last_stage_cost(block.lanes * stream)
    for lane in range(block.lanes):
        d, product, p = (shape.width for shape in block.lane_shapes(lane))
        tables = [table_cost(entries, block.storage) for entries in block.constants(lane)]
        result += sum(tables, Cost(ff=block.reads * stream + 2 * d + product + p))
        result += Cost(adder(d) + adder(product - block.shift) + adder(max(p, stream)) + logic(p + stream))
        slope = max(abs(entry) for entry in block.constants(lane)[1]).bit_length() + 1
        result += Cost(dsp=multipliers(d, slope))
    return result


def sums_cost(width: int, depth: int, spacing: int, values: int) -> Cost:
    """hw.accumulate.PartialSums of so many bits in all, of values of so many."""
    block = depth > 1 and spacing >= 3 and in_block(depth, width)
    stages, place = (2 if block else 1), register_bits(depth)
    result = Cost(adder(width) + logic(5), 2 * width + stages * (values + place + 4))
    if depth == 1:
        return result
    again = spacing == 1
    chosen = 0 if block else width * (1 + again)
    return result + memory_cost(width, depth, block) + Cost(logic(chosen), width * again)


def shortcut_cost(block: Shortcut) -> Cost:
    """hw.shortcut.Shortcut."""
    lanes, bits, groups = block.lanes, block.stream_bits, block.channels // block.lanes
    result = Cost(logic(12), lanes * bits + 4) + counter(block.out_channels // lanes)
    if block.stride == 1:
        return result
    result += counter(groups) + counter(block.width) + counter(block.height)
    if block.queued:
        result += fifo_cost(lanes * bits, block.queued)
    if block.average:
        squares = block.width // 2 * groups
        result += sums_cost(lanes * (bits + 2), squares, groups, lanes * bits) + counter(squares)
    return result


def pool_cost(block: Pool) -> Cost:
    """hw.head.Pool."""
    lanes, groups = block.lanes, block.channels // block.lanes
    width = lanes * (block.stream_bits + register_bits(block.pixels))
    result = sums_cost(width, groups, groups, lanes * block.stream_bits)
    result += last_stage_cost(lanes * block.bits)
    return result + counter(groups) + counter(block.pixels) + Cost(logic(lanes * (block.bits + 4)))


def maxpool_cost(block: MaxPool) -> Cost:
    """hw.maxpool.MaxPool."""
    groups, size, width = block.channels // block.lanes, block.size, block.lanes * block.bits
    squares, rows = block.width // size, block.height // size
    states = (groups, size, size, squares + 1, rows + 1, (squares + 1) * groups)
    result = sums_cost(width, squares * groups, groups, width) + Cost(logic(8))
    return sum((counter(number) for number in states), result)


def classifier_cost(block: Classifier) -> Cost:
    """hw.head.Classifier: a shift register of logits."""
    width, logit, index = block.acc_shape.width, block.logit_shape.width, register_bits(block.classes)
    result = table_cost([int(bias) for bias in block.bias], block.storage)
    result += counter(block.classes) + counter(block.lanes)
    registers = (block.classes + 1) * logit + (block.latency - 2) * (width + index + 1) + 2 * index + 4
    return result + Cost(2 * adder(logit) + logic(20 + choice(block.lanes) * width), registers)


def repack_cost(width: int, lanes_in: int, lanes_out: int) -> Cost:
    """hw.stream.Repack of lanes of `width` bits."""
    result, common = Cost(), gcd(lanes_in, lanes_out)
    if lanes_in != common:
        parts = lanes_in // common
        result += Cost(logic((parts - 1) * common * width + 8), lanes_in * width + register_bits(parts + 1))
    if lanes_out != common:
        parts = lanes_out // common
        result += Cost(logic(10), lanes_out * width + register_bits(parts + 1))
    return result


def skid_cost(width: int) -> Cost:
    """hw.skid.Skid."""
    return Cost(logic(width + 1), width + 1)


def last_stage_cost(width: int) -> Cost:
    """hw.skid.LastStage."""
    return skid_cost(width) + Cost(2, width + 2)


def fork_cost(sinks: int) -> Cost:
    """hw.stream.Fork."""
    return Cost(logic(2 * sinks + 1), sinks)
