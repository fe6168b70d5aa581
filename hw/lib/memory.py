"""What a memory takes of an ECP5, and where it lies: the one rule for blocks that build one and for their cost."""

__all__ = ["EBR_BITS", "EBR_WORDS", "block_rams", "distributed_luts", "in_block"]

BLOCK_LUTS = 100
"""LUTs that one block RAM is worth: a memory that takes fewer of them for each lies in distributed RAM."""

SHALLOW_WORDS = 32
"""Words up to which a memory is always in distributed RAM: a choice of two there, 5.8 ns to the data in block RAM."""

EBR_WORDS, EBR_BITS = 512, 36  # of a block RAM at its widest
_RAM_WORDS, _RAM_BITS, _RAM_LUTS = 16, 4, 6  # of a TRELLIS_DPR16X4: four LUTs hold the bits, two are the write port


def block_rams(depth: int, width: int) -> int:
    """Block RAMs (18 kbit) of so many words of so many bits: 512 of 36, or twice as many of half the width, and so on.

    None for a memory without bits.
    """
    forms = ((EBR_BITS >> k, EBR_WORDS << k) for k in range(EBR_BITS.bit_length()))
    return min(-(-width // bits) * -(-depth // words) for bits, words in forms)


def distributed_luts(depth: int, width: int) -> int:
    """LUT4 of so many words of so many bits in distributed RAM: 6 for 16 words of 4 bits, and for each further 16 words
    one a bit, to choose.
    """
    banks = -(-depth // _RAM_WORDS)
    return banks * -(-width // _RAM_BITS) * _RAM_LUTS + (banks - 1) * width


def in_block(depth: int, width: int) -> bool:
    """Whether a memory with a write and a read port is in block RAM: where a block replaces BLOCK_LUTS or more, and the
    memory is not so shallow that distributed RAM is faster.
    """
    return depth > SHALLOW_WORDS and distributed_luts(depth, width) >= BLOCK_LUTS * block_rams(depth, width)
