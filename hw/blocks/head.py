"""The network's head: global average pooling, and the logits with their argmax."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Shape, ShapeLike, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from popstream.hw.lib.accumulate import PartialSums
from popstream.hw.lib.pipeline import delay, next_of
from popstream.hw.lib.rounding import checked_ties
from popstream.hw.lib.skid import LastStage
from popstream.hw.lib.stream import connect, value_layout
from popstream.hw.lib.table import Table, checked_storage, range_shape, shape_limits

LOGIT_BITS = 32
LABEL_BITS = 8
RAISED = 3
"""The shift of a Pool in a bitstream is at most so much above its network's."""


class Pool(wiring.Component):
    """code = clip((sum over all pixels + (2^(s-1) if s else 0)) >> s, 0, 2^A-1), for every channel (rule R10).

    One word of `lanes` sums a channel group, in a memory. One beat a cycle in; the codes of an image come out with its
    last pixel, `latency` (3, with the sums in block RAM 4) cycles after each beat.

    Parameters
    ----------
    channels, pixels : C and H*W of the input, each at least 1.
    shape : of the input: signed(R) of a stream, R 2 to 16, or unsigned codes of 1 to 8 bits.
    bits : A, 1 to 8.
    shift : s, not negative.
    lanes : channels a beat on both sides, a divisor of C.
    ties : "up", or "even": a half then goes to the even neighbour (rule R25).
    raised : the shift that is built, where s may be exchanged in a finished bitstream (hw.lib.table.STORAGES) for any
        up to RAISED below: a memory holds by how much.

    Members
    -------
    i : In, stream of `lanes` values of `shape`.
    o : Out, stream of `lanes` unsigned codes of A bits, C/lanes beats an image.

    Raises
    ------
    ValueError : for a parameter outside of these ranges.
    """

    def __init__(
        self, channels: int, pixels: int, shape: ShapeLike, bits: int, shift: int, lanes: int, ties: str = "up",
        raised: int | None = None,
    ):  # fmt: skip
        self.shape = Shape.cast(shape)
        if channels < 1 or pixels < 1:
            raise ValueError(f"Channels and pixels must be at least 1, not {channels} and {pixels}")
        least, most = (2, 16) if self.shape.signed else (1, 8)
        if not least <= self.shape.width <= most:
            what = "Stream" if self.shape.signed else "Code"
            raise ValueError(f"{what} bits must be {least} to {most}, not {self.shape.width}")
        if not 1 <= bits <= 8:
            raise ValueError(f"Bits must be 1 to 8, not {bits}")
        if shift < 0:
            raise ValueError(f"Shift must not be negative, not {shift}")
        if lanes < 1 or channels % lanes:
            raise ValueError(f"Lanes must divide the {channels} channels, not be {lanes}")
        self.even = checked_ties(ties) == "even"
        self.channels = channels
        self.pixels = pixels
        self.bits = bits
        self.up = None if raised is None else raised - shift
        if self.up is not None and not 0 <= self.up <= RAISED:
            raise ValueError(f"The shift that is built must be {shift} to {shift + RAISED}, not {raised}")
        self.shift = shift if raised is None else raised
        self.lanes = lanes
        groups, half = channels // lanes, 1 << (self.shift - 1) if self.shift else 0
        wide = Shape(self.shape.width + (0 if raised is None else RAISED), self.shape.signed)
        self._sums = (wide, lanes, groups, pixels, half, groups)
        self.latency = PartialSums.latency_of(*self._sums) + 1
        super().__init__(
            {
                "i": In(stream.Signature(value_layout(self.shape, lanes))),
                "o": Out(stream.Signature(value_layout(unsigned(bits), lanes))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        groups = self.channels // self.lanes
        group = Signal(range(groups))
        pixel = Signal(range(self.pixels))
        m.submodules.sums = sums = PartialSums(*self._sums)
        m.submodules.last = last = LastStage(self.o.payload.shape())
        connect(m, last.o, self.o)
        known, values = self._enter(m, sums.i.payload.values)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += group.eq(next_of(group, groups))
            with m.If(group == groups - 1):
                m.d.sync += pixel.eq(next_of(pixel, self.pixels))
        m.d.comb += [
            sums.i.valid.eq(self.i.valid & known),
            self.i.ready.eq(sums.i.ready & known),
            *values,
            sums.i.payload.address.eq(group),
            sums.i.payload.first.eq(pixel == 0),
            sums.i.payload.last.eq(pixel == self.pixels - 1),
            last.i.valid.eq(sums.o.valid),
            sums.o.ready.eq(last.i.ready),
        ]
        self._average(m, sums, last)
        return m

    def _enter(self, m: Module, values: Any) -> tuple[Value, list[Any]]:
        """The values as they are, or moved up to the shift that is built, once it is known by how much."""
        if self.up is None:
            return Const(1, 1), [values.eq(self.i.payload)]
        m.submodules.up = up = Table([self.up], "reload", unsigned(RAISED.bit_length()))
        m.d.comb += up.en.eq(1)
        known = delay(m, Const(1, 1), up.latency, "known")
        return known, [values[lane].eq(self.i.payload[lane] << up.o) for lane in range(self.lanes)]

    def _average(self, m: Module, sums: PartialSums, last: LastStage) -> None:
        """Codes of the sums."""
        for lane in range(self.lanes):
            average = Signal(sums.sum_shape, name=f"average_{lane}")
            above = Signal(name=f"above_{lane}")
            kept: Value = average
            if self.even and self.shift:  # the sum of a half has nothing but zeros below
                kept = Cat(average[0] & sums.o.payload[lane][: self.shift].any(), average[1:])
            m.d.comb += [
                average.eq(sums.o.payload[lane] >> self.shift),
                above.eq(average[self.bits :].any()),
                last.i.payload[lane].eq(Mux(average < 0, 0, Mux(above, (1 << self.bits) - 1, kept))),
            ]


class Classifier(wiring.Component):
    """logit[c] = acc[c] + bias[c] ; label = the index of the largest logit, the lowest of them among equals.

    Takes one class a cycle whatever the number of lanes, with one adder and one comparator in all: an image lasts O
    cycles and waits in the output until it is taken. Latency from the last beat (attribute `latency`) 3 cycles, with
    biases in block RAM 4.

    Parameters
    ----------
    bias : integers [O], 1 <= O <= 256. A constant offset of the raw accumulator is folded in by the caller: bias -
        correction.
    acc_shape : shape of the accumulators, signed or unsigned; acc + bias must fit 32 bits for the values that occur.
    lanes : classes a beat, a divisor of O.
    storage : of the biases, see `hw.lib.table.Table`.

    Members
    -------
    i : In, stream of `lanes` values of `acc_shape`.
    o : Out, stream of {"label": unsigned(8), "logits": O values signed(32)}, one beat an image.

    Raises
    ------
    ValueError : for a parameter outside of these ranges.
    """

    def __init__(self, bias: Any, acc_shape: ShapeLike, lanes: int, storage: str = "auto"):
        self.bias = np.array(bias, dtype=np.int64)
        if self.bias.ndim != 1 or not 1 <= self.bias.size <= 1 << LABEL_BITS:
            raise ValueError(f"Bias must have the shape [classes], 1 to 256 classes, not {list(self.bias.shape)}")
        self.classes = int(self.bias.size)
        if lanes < 1 or self.classes % lanes:
            raise ValueError(f"Lanes must divide the {self.classes} classes, not be {lanes}")
        self.acc_shape = Shape.cast(acc_shape)
        self.lanes = lanes
        self.storage = checked_storage(storage)
        self._read = Table.latency_of(self.classes, storage)
        self.latency = self._read + 2
        low, high = shape_limits(self.acc_shape)
        needed = range_shape(low + int(self.bias.min()), high + int(self.bias.max()))
        width = LOGIT_BITS if storage == "reload" else min(needed.width + (not needed.signed), LOGIT_BITS)
        self.logit_shape = signed(width)
        logits = data.ArrayLayout(signed(LOGIT_BITS), self.classes)
        super().__init__(
            {
                "i": In(stream.Signature(value_layout(self.acc_shape, lanes))),
                "o": Out(stream.Signature(data.StructLayout({"label": LABEL_BITS, "logits": logits}))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        index = Signal(range(self.classes))  # class of the lane that is looked at
        lane = Signal(range(self.lanes))
        full = Signal()  # the whole image is on its way
        step = Signal()
        m.d.comb += [step.eq(self.i.valid & ~full), self.i.ready.eq((lane == self.lanes - 1) & ~full)]
        top = 1 << (LOGIT_BITS - 1)  # sums are taken modulo 2^32, so a bias may be
        reload = self.storage == "reload"
        entries = (self.bias + top) % (2 * top) - top if reload else self.bias
        m.submodules.bias = bias = Table(entries, self.storage, self.logit_shape if reload else None)
        m.d.comb += [bias.address.eq(index), bias.en.eq(1)]
        with m.If(step):
            m.d.sync += [index.eq(index + 1), lane.eq(lane + 1)]
            with m.If(lane == self.lanes - 1):
                m.d.sync += lane.eq(0)
            with m.If(index == self.classes - 1):
                m.d.sync += [index.eq(0), full.eq(1)]

        # The logits stand in a shift register, the newest last: class c at c once all are in.
        logits = [Signal(self.logit_shape, name=f"logit_{c}", reset_less=True) for c in range(self.classes)]
        valid = delay(m, step, self._read, "valid")
        acc = delay(m, self.i.payload[lane], self._read, "acc")
        place = delay(m, index, self._read + 1, "place")
        summed = delay(m, valid, 1, "summed")
        with m.If(valid):
            m.d.sync += logits[-1].eq(acc + bias.o)
            m.d.sync += [older.eq(newer) for older, newer in pairwise(logits)]
        best = Signal(self.logit_shape, reset_less=True)
        label = Signal(range(self.classes))
        with m.If(summed):
            with m.If((place == 0) | (logits[-1] > best)):
                m.d.sync += [best.eq(logits[-1]), label.eq(place)]
            with m.If(place == self.classes - 1):
                m.d.sync += self.o.valid.eq(1)
        m.d.comb += self.o.payload.label.eq(label)
        m.d.comb += [self.o.payload.logits[c].eq(logit) for c, logit in enumerate(logits)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(0), full.eq(0)]
        return m
