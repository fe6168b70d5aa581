"""What the parts of blocks take of an ECP5: adders, counters, choices, memories, FIFOs, tables.

Block RAMs and multipliers follow from the rules by which the blocks are built (hw.lib.memory, hw.lib.table). Flip-flops
and carry cells are counted along the structure. The LUTs between them are synthesis' own work: the constants here were
read off blocks synthesised by themselves, and SHARED off whole networks (`make cost` repeats the comparison).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from amaranth.hdl import Shape

from popstream.hw.cost.prices import Cost
from popstream.hw.lib.fifo import StreamFifo
from popstream.hw.lib.memory import block_rams, distributed_luts, in_block
from popstream.hw.lib.multiply import MULTIPLIER_BITS, Multiplier
from popstream.hw.lib.table import Table, range_shape

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


def rest_cost(a: Shape, b: Shape) -> Cost:
    """What hw.lib.multiply.Multiplier has outside of its blocks for a wide `a`: where they are few, the product of its
    upper bits too, of two each masked and added; and the parts' products, whose sum is left out.
    """
    rest = Multiplier.rest_of(a, b)
    if not rest:
        return Cost()
    upper = b.width + rest
    result = Cost(ff=MULTIPLIER_BITS - 1 + b.width + upper)
    if Multiplier.blocks_of(a, b) == 1:
        pairs = ceil(rest / 2)
        result += Cost(logic(rest * b.width) + (rest - 1) * adder(b.width + 2), rest + b.width + pairs * (b.width + 2))
    return result


def memory_cost(width: int, words: int, block: bool) -> Cost:
    """A memory with a write and a read port, registers of what is read left out."""
    if words == 1:
        return Cost(ff=width)
    return Cost(ebr=block_rams(1 << register_bits(words), width)) if block else Cost(distributed_luts(words, width))


def fifo_cost(width: int, depth: int, apart: bool = False) -> Cost:
    """hw.lib.fifo.StreamFifo. The register behind a block RAM is its own."""
    if depth == 1:
        return Cost(logic(3), width + 1)
    block = in_block(depth, width)
    skids = StreamFifo.has_skid(depth)
    words = depth - 1 - block - skids
    place, level = register_bits(words), words.bit_length()
    control = logic(10 + 1.6 * (place + level))
    carries = 2 * sum(adder(bits) for bits in (place, level) if bits >= CARRY_BITS)
    register = width + 1 if apart and depth >= StreamFifo.LEAST_APART else 0
    result = Cost(control + carries, (0 if block else width) + register + 2 * place + level + 3 + block)
    return result + memory_cost(width, 1 << place, block) + (skid_cost(width) if skids else Cost())


def table_cost(entries: Sequence[int], storage: str = "auto") -> Cost:
    """hw.lib.table.Table: one bit less for each bit that is the same in all entries."""
    width = varying(entries)
    if not width:
        return Cost()
    if Table.in_block(len(entries), storage):  # with a register inside
        return Cost(ebr=block_rams(len(entries), width))
    return Cost(logic(width * rom_luts(len(entries))), width)


def varying(entries: Sequence[int]) -> int:
    """Bits that are not the same in all entries."""
    some, every = 0, -1
    for entry in entries:
        some, every = some | entry, every & entry
    return ((some ^ every) & (1 << range_shape(min(entries), max(entries)).width) - 1).bit_count()


def skid_cost(width: int) -> Cost:
    """hw.lib.skid.Skid."""
    return Cost(logic(width + 1), width + 1)
