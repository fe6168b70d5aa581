"""Saturation of a signed value to the bits of a stream (rules R6 and R7), and which way halves go (R25)."""

from amaranth.hdl import Mux, Value, signed

from popstream.hw.lib.table import shape_limits

__all__ = ["checked_ties", "saturated"]

TIES = ("up", "even")


def checked_ties(ties: str) -> str:
    """`ties` itself; ValueError unless it is one of TIES."""
    if ties not in TIES:
        raise ValueError(f"Ties must be one of {', '.join(TIES)}, not {ties!r}")
    return ties


def saturated(value: Value, bits: int, relu: bool = False) -> Value:
    """A signed value of at least `bits` bits limited to signed(bits), or to its non-negative half with relu."""
    low, high = shape_limits(signed(bits))
    kept = value[:bits].as_signed()
    negative = value[-1]
    if len(value) > bits:
        above = value[bits - 1 : -1]
        kept = Mux(~negative & above.any(), high, kept)
        kept = kept if relu else Mux(negative & ~above.all(), low, kept)
    return Mux(negative, 0, kept) if relu else kept
