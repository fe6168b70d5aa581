"""What each block takes of an ECP5, from its parameters: LUT4 (two a carry cell), flip-flops, block RAMs, DSPs."""

from __future__ import annotations

from math import gcd

from popstream.hw.blocks.add import Add
from popstream.hw.blocks.head import Classifier, Pool
from popstream.hw.blocks.lookup import Lookup
from popstream.hw.blocks.maxpool import MaxPool
from popstream.hw.blocks.prelu import PReLU
from popstream.hw.blocks.requant import Requant
from popstream.hw.blocks.shortcut import Shortcut
from popstream.hw.blocks.threshold import Threshold
from popstream.hw.cost.parts import (
    adder,
    choice,
    counter,
    fifo_cost,
    logic,
    memory_cost,
    multipliers,
    register_bits,
    rest_cost,
    skid_cost,
    table_cost,
)
from popstream.hw.cost.prices import Cost
from popstream.hw.folding.timing import WindowGeometry
from popstream.hw.lib.memory import in_block
from popstream.hw.lib.multiply import Multiplier

__all__ = [
    "add_cost",
    "classifier_cost",
    "fork_cost",
    "last_stage_cost",
    "lookup_cost",
    "maxpool_cost",
    "pool_cost",
    "prelu_cost",
    "repack_cost",
    "requant_cost",
    "shortcut_cost",
    "sums_cost",
    "threshold_cost",
    "window_cost",
]


TIE = 0.8  # LUTs a bit below the point, to see whether they are a half


def window_cost(geometry: WindowGeometry, bits: int, lanes: int, prefetch: bool, turns: bool = False) -> Cost:
    """hw.blocks.window.Window: flip-flops of window and store, and of the beats on their way through line memory."""
    g, groups = geometry, geometry.channels // lanes
    window, beat = g.kernel**2 * g.channels * bits, lanes * bits
    result = Cost(logic(window if turns else 0), window * (g.kernel + g.moved) // g.kernel if prefetch else window)
    result += counter(groups)
    if g.kernel == 1:
        return result + Cost(logic(9), 4)
    columns, rows = counter(len(g.loaded if prefetch else g.columns)), counter(len(g.rows))
    width, depth = (g.kernel - 1) * beat, g.width * groups
    block = in_block(depth, width)
    # Of the rows above, block RAM has the register itself, and which of them are shown is kept beside it.
    beats = 2 * beat + g.kernel - 1 if block else (g.kernel + 1) * beat + width
    result += memory_cost(width, depth, block) + Cost(logic(width), beats)
    result += counter(depth) * 2 + columns * 3 + rows * 2  # two or one comparisons beside the counting
    result += Cost(logic(40), (20 if prefetch else 12) - 2 * columns.ff - rows.ff)
    return result


def threshold_cost(block: Threshold) -> Cost:
    """hw.blocks.threshold.Threshold: in each stage a comparator, a table and a copy of the value for each lane."""
    width, groups, result = block.shape.width, register_bits(block.channels // block.lanes), Cost(logic(4))
    for level, cycles in enumerate(block.reads):
        result += Cost(adder(width) * block.lanes, cycles * (block.lanes * (width + level) + groups + 1))
    result += last_stage_cost(block.lanes * block.bits) + counter(block.channels // block.lanes)
    for lane in range(block.lanes):
        entries, pairs = block.entries[lane], block.pairs(lane)
        result += Cost(ebr=len(pairs))
        paired = {level for pair in pairs for level in pair}
        for level in set(range(block.bits)) - paired:
            result += table_cost(entries[level], block.storage)
    return result


def requant_cost(block: Requant) -> Cost:
    """hw.blocks.requant.Requant: the multiplier's registers lie in its DSP block, but for two parts and their sum."""
    width, stream = block.acc_shape.width, block.stream_bits
    groups = block.channels // block.lanes
    stages = block.multiplied - 1
    result = Cost(logic(4), 4 + stages * (1 + register_bits(groups))) + counter(groups)
    result += last_stage_cost(block.lanes * stream)
    whole = Multiplier.blocks_of(block.acc_shape, block.factor)
    blocks = whole or multipliers(block.acc_shape.width + (not block.acc_shape.signed), block.factor.width)
    for lane in range(block.lanes):
        product, y = (shape.width for shape in block.lane_shapes(lane))
        total = max(y, stream) + block.skip
        tables = [table_cost(entries, block.storage) for entries in block.constants(lane)]
        result += sum(tables, Cost(ff=block.reads * width + y + total, dsp=blocks))
        if not whole:  # M of more than 18 bits: synthesis splits the product, and keeps most registers outside
            outside = width + block.factor.width + (block.multiplied - 2) * product
            result += Cost((blocks - 1) * adder(product), outside)
        elif Multiplier.rest_of(block.acc_shape, block.factor):
            result += Cost(adder(product), product) + rest_cost(block.acc_shape, block.factor)
        result += Cost(adder(product) + (adder(total) if block.skip else 0) + logic(stream))
        if block.even:
            result += Cost(logic(block.shift * TIE), 1)
    return result


def add_cost(block: Add) -> Cost:
    """hw.blocks.add.Add."""
    each = Cost(adder(block.total_bits) + logic(block.stream_bits), block.total_bits)
    return each * block.lanes + Cost(logic(3), 1) + last_stage_cost(block.lanes * block.stream_bits)


def lookup_cost(block: Lookup) -> Cost:
    """hw.blocks.lookup.Lookup."""
    result = Cost(logic(2), block.reads) + counter(block.channels // block.lanes)
    result += last_stage_cost(block.lanes * block.shape.width)
    return sum((table_cost(entries, block.storage) for entries in block.entries), result)


def prelu_cost(block: PReLU) -> Cost:
    """hw.blocks.prelu.PReLU."""
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
    """hw.lib.accumulate.PartialSums of so many bits in all, of values of so many."""
    block = depth > 1 and spacing >= 3 and in_block(depth, width)
    stages, place = (2 if block else 1), register_bits(depth)
    result = Cost(adder(width) + logic(5), 2 * width + stages * (values + place + 4))
    if depth == 1:
        return result
    again = spacing == 1
    chosen = 0 if block else width * (1 + again)
    return result + memory_cost(width, depth, block) + Cost(logic(chosen), width * again)


def shortcut_cost(block: Shortcut) -> Cost:
    """hw.blocks.shortcut.Shortcut."""
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
    """hw.blocks.head.Pool."""
    lanes, groups = block.lanes, block.channels // block.lanes
    width = lanes * (block.shape.width + register_bits(block.pixels))
    result = sums_cost(width, groups, groups, lanes * block.shape.width)
    if block.even:
        result += Cost(logic(lanes * block.shift / 3))
    result += last_stage_cost(lanes * block.bits)
    return result + counter(groups) + counter(block.pixels) + Cost(logic(lanes * (block.bits + 4)))


def maxpool_cost(block: MaxPool) -> Cost:
    """hw.blocks.maxpool.MaxPool."""
    groups, size, width = block.channels // block.lanes, block.size, block.lanes * block.bits
    squares, rows = block.width // size, block.height // size
    states = (groups, size, size, squares + 1, rows + 1, (squares + 1) * groups)
    result = sums_cost(width, squares * groups, groups, width) + Cost(logic(8))
    return sum((counter(number) for number in states), result)


def classifier_cost(block: Classifier) -> Cost:
    """hw.blocks.head.Classifier: a shift register of logits."""
    width, logit, index = block.acc_shape.width, block.logit_shape.width, register_bits(block.classes)
    result = table_cost([int(bias) for bias in block.bias], block.storage)
    result += counter(block.classes) + counter(block.lanes)
    registers = (block.classes + 1) * logit + (block.latency - 2) * (width + index + 1) + 2 * index + 4
    return result + Cost(2 * adder(logit) + logic(20 + choice(block.lanes) * width), registers)


def repack_cost(width: int, lanes_in: int, lanes_out: int) -> Cost:
    """hw.lib.stream.Repack of lanes of `width` bits."""
    result, common = Cost(), gcd(lanes_in, lanes_out)
    if lanes_in != common:
        parts = lanes_in // common
        result += Cost(logic((parts - 1) * common * width + 8), lanes_in * width + register_bits(parts + 1))
    if lanes_out != common:
        parts = lanes_out // common
        result += Cost(logic(10), lanes_out * width + register_bits(parts + 1))
    return result


def last_stage_cost(width: int) -> Cost:
    """hw.lib.skid.LastStage."""
    return skid_cost(width) + Cost(2, width + 2)


def fork_cost(sinks: int) -> Cost:
    """hw.lib.stream.Fork."""
    return Cost(logic(2 * sinks + 1), sinks)
