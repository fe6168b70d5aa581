"""The order of a shared stage's reads and writes, replayed from its walkers' own numbers before hardware is made.

Every read has to find what an earlier layer, or the input, wrote for it; no word may be written in a layer ahead of a
read that is due in it; and nothing of an image may touch what is open to the next one's input. All of that is certain
where nothing stops within a layer or a max-pooling, and they are apart by all that is under way (plan.between).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from popstream.hw.folding.stage_plan import StagePlan
from popstream.model.manifest import Node

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


def check_order(plan: StagePlan, issue: Rows, retire: Rows, squares: Rows) -> None:
    """OrderError unless an image finds all that it reads; the walkers' tables, of layers and of max-poolings."""
    codes, streams = Memory("code bank"), Memory("stream bank")
    own = Memory("the input's stream bank") if plan.own else streams
    _load(plan, codes, own)
    passes = iter(squares)
    for index, layer in enumerate(plan.layers):
        codes.next_layer()
        streams.next_layer()
        own.next_layer()
        if layer.codes is not None:
            _codes_read(plan, index, issue[index], codes)
        _results(plan, index, retire[index], codes, streams, own)
        for pool in layer.pools:
            codes.next_layer()
            _pooled(plan, pool, next(passes), codes)
        rows = plan.open_rows[index]
        for entry, areas, row in plan.entries():
            memory = codes if areas is plan.codes else own
            memory.opened |= set(range(entry.at, entry.at + rows * row))


def _load(plan: StagePlan, codes: Memory, streams: Memory) -> None:
    channels, height, width = plan.source_shape
    beats, slices = -(-channels // plan.share.beat), -(-channels // plan.share.slice)
    for _, areas, row in plan.entries():
        memory, columns, parts = (
            (codes, plan.banks, slices) if areas is plan.codes else (streams, plan.share.pixels, beats)
        )
        name = plan.source_codes if areas is plan.codes else plan.source
        for y in range(height):
            for x in range(width):
                for part in range(parts):
                    word = areas[name].at + y * row + x // columns * parts + part
                    memory.put(x % columns, word, (name, y, x // columns, part), False)


def _codes_read(plan: StagePlan, index: int, row: Mapping[str, int], codes: Memory) -> None:
    """All chunks of one group of channels and one step, the others read the same: of each kernel row and column that
    the layer has in the image, and of no other.
    """
    walk, share, pad, banks = plan.walks[index], plan.share, plan.kernel // 2, plan.banks
    layer = walk.layer
    assert layer.codes is not None
    assert layer.conv is not None
    name, (_, height, width) = layer.codes.name, layer.given
    wraps = 1 << max(1, (plan.code_words - 1).bit_length())
    if (row["kernel"], row["aside"]) != (layer.kernel - 1, pad - layer.kernel // 2):
        raise OrderError(
            f"Node {layer.value!r}: its kernel of {layer.kernel} is walked over in {row['kernel'] + 1} rows"
        )
    top = row["begin"]
    for y in range(row["rows"] + 1):
        over, place = 0, 0
        for j in range(row["columns"] + 1):
            for ky in range(layer.kernel):
                line, inside = y * layer.stride - layer.conv["padding"] + ky, y * (row["stride"] + 1) - row["pad"] + ky
                if (0 <= line < height) != (0 <= inside < row["height"]):
                    raise OrderError(f"Node {layer.value!r}: row {line} of {height} is taken for row {inside}")
                for part in range(row["slices"] if 0 <= line < height else 0):
                    middle = top + over + ky * row["pitch"] + part
                    for column in range(row["aside"], share.pixels + plan.kernel - 1 - row["aside"]):
                        x = share.pixels * j - pad + column
                        due = walk.margin <= x < walk.margin + width
                        if due != (row["low"] <= x + pad < row["edge"]):
                            raise OrderError(
                                f"Node {layer.value!r}: column {x} is {'not ' * due}taken for one of the image"
                            )
                        if not due:
                            continue
                        block = (x % banks + banks * ((place * share.pixels - pad + column) // banks)) // banks
                        word = (middle + block * row["slices"]) % wraps
                        codes.take(x % banks, word, (name, line, x // banks, part))
            place += 1
            if place == banks // share.pixels:
                place, over = 0, over + row["slices"]
        top = (top + row["step"]) % wraps


def _results(plan: StagePlan, index: int, row: Mapping[str, int], codes: Memory, streams: Memory, own: Memory) -> None:
    """All beats: skips read, sums or skips written, codes written."""
    walk, share = plan.walks[index], plan.share
    skip, value, made = walk.layer.skip, walk.layer.value, walk.layer.threshold
    parts = share.slice // share.beat
    upper, base, code_base, place, odd = row["read"], row["at"], row["code"], 0, False
    begins = plan.margins[skip.source] if skip else 0
    ends = begins + (walk.layer.given if row["reduce"] else walk.layer.made)[2]  # of the skip's columns
    for y in range(row["rows"] + 1):
        group = 0  # of pixels that are written
        for j in range(row["columns"] + 1):
            last = j == row["columns"]
            lanes = list(_kept(share.pixels, bool(row["halves"]), odd))
            whole_word = not row["halves"] or odd or last
            for beat in range(row["beats"] + 1):
                if row["add"] and row["front"] <= beat < row["behind"]:
                    assert skip is not None
                    step = 2 if row["reduce"] else 1
                    lines = [(upper, step * y)] + ([(upper + row["lower"], step * y + 1)] if row["average"] else [])
                    read, banks = (j, range(share.pixels)) if row["reduce"] or not row["halves"] else (group, lanes)
                    for word, line in lines:
                        for bank in banks:
                            if begins <= share.pixels * read + bank < ends:
                                kept = own if row["own"] else streams
                                kept.take(bank, word, (skip.source, line, read, beat - row["front"]))
                    upper += 1
                if beat < row["real"] and row["stores"]:
                    for lane in lanes:
                        streams.put(lane, base + beat, (value, y, group, beat), True)
                part = beat // parts
                whole = beat % parts == parts - 1 or beat == row["beats"]
                if made is not None and row["codes"] and whole and part < row["slices"]:
                    for lane in lanes:
                        bank = place * share.pixels + lane
                        block = group * share.pixels // plan.banks
                        codes.put(bank, code_base + part, (made.name, y, block, part), False)
            if whole_word:
                base, group = base + row["real"], group + 1
                place += 1
                if last or place == plan.banks // share.pixels:
                    place, code_base = 0, code_base + row["slices"]
            else:
                upper -= row["again"]
            odd = bool(row["halves"]) and not odd and not last
        upper += row["row_skip"]


def _kept(pixels: int, halves: bool, odd: bool) -> Iterator[int]:
    """Lanes that a beat writes."""
    half = pixels // 2
    yield from (range(half, pixels) if odd else range(half)) if halves else range(pixels)


def _pooled(plan: StagePlan, pool: Node, row: Mapping[str, int], codes: Memory) -> None:
    """A max-pooling: every word of a square read, one written."""
    banks, slices, source = plan.banks, row["slices"], pool.inputs[0]
    _, height, width = pool.shape
    if (row["rows"] + 1, row["columns"] + 1, row["size"] + 1) != (height, width, pool["size"]):
        raise OrderError(f"Node {pool.name!r}: its squares are not those that are gone over")
    for y in range(height):
        for x in range(width):
            for part in range(slices):
                for line in range(y * pool["size"], (y + 1) * pool["size"]):
                    for dx in range(pool["size"]):
                        column = row["margin"] + x * pool["size"] + dx
                        due = plan.margins[source] + x * pool["size"] + dx
                        word = row["from"] + line * row["pitch"] + column // banks * slices + part
                        codes.take(column % banks, word, (source, line, due // banks, part))
                        if column != due:
                            raise OrderError(f"Node {pool.name!r}: column {column} is taken for {due}")
                word = row["to"] + y * row["to_pitch"] + x // banks * slices + part
                codes.put(x % banks, word, (pool.name, y, x // banks, part), False)
