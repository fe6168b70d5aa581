"""A choice among values by an address, within the cycle."""

from amaranth.hdl import Mux, Value

__all__ = ["multiplex"]


def multiplex(address: Value, values: list[Value]) -> Value:
    """values[address] as a tree of multiplexers; addresses beyond the last give any of them."""
    if len(values) == 1:
        return values[0]
    pairs = [Mux(address[0], *values[k : k + 2][::-1]) for k in range(0, len(values) - 1, 2)]
    return multiplex(address[1:], pairs + values[2 * len(pairs) :])
