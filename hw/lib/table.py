"""Constant table with a registered read: thresholds, multipliers and biases of one lane, one entry a channel group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Module, Shape, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

LOGIC_DEPTH = 64
"""Deepest weight memory that `storage="auto"` builds from LUTs; 64 entries take about 9 LUT4 a bit, multiplexers
included."""

TABLE_DEPTH = 32
"""Deepest table of constants that `storage="auto"` builds from LUTs: 16 entries take one LUT4 a bit, 32 about 3."""

STORAGES = ("auto", "logic", "registered", "block", "reload")
"""Kinds of memory. "registered" is "logic" whose words have a register of their own, even where few words could be part
of the gates that read them (hw.unit.weights). "reload" is block RAM whose content may be exchanged in a finished
bitstream: widths are those of the format, not of the values, and `guarded` keeps synthesis from building what it knows
of the values."""

RELOAD_MULTIPLIER = signed(18)
"""Shape of the multipliers and slopes of storage "reload": what one hardware multiplier takes."""


def guarded(words: Iterable[int], width: int) -> list[int]:
    """`words` with one of zeros and one of ones behind them, which nothing reads: no bit of the memory is constant."""
    return [*words, 0, (1 << width) - 1]


def checked_storage(storage: str) -> str:
    """`storage` itself; ValueError unless it is one of STORAGES."""
    if storage not in STORAGES:
        raise ValueError(f"Storage must be one of {', '.join(STORAGES)}, not {storage!r}")
    return storage


def range_shape(low: int, high: int) -> Shape:
    """Smallest shape that holds every integer in [low, high], unsigned unless `low` is negative; at least 1 bit."""
    shape = Shape.cast(range(low, high + 1))
    return Shape(max(shape.width, 1), shape.signed)


def shape_limits(shape: Shape) -> tuple[int, int]:
    """Lowest and highest integer that `shape` holds."""
    if shape.signed:
        return -(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1
    return 0, (1 << shape.width) - 1


def lane_values(values: Any, lanes: int, lane: int) -> list[int]:
    """Entries of one lane, in the order of the channel groups, out of a list with one entry a channel."""
    return [int(value) for value in values[lane::lanes]]


def group_entries(rows: Any, storage: str) -> list[int]:
    """The table of a lane with `rows` of entries [groups, n], one for each channel group: one row if all agree, unless
    other ones may be put into its place.
    """
    once = (rows == rows[0]).all() and storage != "reload"
    return [int(entry) for entry in (rows[:1] if once else rows).ravel()]


class Table(wiring.Component):
    """Read-only table: o = values[address], `latency` cycles with `en` high ago; one read a cycle.

    Block RAM is slow to give its data (5.6 ns on an ECP5), so that they go into a register first. A table whose entries
    are all equal is a constant and takes no logic at all, unless it is to be reloaded.

    Parameters
    ----------
    values : the entries, at least one.
    storage : "logic" (LUTs), "block" (block RAM), "auto" (logic up to TABLE_DEPTH entries) or "reload" (STORAGES).
    shape : of an entry; by default the smallest that holds all entries.

    Attributes
    ----------
    block : whether it is in block RAM.
    latency : 1, in block RAM 2.

    Members
    -------
    address : In, unsigned, below the number of entries.
    en : In, 1 bit.
    o : Out(shape).

    Raises
    ------
    ValueError : for no entries, a storage that does not exist, or entries that the shape does not hold.
    """

    def __init__(self, values: Iterable[int], storage: str = "auto", shape: Shape | None = None):
        self.values = tuple(int(value) for value in values)
        if not self.values:
            raise ValueError("A table must have at least one entry")
        self.storage = checked_storage(storage)
        self.constant = len(set(self.values)) == 1 and storage != "reload"
        self.block = self.in_block(len(self.values), storage)
        self.latency = self.latency_of(len(self.values), storage)
        self.shape = range_shape(min(self.values), max(self.values)) if shape is None else shape
        low, high = shape_limits(self.shape)
        if min(self.values) < low or max(self.values) > high:
            given = f"{min(self.values)} .. {max(self.values)}"
            raise ValueError(f"Entries must be {low} .. {high} to fit {self.shape}, not {given}")
        super().__init__({"address": In(range(len(self.values))), "en": In(1), "o": Out(self.shape)})

    @staticmethod
    def in_block(entries: int, storage: str = "auto") -> bool:
        """Whether a table of so many entries is in block RAM."""
        return storage in ("block", "reload") or (storage == "auto" and entries > TABLE_DEPTH)

    @classmethod
    def latency_of(cls, entries: int, storage: str = "auto") -> int:
        """Latency of a table of so many entries."""
        return 2 if cls.in_block(entries, storage) else 1

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self.constant:
            m.d.comb += self.o.eq(Const(self.values[0], self.shape))
            return m
        width = self.shape.width
        words = [value & (1 << width) - 1 for value in self.values]
        words = guarded(words, width) if self.storage == "reload" else words
        style = {"rom_style": "block" if self.block else "logic"}
        m.submodules.rom = rom = Memory(shape=unsigned(width), depth=len(words), init=words, attrs=style)
        port = rom.read_port()
        m.d.comb += [port.addr.eq(self.address), port.en.eq(self.en)]
        if self.block:
            with m.If(self.en):
                m.d.sync += self.o.eq(port.data)
        else:
            m.d.comb += self.o.eq(port.data)
        return m


class TablePair(wiring.Component):
    """Two read-only tables in one block RAM, on a port each: o<k> = tables[k][address<k>], 2 cycles with `en` high ago.

    Parameters
    ----------
    first, second : the entries of each, at least one.

    Members
    -------
    address0, address1 : In, unsigned, below the number of entries.
    en : In, 1 bit.
    o0, o1 : Out, the smallest shape that holds all entries of both (attribute `shape`).

    Raises
    ------
    ValueError : for no entries.
    """

    latency = 2
    WIDTH, DEPTH = 18, 1024  # of a block RAM of 18 kbit with two ports

    @staticmethod
    def form(first: Sequence[int], second: Sequence[int]) -> tuple[Shape, int]:
        """Shape of all entries, and the place of the second table: the next power of two."""
        entries = (*first, *second)
        return range_shape(min(entries), max(entries)), 1 << (max(len(first), len(second)) - 1).bit_length()

    @classmethod
    def pays(cls, first: Sequence[int], second: Sequence[int]) -> bool:
        """Whether one block RAM holds both."""
        shape, size = cls.form(first, second)
        return shape.width <= cls.WIDTH and 2 * size <= cls.DEPTH

    def __init__(self, first: Iterable[int], second: Iterable[int]):
        self.tables = tuple(tuple(int(value) for value in values) for values in (first, second))
        if not all(self.tables):
            raise ValueError("A table must have at least one entry")
        self.shape, self.size = self.form(*self.tables)
        members = {"en": In(1)}
        for index, table in enumerate(self.tables):
            members |= {f"address{index}": In(range(len(table))), f"o{index}": Out(self.shape)}
        super().__init__(members)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        first, second = self.tables
        m.submodules.rom = rom = Memory(
            shape=self.shape,
            depth=self.size + len(second),
            init=first + (0,) * (self.size - len(first)) + second,
            attrs={"rom_style": "block"},
        )
        for index, (address, o) in enumerate(((self.address0, self.o0), (self.address1, self.o1))):
            port = rom.read_port()
            place = Signal((self.size - 1).bit_length(), name=f"place{index}")
            m.d.comb += [place.eq(address), port.addr.eq(Cat(place, Const(index, 1))), port.en.eq(self.en)]
            with m.If(self.en):
                m.d.sync += o.eq(port.data)
        return m
