"""The last steps of a shared stage: requantization, addition, saturation, for each pixel's beat at once."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from popstream.hw.folding.stage_plan import BEND, StagePlan
from popstream.hw.lib.multiply import Multiplier
from popstream.hw.lib.pipeline import delay
from popstream.hw.lib.table import shape_limits
from popstream.hw.shared.constants import Constants
from popstream.hw.shared.slot import entry_layout, slot_layout
from popstream.hw.shared.streams import StreamMemory

__all__ = ["Finish"]


class Finish(wiring.Component):
    """y = (sum * factor + bias) >> shift; v = saturate(skip + y), with relu max(v, 0), or the sum as it is; with a
    PReLU that of v (rule R12). Codes of v are made in encode.py. The stream memory is here, from which the skip is read
    and into which v is written, and what comes in (enter.py).

    Cycles after a slot's, L of them in a multiplier:

        1      the stream word is read                 2+L  product of sum and factor
        2, 3   its register; pairs of pixels           3+L  y; the skip is ready
        4      means of 2 x 2                          4+L  skip + y
                                                       5+L  v: to memory, or out of the stage
    With a PReLU somewhere, BEND cycles more:

        6+L  v - below          8+L  its product with the slope          9+L  with what is added after    10+L  v

    Parameters
    ----------
    plan, constants : of the stage.

    Members
    -------
    valid : In, `slot` counts. slot : In. sums : In, for each pixel `beat` raw sums, in the cycle of the slot.
    enters : In, bits of stream banks that get `entering` at `enters_at`; none while the same get a v.
    emits : Out, v leaves the stage. v : Out, for each pixel `beat` values. odd : Out, the second half of them counts.
    done, counts, rows : Out, for Encode: v's slot, whether it counts, thresholds.
    fill : In, `data` is the part `fill_part` of the layer's word `fill_word` of constants, or holds it as that part
        (hw.shared.constants).
    """

    def __init__(self, plan: StagePlan, constants: Constants) -> None:
        self.plan = plan
        self.constants = constants
        self.shape = slot_layout(plan, *constants.slot)
        self.bits = plan.value_bits
        share = plan.share
        lanes = share.pixels * share.beat
        super().__init__(
            {
                "valid": In(1), "slot": In(self.shape), "sums": In(lanes * plan.sum_shape.width),
                "enters": In(share.pixels), "enters_at": In(entry_layout(plan)["at"].width),
                "entering": In(plan.entry * plan.chain.source.bits),
                "emits": Out(1), "v": Out(lanes * self.bits), "odd": Out(1),
                "done": Out(self.shape), "counts": Out(1),
                "rows": Out(share.beat * ((1 << plan.made_bits) - 1) * (plan.value_bits + 1)),
                "fill": In(1), "fill_word": In(range(max(2, plan.constant_words))),
                "fill_part": In(range(max(2, constants.parts, constants.shares))),
                "data": In(constants.memory.shape[1]),
            }
        )  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        plan, share = self.plan, self.plan.share
        slots, valids = self._slots(m)
        skips = self._stream(m, slots)
        plain, end = 5 + plan.multiplied, plan.value  # cycles: v without, and with a PReLU
        factors, biases = self._table(m, "factors", slots, 0), self._table(m, "biases", slots, plain - 5)
        used = (("below", -2), ("slopes", -1), ("after", 1)) if plan.bends else ()
        bends = {name: self._table(m, name, slots, plain + at) for name, at in used}
        values: list[Value] = []
        for pixel in range(share.pixels):
            for c in range(share.beat):
                index = pixel * share.beat + c
                name = f"{pixel}_{c}"
                y = self._scaled(m, name, index, factors[c][0], biases[c][0], slots[plain - 3])
                added = Signal(signed(max(self.constants.y_shape.width, self.bits) + 1), name=f"added_{name}")
                m.d.sync += added.eq(skips[index] + y)
                v = Signal(signed(self.bits), name=f"v_{name}")
                made = self._saturated(added, slots[plain - 1])
                if plan.bends:
                    plainly = Signal(signed(self.bits), name=f"plain_{name}")
                    m.d.sync += plainly.eq(made)
                    made = self._bent(m, name, plainly, {key: some[c][0] for key, some in bends.items()}, slots)
                m.d.sync += v.eq(made)
                values.append(v)
        m.d.comb += [
            self.v.eq(Cat(values)), self.emits.eq(valids[end] & slots[end].emit), self.odd.eq(slots[end].odd),
        ]  # fmt: skip
        self._keep(m, slots[end], valids[end], values)
        thresholds = self._table(m, "thresholds", slots, end - 2) if plan.made_bits else []
        m.d.comb += [
            self.done.eq(slots[end]), self.counts.eq(valids[end]), self.rows.eq(Cat(Cat(some) for some in thresholds)),
        ]  # fmt: skip
        return m

    def _slots(self, m: Module) -> tuple[list[Any], list[Value]]:
        """The slot of each later cycle, and whether it counts."""
        slots: list[Any] = [self.slot]
        valids: list[Value] = [self.valid]
        for cycle in range(1, self.plan.value + 1):
            later = Signal(self.shape, name=f"slot{cycle}")
            m.d.sync += later.eq(slots[-1])
            slots.append(later)
            valids.append(delay(m, valids[-1], 1, f"valid{cycle}_"))
        return slots, valids

    def _scaled(self, m: Module, name: str, index: int, factor: Value, bias: Value, slot: Any) -> Signal:
        """y of a sum."""
        total = self.sums.word_select(index, self.plan.sum_shape.width)
        total = total.as_signed() if self.plan.signed else total
        m.submodules[f"product_{name}"] = product = Multiplier(self.plan.sum_shape, self.constants.shapes["factors"])
        m.d.comb += [product.a.eq(delay(m, total, 2, f"sum_{name}_")), product.b.eq(factor), product.en.eq(1)]
        assert product.latency == self.plan.multiplied
        y = Signal(self.constants.y_shape, name=f"y_{name}")
        whole = product.o + bias
        shifts = self.constants.shifts
        m.d.sync += y.eq(
            Array(whole >> shift for shift in shifts)[slot.shift] if len(shifts) > 1 else whole >> shifts[0]
        )
        return y

    def _bent(self, m: Module, name: str, v: Signal, numbers: dict[str, Value], slots: list[Any]) -> Value:
        """The PReLU of v, or v itself, BEND - 1 cycles later."""
        plain, bits = 5 + self.plan.multiplied, self.plan.stream_bits
        distance = Signal(signed(bits + 1), name=f"distance_{name}")
        m.d.sync += distance.eq(v[:bits].as_signed() - numbers["below"])
        m.submodules[f"bend_{name}"] = product = Multiplier(distance.shape(), self.constants.shapes["slopes"])
        m.d.comb += [product.a.eq(distance), product.b.eq(numbers["slopes"]), product.en.eq(1)]
        shifts = self.constants.slope_shifts
        below = [(product.o + (1 << shift - 1)) >> shift for shift in shifts]
        chosen = Array(below)[slots[plain + 3].slope] if len(shifts) > 1 else below[0]
        later = delay(m, distance, product.latency, f"distance_{name}_")
        bent = Signal(signed(max(len(chosen), bits + 1) + 1), name=f"bent_{name}")
        m.d.sync += bent.eq(Mux(later[-1], chosen, later) + numbers["after"])
        assert product.latency + 3 == BEND
        low, high = shape_limits(signed(bits))
        limited = Mux(bent < low, low, Mux(bent > high, high, bent[:bits].as_signed()))
        return Mux(slots[plain + BEND - 1].bend, limited, delay(m, v, BEND - 1, f"plain_{name}_"))

    def _table(self, m: Module, name: str, slots: list[Any], cycle: int) -> list[list[Value]]:
        """A layer's constants of this name, at the address in `cycle`'s slot, two cycles later: by channel and n."""
        at, size = self.constants.fields[name]
        shape, count = self.constants.shapes[name], self.constants.numbers[name].shape[2]
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
            [whole.word_select(c * count + n, shape.width).as_signed() for n in range(count)]
            for c in range(self.plan.share.beat)
        ]

    def _saturated(self, value: Value, slot: Any) -> Value:
        """Within signed(R), and not negative with relu; a sum that goes on as it is has room."""
        bits = self.plan.stream_bits
        whole = value[: self.bits].as_signed()
        if not bits:
            return whole
        low, high = shape_limits(signed(bits))
        above, negative = value[bits - 1 : -1], value[-1]
        least = Mux(slot.relu, 0, Mux(above.all(), value[:bits].as_signed(), low))
        limited = Mux(negative, least, Mux(above.any(), high, value[:bits].as_signed()))
        return Mux(slot.direct, whole, limited) if self.bits > bits else limited

    def _stream(self, m: Module, slots: list[Any]) -> list[Value]:
        """What is added, in cycle 5: the word, or means of 2 x 2 or every second of its pixels, or 0."""
        share, bits = self.plan.share, self.plan.stream_bits
        lanes = range(share.pixels * share.beat)
        stored = self.plan.stream_words or self.plan.own
        sizes = self.shape["read"].width, self.shape["at"].width, len(self.enters_at)
        self.streams = StreamMemory(self.plan, *sizes) if stored else None
        if self.streams is None:
            return [Const(0, signed(1)) for _ in lanes]
        m.submodules.streams = self.streams
        m.d.comb += [
            self.streams.read.eq(slots[0].read), self.streams.own.eq(slots[0].own), self.streams.enters.eq(self.enters),
            self.streams.enters_at.eq(self.enters_at), self.streams.entering.eq(self.entering),
        ]  # fmt: skip
        given = [self.streams.words.word_select(index, bits).as_signed() for index in lanes]
        later = [delay(m, value, 2, f"stream_{index}_") for index, value in enumerate(given)]
        chosen: list[Value] = list(later)
        if self.plan.reduces:
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
        return [delay(m, skip, self.plan.multiplied - 2, f"skip_{index}_") for index, skip in enumerate(skips)]

    def _keep(self, m: Module, slot: Any, valid: Value, values: list[Value]) -> None:
        """v, into memory."""
        if self.streams is not None:
            m.d.comb += [
                self.streams.at.eq(slot.at), self.streams.store.eq(Mux(valid, slot.store, 0)),
                self.streams.v.eq(Cat(value[: self.plan.stream_bits] for value in values)),
            ]  # fmt: skip
