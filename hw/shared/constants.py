"""The constants of a shared stage: weights in the order of use; numbers and thresholds of each beat's channels."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Shape, signed

from popstream.hw.folding.fold import FoldingError
from popstream.hw.folding.stage_plan import StagePlan
from popstream.hw.folding.walk import Walk
from popstream.hw.lib.memory import EBR_BITS, EBR_WORDS, block_rams
from popstream.hw.lib.table import RELOAD_MULTIPLIER, range_shape, shape_limits
from popstream.hw.shared.affine import Affine, affine_of, bend_of, common_shifts, scaled
from popstream.model.manifest import node_weights

__all__ = ["Constants", "bits_of", "weights"]


def weights(plan: StagePlan) -> np.ndarray:
    """Weight planes, 0 or 1, [words, pe * kernel * slice]; 0 where there is no channel.

    Those of odd weights are inverted (XnorTerm), all are as they are with lanes for signed weights (AndTerm).
    Word by word: layer, group of output channels, plane k, kernel row, slice; in a word: output channel, column of the
    largest kernel, input channel.
    """
    words = [_planes(plan, walk) for walk in plan.walks if walk.layer.conv is not None]
    return np.concatenate(words)


def _planes(plan: StagePlan, walk: Walk) -> np.ndarray:
    share, conv, bits = plan.share, walk.layer.conv, walk.bits[0]
    assert conv is not None
    q = node_weights(conv) if plan.signed else ~conv.tensors["weight"].astype(np.int64)
    out, channels, kernel, _ = q.shape
    aside = (plan.kernel - kernel) // 2
    padded = np.zeros((walk.groups * share.pe, walk.slices * share.slice, kernel, plan.kernel, bits), np.uint8)
    padded[:out, :channels, :, aside : aside + kernel] = q[..., None] >> np.arange(bits) & 1
    split = padded.reshape(walk.groups, share.pe, walk.slices, share.slice, kernel, plan.kernel, bits)
    order = split.transpose(0, 6, 4, 2, 1, 5, 3)  # group, k, ky, slice, pe, kx, channel
    return order.reshape(-1, share.pe * plan.kernel * share.slice)


class Constants:
    """Tables of a shared stage, by words of `beat` channels, and the memory in which they lie behind the weights.

    A layer's words are read from there before it begins, into a small memory of the stage's last steps (finish.py):
    each takes `parts` words of the weights' width, or, where that saves block RAMs, `shares`
    of them lie in one.

    Attributes
    ----------
    y_shape : of what raw sums become.
    numbers : int64 [words, beat, n] by name: factors, biases, thresholds (2^A - 1 of them, within signed(V + 1)), and
        with a PReLU below, slopes and after. shapes : of them.
    entry : thresholds of the input, alike; None where it has none.
    shifts, slope_shifts : those that occur, rising. shift_of, slope_shift_of : index into them, by layer.
    counts : words of each layer.
    parts, shares : see above; one of them is 1.
    memory : bits of weights, then constants, [words, bits]: pe * kernel * slice bits, and what room for constants there
        is in the same block RAMs.
    begins : first word of each layer's constants there.
    """

    def __init__(self, plan: StagePlan) -> None:
        self.plan = plan
        affine, self.shifts = self._scaled("shifts of requants", [affine_of(walk, plan.signed) for walk in plan.walks])
        self.shift_of = [self.shifts.index(one.shift) for one in affine]
        bends = [bend_of(walk) for walk in plan.walks]
        bent, self.slope_shifts = self._scaled("shifts of PReLUs", [bend for bend in bends if bend])
        left = iter(bent)
        bends = [bend and next(left) for bend in bends]
        self.slope_shift_of = [self.slope_shifts.index(bend.shift) if bend else 0 for bend in bends]
        self.numbers = {
            "factors": self._words([one.factor for one in affine]),
            "biases": self._words([one.bias for one in affine]),
            "thresholds": self._thresholds(),
        }
        if plan.bends:
            nodes = [walk.layer.prelu for walk in plan.walks]
            below, after = ([node.tensors[key] if node else 0 for node in nodes] for key in ("shift_in", "shift_out"))
            self.numbers |= {
                "below": self._words(below),
                "slopes": self._words([bend.factor if bend else 0 for bend in bends]),
                "after": self._words(after),
            }
        self.shapes = {name: self._shape(name) for name in self.numbers}
        self.y_shape = self._y_shape(affine)
        self.counts = [walk.groups * walk.beats for walk in plan.walks]
        self.entry = None
        if plan.chain.threshold is not None:
            rows = self._rows(plan.chain.threshold.tensors["thresholds"])
            self.entry = rows.reshape(-1, plan.share.beat, rows.shape[1])
        self._fill(plan)

    @property
    def slot(self) -> tuple[int, int]:
        """Shifts and slopes' shifts, for slot_layout."""
        return len(self.shifts), len(self.slope_shifts)

    def _scaled(self, what: str, own: list[Affine]) -> tuple[list[Affine], list[int]]:
        """The same with shifts that are common to all, and those: to be reloaded, to the bounds' layers, too."""
        room = self.plan.room
        shifts = common_shifts(room.all(f"{what}, from and to", [(one.shift, one.most) for one in own]))
        for one in own:
            if not any(one.shift <= shift <= one.most for shift in shifts):
                raise FoldingError(
                    f"Stage of {room.name!r}: one of the {what} may be {one.shift} to {one.most}, the bitstream has "
                    f"{', '.join(map(str, shifts))}"
                )
        return [scaled(one, shifts) for one in own], shifts

    def _y_shape(self, affine: list[Affine]) -> Shape:
        """Of what sums become: with these numbers, or with any of their shapes."""
        plan = self.plan
        if plan.reload:
            bits = 1 + max(plan.sum_shape.width + 1 + self.shapes["factors"].width, self.shapes["biases"].width)
            return signed(bits - min(self.shifts))
        ends = [(one.factor * top + one.bias) >> one.shift for one in affine for top in shape_limits(plan.sum_shape)]
        return range_shape(min(-1, *(int(end.min()) for end in ends)), max(int(end.max()) for end in ends))

    def _words(self, layers: list[np.ndarray | int]) -> np.ndarray:
        """Numbers of each layer's channels, [C], or one for all, in words [words, beat, 1]."""
        parts = []
        for walk, numbers in zip(self.plan.walks, layers, strict=True):
            padded = np.zeros(walk.groups * self.plan.share.pe, np.int64)
            padded[: walk.layer.made[0]] = numbers
            parts.append(padded.reshape(-1, self.plan.share.beat, 1))
        return np.concatenate(parts)

    def _rows(self, thresholds: np.ndarray) -> np.ndarray:
        """Thresholds [C, n], as many as the widest codes have: those that are missing are never reached."""
        low, high = shape_limits(signed(self.plan.value_bits))
        rows = np.full((len(thresholds), (1 << self.plan.made_bits) - 1), high + 1, np.int64)
        rows[:, : thresholds.shape[1]] = thresholds.astype(np.int64).clip(low, high + 1)
        return rows

    def _thresholds(self) -> np.ndarray:
        parts = []
        for walk in self.plan.walks:
            node, channels = walk.layer.threshold, walk.groups * self.plan.share.pe
            rows = np.tile(self._rows(np.zeros((1, 0))), (channels, 1))
            if node is not None:
                rows[: walk.layer.made[0]] = self._rows(node.tensors["thresholds"])
            parts.append(rows.reshape(channels // self.plan.share.beat, self.plan.share.beat, rows.shape[1]))
        return np.concatenate(parts)

    def _shape(self, name: str) -> Shape:
        plan, numbers = self.plan, self.numbers[name]
        if name == "thresholds":
            return signed(plan.value_bits + 1)
        own = range_shape(min(-1, int(numbers.min())), int(numbers.max()))
        if not plan.reload:
            return own
        # A sum is corrected by less than its own range, and what is added to it is a value, as the shift moves it up.
        product = plan.sum_shape.width + RELOAD_MULTIPLIER.width
        sizes = {
            "factors": RELOAD_MULTIPLIER.width, "biases": 1 + max(product, plan.value_bits + max(self.shifts)),
            "slopes": RELOAD_MULTIPLIER.width, "below": plan.value_bits, "after": plan.value_bits,
        }  # fmt: skip
        if own.width > sizes[name]:
            raise FoldingError(
                f"Stage of {plan.room.name!r}: {name} of {own.width} bits; in a bitstream to be reloaded they have "
                f"{sizes[name]}: freeze the network with smaller shifts"
            )
        return signed(sizes[name])

    def _fill(self, plan: StagePlan) -> None:
        """The memory of weights and constants."""
        planes = weights(plan)
        room = -(-planes.shape[1] // EBR_BITS) * EBR_BITS  # in the block RAMs that the weights take
        self.parts = -(-self.word_bits // room)

        def rams(shares: int) -> int:
            return block_rams(len(planes) + sum(-(-count // shares) * self.parts for count in self.counts), room)

        most = max(1, room // self.word_bits)
        self.shares = most if plan.reload else min(range(1, most + 1), key=rams)  # of equal ones the first
        width = max(planes.shape[1], -(-self.word_bits * self.shares // self.parts))
        planes = np.pad(planes, ((0, 0), (0, width - planes.shape[1])))
        rows = np.concatenate(
            [bits_of(numbers.reshape(len(numbers), -1), self.shapes[name].width)
             for name, numbers in self.numbers.items()], axis=1,
        )  # fmt: skip
        self.begins, memory = [], [*planes]
        for layer in np.split(rows, np.cumsum(self.counts)[:-1]):
            self.begins.append(len(memory))
            memory += [*self._lines(layer, width)]
        words = len(memory)
        if plan.reload:  # all that the block RAMs hold, but for two words (hw.lib.table.guarded)
            words = plan.room.most("words of weights and constants", -(-(words + 2) // EBR_WORDS) * EBR_WORDS - 2)
        self.memory = np.pad(np.stack(memory), ((0, words - len(memory)), (0, 0)))

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
        """First bit and bits of each kind of numbers in a word."""
        result, at = {}, 0
        for name, numbers in self.numbers.items():
            size = numbers[0].size * self.shapes[name].width
            result[name] = at, size
            at += size
        return result

    @property
    def word_bits(self) -> int:
        return sum(size for _, size in self.fields.values())


def bits_of(numbers: np.ndarray, width: int) -> np.ndarray:
    """Bits of two's complement, lowest first, of numbers [words, n]: uint8 [words, n * width]."""
    return ((numbers[..., None] >> np.arange(width)) & 1).astype(np.uint8).reshape(len(numbers), -1)
