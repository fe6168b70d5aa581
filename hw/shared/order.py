"""The order of a shared stage's reads and writes, replayed from its walkers' own numbers before hardware is made.

Every read has to find what an earlier layer, or the input, wrote for it; no word may be written in a layer ahead of a
read that is due in it; and nothing of an image may touch what is open to the next one's input. All of that is certain
where nothing stops within a layer and layers are apart by all that is under way (plan.between).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from popstream.hw.folding.stage_plan import StagePlan

__all__ = ["OrderError", "check_order"]

Tag = tuple[str, int, int, int]  # a value, its row, group of columns, group of channels
Rows = list[dict[str, int]]


class OrderError(AssertionError):
    """A read that would not find what it is meant for, or a write that comes too early: a fault of the generator."""


class Memory:
    """Words of several banks, by what lies in them, and what this layer has read and written."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.content: dict[tuple[int, int], Tag] = {}
        self.opened: set[int] = set()
        self.read: set[tuple[int, int]] = set()
        self.written: set[tuple[int, int]] = set()

    def next_layer(self) -> None:
        self.read, self.written = set(), set()

    def take(self, bank: int, word: int, tag: Tag) -> None:
        """A read that is meant for `tag`."""
        place = bank, word
        found = self.content.get(place)
        if found != tag or place in self.written or word in self.opened:
            when = ", written in the same layer" if place in self.written else ""
            raise OrderError(f"{self.name} {bank}, word {word}: {tag} is read, and {found} is there{when}")
        self.read.add(place)

    def put(self, bank: int, word: int, tag: Tag, after_reads: bool) -> None:
        """A write; `after_reads`: those of this layer so far have come before it."""
        place = bank, word
        if word in self.opened or (place in self.read and not after_reads):
            raise OrderError(f"{self.name} {bank}, word {word}: {tag} is written over {self.content.get(place)}")
        self.content[place] = tag
        self.written.add(place)


def check_order(plan: StagePlan, issue: Rows, retire: Rows) -> None:
    """OrderError unless an image finds all that it reads; the walkers' tables of layers are `issue` and `retire`."""
    codes, streams = Memory("code bank"), Memory("stream bank")
    _load(plan, codes, streams)
    for index in range(len(plan.walks)):
        codes.next_layer()
        streams.next_layer()
        _codes_read(plan, index, issue[index], codes)
        _results(plan, index, retire[index], codes, streams)
        rows = plan.open_rows[index]
        for memory, areas, row in (
            (codes, plan.codes, plan.code_row(plan.source_shape)),
            (streams, plan.streams, plan.stream_row(plan.source_shape)),
        ):
            if plan.source in areas:
                memory.opened |= set(range(areas[plan.source].at, areas[plan.source].at + rows * row))


def _pixel_words(plan: StagePlan, channels: int) -> tuple[int, int]:
    """Stream words and code words of a pixel."""
    return channels // plan.share.beat, -(-channels // plan.share.slice)


def _load(plan: StagePlan, codes: Memory, streams: Memory) -> None:
    channels, height, width = plan.source_shape
    beats, slices = _pixel_words(plan, channels)
    share = plan.share
    for y in range(height):
        for x in range(width):
            for beat in range(beats if plan.source in plan.streams else 0):
                word = plan.streams[plan.source].at + y * plan.stream_row(plan.source_shape) + x // share.pixels * beats
                streams.put(x % share.pixels, word + beat, (plan.source, y, x // share.pixels, beat), False)
            for part in range(slices):
                word = plan.codes[plan.source].at + y * plan.code_row(plan.source_shape) + x // plan.banks * slices
                codes.put(x % plan.banks, word + part, (plan.source, y, x // plan.banks, part), False)


def _codes_read(plan: StagePlan, index: int, row: Mapping[str, int], codes: Memory) -> None:
    """All chunks of one group of channels and one step: the others read the same."""
    walk, share, pad, banks = plan.walks[index], plan.share, plan.kernel // 2, plan.banks
    name, height = walk.layer.threshold.inputs[0], row["height"]
    wraps = 1 << max(1, (plan.code_words - 1).bit_length())
    top = row["begin"]
    for y in range(row["rows"] + 1):
        over, place = 0, 0
        for j in range(row["columns"] + 1):
            for ky in range(plan.kernel):
                line = y * (row["stride"] + 1) - pad + ky
                for part in range(row["slices"] if 0 <= line < height else 0):
                    middle = top + over + ky * row["pitch"] + part
                    for column in range(share.pixels + plan.kernel - 1):
                        x = share.pixels * j - pad + column
                        if not 0 <= x < row["edge"] - pad:
                            continue
                        block = (x % banks + banks * ((place * share.pixels - pad + column) // banks)) // banks
                        word = (middle + block * row["slices"]) % wraps
                        codes.take(x % banks, word, (name, line, x // banks, part))
            place += 1
            if place == banks // share.pixels:
                place, over = 0, over + row["slices"]
        top = (top + row["step"]) % wraps


def _results(plan: StagePlan, index: int, row: Mapping[str, int], codes: Memory, streams: Memory) -> None:
    """All beats: skips read, sums or skips written, codes written."""
    walk, share = plan.walks[index], plan.share
    skip = walk.layer.read
    stored, value = walk.layer.stored, walk.layer.value
    parts = share.slice // share.beat
    upper, base, code_base, place, odd = row["read"], row["at"], row["code"], 0, False
    for y in range(row["rows"] + 1):
        group = 0  # of pixels that are written
        for j in range(row["columns"] + 1):
            last = j == row["columns"]
            lanes = list(_kept(share.pixels, bool(row["halves"]), odd))
            for beat in range(row["beats"] + 1):
                if row["add"] and row["front"] <= beat < row["behind"]:
                    assert skip is not None
                    step = 2 if row["reduce"] else 1
                    lines = [(upper, step * y)] + ([(upper + row["lower"], step * y + 1)] if row["average"] else [])
                    for word, line in lines:
                        for bank in range(share.pixels):
                            if share.pixels * j + bank < walk.layer.given[2]:
                                streams.take(bank, word, (skip.source, line, j, beat - row["front"]))
                    upper += 1
                if beat < row["real"] and row["stores"]:
                    for lane in lanes:
                        streams.put(lane, base + beat, (stored, y, group, beat), True)
                part = beat // parts
                whole = beat % parts == parts - 1 or beat == row["beats"]
                if row["codes"] and whole and part < row["slices"]:
                    for lane in lanes:
                        bank = place * share.pixels + lane
                        block = group * share.pixels // plan.banks
                        codes.put(bank, code_base + part, (value, y, block, part), False)
            if not row["halves"] or odd or last:
                base, group = base + row["real"], group + 1
                place += 1
                if last or place == plan.banks // share.pixels:
                    place, code_base = 0, code_base + row["slices"]
            odd = bool(row["halves"]) and not odd and not last
        upper += row["row_skip"]


def _kept(pixels: int, halves: bool, odd: bool) -> Iterator[int]:
    """Lanes that a beat writes."""
    half = pixels // 2
    yield from (range(half, pixels) if odd else range(half)) if halves else range(pixels)
