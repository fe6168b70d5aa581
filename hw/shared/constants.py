"""The constants of a shared stage: weights in the order of use; factor, bias and thresholds of each beat's channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Shape, signed, unsigned

from popstream.hw.folding.fold import FoldingError
from popstream.hw.folding.stage_plan import StagePlan, Walk
from popstream.hw.lib.memory import EBR_BITS, block_rams
from popstream.hw.lib.popcount import lane_sums
from popstream.hw.lib.table import range_shape, shape_limits

__all__ = ["Constants", "bits_of", "weights"]

FACTOR_BITS = 18  # of a hardware multiplier's operand
DIRECT = 1  # factor of sums that go to thresholds as they are


def weights(plan: StagePlan) -> np.ndarray:
    """Inverted weight planes, 0 or 1, [words, pe * kernel * slice]; 0 where there is no channel.

    Word by word: layer, group of output channels, plane k, kernel row, slice; in a word: output channel, kernel column,
    input channel.
    """
    share, words = plan.share, []
    for walk in plan.walks:
        q = walk.layer.conv.tensors["weight"]
        out, channels, kernel, _ = q.shape
        planes = ~q[..., None].astype(np.int64) >> np.arange(plan.weight_bits) & 1
        padded = np.zeros(
            (walk.groups * share.pe, walk.slices * share.slice, kernel, kernel, plan.weight_bits), np.uint8
        )
        padded[:out, :channels] = planes
        split = padded.reshape(walk.groups, share.pe, walk.slices, share.slice, kernel, kernel, plan.weight_bits)
        order = split.transpose(0, 6, 4, 2, 1, 5, 3)  # group, k, ky, slice, pe, kx, channel
        words.append(order.reshape(-1, share.pe * kernel * share.slice))
    return np.concatenate(words)


@dataclass(frozen=True)
class _Affine:
    """y = (sum * factor + bias) >> shift of one layer's raw sums; factors and biases by channel."""

    factor: np.ndarray
    bias: np.ndarray
    shift: int
    relu: bool
    rows: np.ndarray  # thresholds by channel

    def scaled(self, shift: int) -> _Affine:
        """The same with a larger shift."""
        by = shift - self.shift
        return _Affine(self.factor << by, self.bias << by, shift, self.relu, self.rows)

    @property
    def most(self) -> int:
        """The largest shift for which the factors fit a multiplier."""
        room = FACTOR_BITS - 1 - int(np.abs(self.factor).max()).bit_length()
        return self.shift + room


class Constants:
    """Tables of a shared stage, by words of `beat` channels, and the memory in which they lie behind the weights.

    A layer's words are read from there before it begins, into a small memory of the stage's last steps (finish.py):
    each takes `parts` words of the weights' width, or, where that saves block RAMs, `shares`
    of them lie in one.

    Attributes
    ----------
    sum_shape : of the raw sums, all layers'. y_shape : of what they become.
    stream_bits : R. code_bits : A.
    factors, biases : int64 [words, beat]. thresholds : int64 [words, beat, 2^A - 1], within signed(R + 1).
    entry : thresholds of the input, alike.
    shifts : the shifts that occur, rising. shift_of : index into them, by layer. relu : by layer.
    counts : words of each layer.
    parts, shares : see above; one of them is 1.
    memory : bits of weights, then constants, [words, bits]: pe * kernel * slice bits, and what room for constants there
        is in the same block RAMs.
    begins : first word of each layer's constants there.
    """

    def __init__(self, plan: StagePlan) -> None:
        self.plan = plan
        beat = plan.share.beat
        layers = plan.layers
        bits = {layer.requant["stream_bits"] for layer in layers if layer.requant}
        if len(bits) > 1:
            raise FoldingError(
                f"Stage of {layers[0].conv.name!r}: all streams must have the same bits, not {sorted(bits)}"
            )
        self.stream_bits = bits.pop()
        self.code_bits = plan.act_bits
        tops = (1 << plan.weight_bits) - 1, (1 << plan.act_bits) - 1
        limits = [lane_sums(self._matrix(walk), *tops) for walk in plan.walks]
        self.sum_shape = unsigned(max(shape.width for shape, _ in limits))
        affine = [self._affine(walk, correction) for walk, (_, correction) in zip(plan.walks, limits, strict=True)]
        self.shifts = self._common_shifts(affine)
        affine = [one.scaled(max(shift for shift in self.shifts if shift <= one.most)) for one in affine]
        self.shift_of = [self.shifts.index(one.shift) for one in affine]
        self.relu = [one.relu for one in affine]
        low, high = shape_limits(signed(self.stream_bits))
        ends = [(one.factor * top + one.bias) >> one.shift for one in affine for top in shape_limits(self.sum_shape)]
        self.y_shape = range_shape(min(-1, *(int(end.min()) for end in ends)), max(int(end.max()) for end in ends))
        never = high + 1
        count = (1 << self.code_bits) - 1
        source = layers[0].threshold.tensors["thresholds"].astype(np.int64)
        self.entry = source.clip(low, never).reshape(-1, beat, count)
        parts = []
        for walk, one in zip(plan.walks, affine, strict=True):
            channels = walk.groups * plan.share.pe
            numbers = np.zeros((channels, 2), np.int64)
            numbers[: len(one.factor), 0], numbers[: len(one.bias), 1] = one.factor, one.bias
            rows = np.full((channels, count), never, np.int64)
            rows[: len(one.rows)] = one.rows.clip(low, never)
            parts.append((numbers.reshape(-1, beat, 2), rows.reshape(-1, beat, count)))
        numbers = np.concatenate([part for part, _ in parts])
        self.factors, self.biases = numbers[..., 0], numbers[..., 1]
        self.thresholds = np.concatenate([part for _, part in parts])
        self.counts = [len(part) for part, _ in parts]
        self._fill(plan)

    def _fill(self, plan: StagePlan) -> None:
        """The memory of weights and constants."""
        planes = weights(plan)
        room = -(-planes.shape[1] // EBR_BITS) * EBR_BITS  # in the block RAMs that the weights take
        self.parts = -(-self.word_bits // room)

        def rams(shares: int) -> int:
            return block_rams(len(planes) + sum(-(-count // shares) * self.parts for count in self.counts), room)

        self.shares = min(range(1, max(1, room // self.word_bits) + 1), key=rams)  # of equal ones the first
        width = max(planes.shape[1], -(-self.word_bits * self.shares // self.parts))
        planes = np.pad(planes, ((0, 0), (0, width - planes.shape[1])))
        rows = np.concatenate(
            [
                bits_of(self.factors, self.factor_shape.width),
                bits_of(self.biases, self.bias_shape.width),
                bits_of(self.thresholds.reshape(len(self.thresholds), -1), self.stream_bits + 1),
            ],
            axis=1,
        )
        self.begins, memory = [], [*planes]
        for layer in np.split(rows, np.cumsum(self.counts)[:-1]):
            self.begins.append(len(memory))
            memory += [*self._lines(layer, width)]
        self.memory = np.stack(memory)

    def _lines(self, words: np.ndarray, width: int) -> np.ndarray:
        """A layer's words of constants, as they lie in words of `width` bits: a layer begins with one of its own."""
        count, bits = words.shape
        lines = -(-count // self.shares)
        words = np.pad(words, ((0, lines * self.shares - count), (0, 0)))
        if self.parts > 1:
            return np.pad(words, ((0, 0), (0, self.parts * width - bits))).reshape(-1, width)
        lined = words.reshape(lines, self.shares * bits)
        return np.pad(lined, ((0, 0), (0, width - lined.shape[1])))

    @property
    def fields(self) -> dict[str, tuple[int, int]]:
        """First bit and bits of factors, biases and thresholds in a word."""
        beat = self.plan.share.beat
        sizes = {
            "factors": beat * self.factor_shape.width,
            "biases": beat * self.bias_shape.width,
            "thresholds": beat * ((1 << self.code_bits) - 1) * (self.stream_bits + 1),
        }
        result, at = {}, 0
        for name, size in sizes.items():
            result[name] = at, size
            at += size
        return result

    @property
    def word_bits(self) -> int:
        return sum(size for _, size in self.fields.values())

    @staticmethod
    def _matrix(walk: Walk) -> np.ndarray:
        weight = walk.layer.conv.tensors["weight"]
        return weight.reshape(len(weight), -1).astype(np.int64)

    def _affine(self, walk: Walk, correction: np.ndarray) -> _Affine:
        plan, layer = self.plan, walk.layer
        count = (1 << plan.act_bits) - 1
        index = plan.layers.index(layer) + 1
        rows = np.full((layer.made[0], count), 1 << self.stream_bits, np.int64)  # none follow
        if index < len(plan.layers):
            rows = plan.layers[index].threshold.tensors["thresholds"].astype(np.int64)
        if layer.requant is None:
            factor = np.full(layer.made[0], DIRECT, np.int64)
            return _Affine(factor, -factor * correction, 0, False, rows)
        shift = layer.requant["shift"]
        factor = layer.requant.tensors["multiplier"].astype(np.int64)
        bias = layer.requant.tensors["bias"].astype(np.int64) + (1 << shift - 1) - factor * correction
        return _Affine(factor, bias, shift, layer.requant["relu"], rows)

    @staticmethod
    def _common_shifts(affine: list[_Affine]) -> list[int]:
        """As few shifts as serve all layers, each of which may take any from its own up to `most`."""
        found: list[int] = []
        for one in sorted(affine, key=lambda one: one.most):
            if not any(one.shift <= shift <= one.most for shift in found):
                found.append(one.most)
        return sorted(found)

    @property
    def factor_shape(self) -> Shape:
        return range_shape(min(-1, int(self.factors.min())), int(self.factors.max()))

    @property
    def bias_shape(self) -> Shape:
        return range_shape(min(-1, int(self.biases.min())), int(self.biases.max()))


def bits_of(numbers: np.ndarray, width: int) -> np.ndarray:
    """Bits of two's complement, lowest first, of numbers [words, n]: uint8 [words, n * width]."""
    return ((numbers[..., None] >> np.arange(width)) & 1).astype(np.uint8).reshape(len(numbers), -1)
