"""The last steps of a shared stage: requantization, addition, saturation, thresholds, for each pixel's beat at once."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import FINISH, StagePlan
from popstream.hw.lib.multiply import Multiplier
from popstream.hw.lib.pipeline import delay
from popstream.hw.lib.table import shape_limits
from popstream.hw.shared.constants import Constants, bits_of
from popstream.hw.shared.slot import slot_layout

__all__ = ["Finish"]


class Finish(wiring.Component):
    """y = (sum * factor + bias) >> shift; v = saturate(skip + y), with relu max(v, 0), or what comes from outside;
    code = #{ j : v >= T[j] }. The stream memory is here, from which the skip is read and into which v is written.

    Cycles after a slot's:

        1      the stream word is read                 4  product of sum and factor
        2, 3   its register; pairs of pixels           5  y; the skip is ready
        4      means of 2 x 2                          6  skip + y
                                                       7  v: to memory, or out of the stage
        8 ..   a threshold's bit of the code a cycle; then the slice's word is whole

    Parameters
    ----------
    plan, constants : of the stage.

    Attributes
    ----------
    takes : cycles from a slot to the one in which the input's beat is taken.
    latency : cycles from a slot to the one in which its codes are written.

    Members
    -------
    valid : In, `slot` counts. slot : In. sums : In, for each pixel `beat` raw sums, in the cycle of the slot.
    i : In, `beat` values from outside. take : Out, they are used in this cycle.
    emits : Out, v leaves the stage. v : Out, for each pixel `beat` values.
    write : Out, bits of code banks. address, words : Out, see CodeMemory.
    fill : In, `data` is the part `fill_part` of the layer's word `fill_word` of constants, or holds it as that part
        (hw.shared.constants).
    """

    takes = 6

    def __init__(self, plan: StagePlan, constants: Constants) -> None:
        self.plan = plan
        self.constants = constants
        self.shape = slot_layout(plan, len(constants.shifts))
        self.bits = constants.stream_bits
        self.latency = FINISH + plan.act_bits
        lanes = plan.share.pixels * plan.share.beat
        word = plan.share.slice * plan.act_bits
        super().__init__(
            {
                "valid": In(1), "slot": In(self.shape), "sums": In(lanes * constants.sum_shape.width),
                "i": In(plan.share.beat * self.bits), "take": Out(1), "emits": Out(1), "v": Out(lanes * self.bits),
                "write": Out(plan.banks), "address": Out(len(Signal(self.shape).code)),
                "words": Out(plan.share.pixels * word),
                "fill": In(1), "fill_word": In(range(max(2, *constants.counts))),
                "fill_part": In(range(max(2, constants.parts, constants.shares))),
                "data": In(constants.memory.shape[1]),
            }
        )  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        share = self.plan.share
        slots = self._slots(m)
        valids = [self.valid]
        for cycle in range(1, self.latency + 1):
            valids.append(delay(m, valids[-1], 1, f"valid{cycle}_"))
        skips = self._stream(m, slots)
        m.d.comb += [
            self.take.eq(valids[self.takes] & slots[self.takes].load),
            self.emits.eq(valids[7] & slots[7].emit),
        ]
        factors, biases = self._table(m, "factors", slots, 0, 1), self._table(m, "biases", slots, 2, 1)
        values: list[Signal] = []
        for pixel in range(share.pixels):
            for c in range(share.beat):
                index = pixel * share.beat + c
                name = f"{pixel}_{c}"
                total = self.sums.word_select(index, self.constants.sum_shape.width)
                m.submodules[f"product_{name}"] = product = Multiplier(
                    self.constants.sum_shape, self.constants.factor_shape
                )
                m.d.comb += [
                    product.a.eq(delay(m, total, 2, f"sum_{name}_")),
                    product.b.eq(factors[c][0]),
                    product.en.eq(1),
                ]
                assert product.latency == 2
                y = Signal(self.constants.y_shape, name=f"y_{name}")
                whole = product.o + biases[c][0]
                shifts = self.constants.shifts
                m.d.sync += y.eq(
                    Array(whole >> shift for shift in shifts)[slots[4].shift] if len(shifts) > 1 else whole >> shifts[0]
                )
                added = Signal(signed(max(self.constants.y_shape.width, self.bits) + 1), name=f"added_{name}")
                m.d.sync += added.eq(skips[index] + y)
                v = Signal(signed(self.bits), name=f"v_{name}")
                outside = self.i.word_select(c, self.bits).as_signed()
                m.d.sync += v.eq(Mux(slots[6].load, outside, self._saturated(added, slots[6].relu)))
                values.append(v)
        m.d.comb += self.v.eq(Cat(values))
        self._keep(m, slots, valids, values)
        self._codes(m, slots, valids, values)
        return m

    def _slots(self, m: Module) -> list[Any]:
        """The slot of each later cycle."""
        slots = [self.slot]
        for cycle in range(1, self.latency + 1):
            later = Signal(self.shape, name=f"slot{cycle}")
            m.d.sync += later.eq(slots[-1])
            slots.append(later)
        return slots

    def _table(self, m: Module, name: str, slots: list[Any], cycle: int, count: int) -> list[list[Value]]:
        """A layer's constants of this name, at the address in `cycle`'s slot, two cycles later: by channel and n."""
        at, size = self.constants.fields[name]
        width = size // (self.plan.share.beat * count)
        shares, bits = self.constants.shares, self.constants.word_bits
        data = Array(self.data.word_select(n, bits) for n in range(shares))[self.fill_part] if shares > 1 else self.data
        line = bits if shares > 1 else len(self.data)
        read: list[Value] = []
        for part in range(at // line, -(-(at + size) // line)):
            low, high = max(at, part * line), min(at + size, (part + 1) * line)
            memory = Memory(shape=unsigned(high - low), depth=self.plan.constant_words, init=[])
            m.submodules[f"{name}{part}"] = memory
            write, port = memory.write_port(), memory.read_port(domain="comb")
            word = Signal(high - low, name=f"{name}{part}_word")
            m.d.comb += [
                write.addr.eq(self.fill_word),
                write.data.eq(Value.cast(data)[low - part * line : high - part * line]),
                write.en.eq(self.fill & (Const(1) if shares > 1 else self.fill_part == part)),
                port.addr.eq(slots[cycle + 1].constant),
            ]
            m.d.sync += word.eq(port.data)
            read.append(word)
        whole = Signal(size, name=f"{name}_whole")
        m.d.comb += whole.eq(Cat(read))
        return [
            [whole.word_select(c * count + n, width).as_signed() for n in range(count)]
            for c in range(self.plan.share.beat)
        ]

    def _entry(self, m: Module, slot: Any) -> list[list[Value]]:
        """The input's thresholds at the slot's address, two cycles later."""
        words, beat, count = self.constants.entry.shape
        width = self.bits + 1
        init = [
            sum(int(bit) << at for at, bit in enumerate(row))
            for row in bits_of(self.constants.entry.reshape(words, -1), width)
        ]
        memory = Memory(shape=unsigned(beat * count * width), depth=words, init=init, attrs={"rom_style": "logic"})
        m.submodules.entry = memory
        port = memory.read_port(domain="comb")
        place = delay(m, slot.constant, 1, "entry_place")
        m.d.comb += port.addr.eq(place)
        word = Signal(len(port.data), name="entry_word")
        m.d.sync += word.eq(port.data)
        return [[word.word_select(c * count + n, width).as_signed() for n in range(count)] for c in range(beat)]

    def _saturated(self, value: Value, relu: Value) -> Value:
        """Within signed(R), and not negative with relu."""
        low, high = shape_limits(signed(self.bits))
        above, negative = value[self.bits - 1 : -1], value[-1]
        least = Mux(relu, 0, Mux(above.all(), value[: self.bits].as_signed(), low))
        return Mux(negative, least, Mux(above.any(), high, value[: self.bits].as_signed()))

    def _stream(self, m: Module, slots: list[Any]) -> list[Value]:
        """What is added, in cycle 5: the word, or means of 2 x 2 or every second of its pixels, or 0."""
        share, bits = self.plan.share, self.bits
        lanes = range(share.pixels * share.beat)
        self.memories = []
        given: list[Value] = []
        for bank in range(share.pixels):
            m.submodules[f"stream{bank}"] = memory = Memory(
                shape=unsigned(share.beat * bits), depth=max(1, self.plan.stream_words), init=[],
                attrs={"no_rw_check": 1, "ram_style": "block"},
            )  # fmt: skip
            port = memory.read_port()
            self.memories.append(memory)
            word = Signal(share.beat * bits, name=f"stream_word{bank}")
            m.d.comb += port.addr.eq(slots[0].read)
            m.d.sync += word.eq(port.data)
            given += [word.word_select(c, bits).as_signed() for c in range(share.beat)]
        later = [delay(m, value, 2, f"stream_{index}_") for index, value in enumerate(given)]
        chosen: list[Value] = list(later)
        if any(walk.slow or (walk.layer.conv["stride"] == 2) for walk in self.plan.walks):
            half = share.pixels // 2
            means: list[Value] = []
            for pixel in range(half):
                for c in range(share.beat):
                    pair = Signal(signed(bits + 1), name=f"pair_{pixel}_{c}")
                    m.d.sync += pair.eq(given[2 * pixel * share.beat + c] + given[(2 * pixel + 1) * share.beat + c])
                    four = Signal(signed(bits + 2), name=f"four_{pixel}_{c}")
                    m.d.sync += four.eq(pair + delay(m, pair, 1, f"pair_{pixel}_{c}_before"))
                    means.append((four + 2) >> 2)
            for index in lanes:
                pixel, c = index // share.beat % max(1, half), index % share.beat
                second = later[2 * pixel * share.beat + c]
                mean = means[pixel * share.beat + c]
                chosen[index] = Mux(slots[4].average, mean, Mux(slots[4].reduce, second, later[index]))
        skips = []
        for index in lanes:
            skip = Signal(signed(bits), name=f"skip_{index}")
            m.d.sync += skip.eq(Mux(slots[4].add, chosen[index], 0))
            skips.append(skip)
        self.kept = [delay(m, skip, 2, f"kept_{index}_") for index, skip in enumerate(skips)]
        adds = Signal(name="adds")
        m.d.sync += adds.eq(~slots[4].keep)
        return [Mux(adds, skip, 0) for skip in skips]

    def _keep(self, m: Module, slots: list[Any], valids: list[Value], values: list[Signal]) -> None:
        """Into memory: v, or a skip for a later layer."""
        share = self.plan.share
        keeps = any(walk.layer.kept for walk in self.plan.walks)
        for bank, memory in enumerate(self.memories):
            port = memory.write_port()
            own = range(bank * share.beat, (bank + 1) * share.beat)
            data = (
                Cat(Mux(slots[7].keep, self.kept[index], values[index])[: self.bits] for index in own)
                if keeps
                else (Cat(values[index] for index in own))
            )
            m.d.comb += [
                port.addr.eq(slots[7].at), port.data.eq(data), port.en.eq(valids[7] & slots[7].store[bank])
            ]  # fmt: skip

    def _codes(self, m: Module, slots: list[Any], valids: list[Value], values: list[Signal]) -> None:
        """Codes bit by bit, the highest first, each comparison with the threshold that the bits before it choose."""
        share, bits = self.plan.share, self.plan.act_bits
        count = (1 << bits) - 1
        alone, entry = self._table(m, "thresholds", slots, 5, count), self._entry(m, slots[5])
        rows: list[list[Value]] = []
        for some, others in zip(alone, entry, strict=True):
            rows.append([Mux(slots[7].load, other, one) for one, other in zip(some, others, strict=True)])
        known = [Signal(0, name=f"none{index}") for index in range(len(values))]
        later: list[Value] = list(values)
        for level in range(bits):
            step = 1 << (bits - level)
            for index in range(len(values)):
                c = index % share.beat
                choice = Array(rows[c][(prefix * step) + step // 2 - 1] for prefix in range(1 << level))
                bit = later[index] >= (choice[known[index]] if level else choice[0])
                code = Signal(level + 1, name=f"code{level}_{index}")
                m.d.sync += code.eq(Cat(bit, known[index]))
                known[index] = code
            if level < bits - 1:
                later = [delay(m, value, 1, f"value{level}_{index}_") for index, value in enumerate(later)]
                rows = [
                    [delay(m, row, 1, f"row{level}_{c}_{n}_") for n, row in enumerate(some)]
                    for c, some in enumerate(rows)
                ]
        at = 7 + bits
        slot = slots[at]
        parts = share.slice // share.beat
        size = share.beat * bits
        words = []
        for name, pixels, load in (("own", share.pixels, 0), ("load", 1, 1)):
            some = []
            for pixel in range(pixels):
                word = Signal(share.slice * bits, name=f"{name}_word{pixel}")
                beat = Cat(known[pixel * share.beat : (pixel + 1) * share.beat])
                with m.If(valids[at] & (slot.load == load)):
                    for part in range(parts):
                        target = word[part * size : (part + 1) * size]
                        with m.If(slot.part == part):
                            m.d.sync += target.eq(beat)
                        with m.Elif(slot.fresh):
                            m.d.sync += target.eq(0)
                some.append(word)
            words.append(some)
        own_words, load_words = words
        last = slots[self.latency]
        m.d.comb += [
            self.write.eq(Mux(valids[self.latency] & last.whole, last.banks, 0)),
            self.address.eq(last.code),
            self.words.eq(Mux(last.load, Cat(load_words).replicate(share.pixels), Cat(own_words))),
        ]
