"""Adders in carry chains: several in one, each with a carry input; on an ECP5 also the XOR of two bits as operand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value

from popstream.hw.lib.device import is_ecp5

__all__ = ["And", "Bit", "Number", "Xor", "add_in_chains", "chain_luts", "delayed", "passed", "plain"]

CHAIN_POSITIONS = 16  # most bits of a carry chain: it is placed as one piece, and long ones scatter all else
_LUT_INPUTS = 4


class Xor(NamedTuple):
    """One bit: a XOR b, not yet computed."""

    a: Value
    b: Value


class And(NamedTuple):
    """One bit: a AND b, not yet computed."""

    a: Value
    b: Value


Bit: TypeAlias = Value | Xor | And
Number: TypeAlias = tuple[Sequence[Bit], int]
"""An unsigned number, its lowest bit first, and the greatest value that it may have."""


class _Position(NamedTuple):
    """Two bits to add; `y` is None where the same bit stands on both sides."""

    x: Bit
    y: Bit | None


def plain(bit: Bit) -> Value:
    """The bit as one value."""
    if isinstance(bit, Xor):
        return bit.a ^ bit.b
    return bit.a & bit.b if isinstance(bit, And) else bit


def _inputs(bit: Bit) -> Sequence[Value]:
    return bit if isinstance(bit, tuple) else (bit,)


def delayed(m: Module, bits: Sequence[Bit], name: str) -> list[Bit]:
    """All `bits` a cycle later."""
    register = Signal(sum(len(_inputs(bit)) for bit in bits), name=name)
    m.d.sync += register.eq(Cat(value for bit in bits for value in _inputs(bit)))
    later = iter(register)
    result: list[Bit] = []
    for bit in bits:
        if isinstance(bit, tuple):
            result.append((Xor if isinstance(bit, Xor) else And)(next(later), next(later)))
        else:
            result.append(next(later))
    return result


def passed(m: Module, bits: Sequence[Bit], name: str) -> list[Bit]:
    """All `bits` as they are: in the place of `delayed` where no register follows."""
    return list(bits)


def chains(widths: Sequence[int]) -> list[list[int]]:
    """Adders of operands of `widths` bits, in order, split into as few chains as CHAIN_POSITIONS allows."""
    result: list[list[int]] = []
    for width in widths:
        if not result or sum(result[-1]) + len(result[-1]) + 1 + width > CHAIN_POSITIONS:
            result.append([])
        result[-1].append(width)
    return result


def add_in_chains(
    m: Module,
    adders: Sequence[tuple[Number, Number, Bit | None]],
    name: str,
    platform: Any,
    registered: bool = True,
) -> list[Number]:
    """x + y + carry for each of `adders` (x, y, carry), in as few chains as CHAIN_POSITIONS allows.

    An adder takes the positions of its wider operand and one more before them, for its carry: a bit c on both sides
    adds 2*c, the carry into the next position, and its sum bit is the carry out of the adder before.
    """
    sums: list[Number] = []
    left = iter(adders)
    build = _ccu2c if is_ecp5(platform) else _generic
    for widths in chains([max(len(x), len(y)) for (x, _), (y, _), _ in adders]):
        positions: list[_Position] = []
        places: list[tuple[int, int]] = []  # first position and greatest sum of each adder in the chain
        for width, ((x, x_high), (y, y_high), carry) in zip(widths, left, strict=False):
            positions.append(_Position(Const(0, 1) if carry is None else carry, None))
            places.append((len(positions), x_high + y_high + (carry is not None)))
            zeros = [Const(0, 1)] * width
            both = zip([*x, *zeros][:width], [*y, *zeros][:width], strict=True)
            positions += [_Position(one, other) for one, other in both]
        chain = Signal(len(positions) + 1, name=f"{name}{len(sums)}")
        m.d["sync" if registered else "comb"] += chain.eq(build(m, positions, chain.name))
        sums.extend((list(chain[start : start + high.bit_length()]), high) for start, high in places)
    return sums


def chain_luts(widths: Sequence[int]) -> int:
    """LUT4s that the chains of `add_in_chains` take on an ECP5: cells of two positions, the last for the last carry."""
    return sum(2 * -(-(sum(chain) + len(chain) + 1) // 2) for chain in chains(widths))


def _generic(m: Module, positions: Sequence[_Position], name: str) -> Value:
    left = [plain(x) for x, _ in positions]
    right = [plain(x if y is None else y) for x, y in positions]
    return Cat(left) + Cat(right)


def _ccu2c(m: Module, positions: Sequence[_Position], name: str) -> Value:
    """The same of CCU2C cells, two positions each, which compute what is to be added in the LUT4 before the carry.

    The first position, the same bit on both sides, does not look at the carry into the chain: that is left open, as a
    constant would cost nextpnr a cell to bring in.
    """
    positions = [*positions, _Position(Const(0, 1), None)]  # the last carry is the sum bit of one more position
    total = Signal(len(positions), name=f"{name}_s")
    carry: Value | None = None
    for low in range(0, len(positions), 2):
        ports: dict[str, Any] = {} if carry is None else {"i_CIN": carry}
        for half, position in enumerate(positions[low : low + 2]):
            inputs, init = _lut(position)
            ports |= {f"i_{pin}{half}": value for pin, value in zip("ABCD", inputs, strict=True)}
            ports |= {f"p_INIT{half}": Const(init, 16), f"p_INJECT1_{half}": "NO", f"o_S{half}": total[low + half]}
        if low + 1 == len(positions):
            ports |= {f"i_{pin}1": Const(1, 1) for pin in "ABCD"} | {"p_INIT1": Const(0, 16), "p_INJECT1_1": "NO"}
        if low + 2 < len(positions):
            carry = Signal(name=f"{name}_c{low}")
            ports["o_COUT"] = carry
        m.submodules[f"{name}_{low}"] = Instance("CCU2C", **ports)
    return total


def _lut(position: _Position) -> tuple[list[Value], int]:
    """Inputs A to D of a position's LUT4 and its contents.

    Such a LUT gives the sum bit p = x ^ y (0 for a bit on both sides) to the carry chain, and its first four entries,
    which see A and B alone, the carry g = x that is taken where p is 0. With C and D of 0 both must be served by the
    same entries: there x ^ y = x, as y is the XOR or AND of C and D. Unused inputs are 1, away from those entries.
    """
    x, y = position
    if y is not None and (_is_zero(x) or (isinstance(y, tuple) and not isinstance(x, tuple) and not _is_zero(y))):
        x, y = y, x
    if _is_zero(x):
        return [Const(1, 1)] * _LUT_INPUTS, 0
    one_sided = y is None or _is_zero(y)
    inputs = [*_inputs(x), *(() if one_sided or y is None else _inputs(y))]
    init = 0
    for entry in range(1 << _LUT_INPUTS):
        pins = [entry >> pin & 1 for pin in range(_LUT_INPUTS)]
        one = _value(x, pins)
        other = 0 if one_sided or y is None else _value(y, pins[len(_inputs(x)) :])
        init |= (one if entry < 4 else 0 if y is None else one ^ other) << entry
    return inputs + [Const(1, 1)] * (_LUT_INPUTS - len(inputs)), init


def _is_zero(bit: Bit) -> bool:
    """Whether the bit is the constant 0, which is given no input: one LUT would have to drive them all."""
    return isinstance(bit, Const) and bit.value == 0


def _value(bit: Bit, pins: Sequence[int]) -> int:
    """The bit where its inputs are the first of `pins`."""
    if isinstance(bit, tuple):
        return pins[0] ^ pins[1] if isinstance(bit, Xor) else pins[0] & pins[1]
    return pins[0]
