"""A network as a diagram: a box for each layer, a row for each size of its maps, an arc for each skip.

Two drawings of the same: `wide` for a desk, `tall` for a phone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from popstream.sim.reports.page.svg import Drawing

__all__ = ["Cell", "cells", "rows", "tall", "wide"]

LONGEST = 8  # cells in a row, unless a skip ties more together
BOX, TALL, GAP, HEAD, ARC = 106, 66, 26, 112, 44  # of the wide drawing: box, its height, between boxes, row head, arcs
LINE, SIDE, STEP = 46, 300, 66  # of the tall drawing: height and width of a box, and from one to the next
MANY_BITS = 4  # a product of more plane pairs is drawn as a layer of many bits


@dataclass(frozen=True)
class Cell:
    """A box: an image, a layer, or an op between layers. shape is [C, H, W] of what it gives; node "" if no layer."""

    kind: str
    title: str
    lines: tuple[str, ...]
    shape: tuple[int, ...]
    bits: str = ""
    node: str = ""
    stride: int = 1


def times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def layer_cell(layer: Mapping[str, Any]) -> Cell:
    inner = f"{layer['in_shape'][0]} → {layer['out_shape'][0]}"
    kernel = "linear" if layer["op"] == "linear" else times([layer["kernel"]] * 2)
    bits = f"W{layer['weight_bits']}A{layer['act_bits']}"
    kind = "many" if layer["weight_bits"] * layer["act_bits"] > MANY_BITS else "few"
    lines = (f"{kernel}, {inner}", *(["PReLU"] if "prelu" in layer["then"] else []))
    return Cell(kind, layer["title"], lines, tuple(layer["out_shape"]), bits, layer["node"], layer["stride"])


def cells(network: Mapping[str, Any]) -> list[Cell]:
    """The main way of a described network (layers.describe), the image first; layers on skips are left out."""
    shape = tuple(network["input_shape"])
    found = [Cell("image", "image", (times(shape),), shape, f"A{network['input_bits']}")]
    aside = {name for skip in network["skips"] for name in skip["layers"]}
    for layer in network["layers"]:
        if layer["node"] in aside:
            continue
        found.append(layer_cell(layer))
        channels, height, width = found[-1].shape
        for op in layer["then"]:
            if op == "pool":
                found.append(Cell("op", "mean", ("of all pixels",), (channels, 1, 1)))
            elif op == "maxpool":
                found.append(Cell("op", "max-pool", ("largest of each", "square"), (channels, height, width)))
    return found


def spans(found: Sequence[Cell], skips: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, str]]:
    """Of every skip over the main way: the cells that it begins before and ends behind, and its change."""
    place = {cell.node: index for index, cell in enumerate(found) if cell.node}
    return [
        (place[skip["first"]], place[skip["last"]], skip["change"])
        for skip in skips
        if skip["first"] in place and skip["last"] in place
    ]


def rows(found: Sequence[Cell], around: Sequence[tuple[int, int, str]]) -> list[range]:
    """Places of the cells in each row: a new one where maps get another size or a row is full, never within a skip."""
    begins, last = [0], 0
    for index in range(1, len(found)):
        if not any(first < index <= end for first, end, _ in around):
            last = index  # a row may begin here
        other = found[index].shape[1:] != found[index - 1].shape[1:] and found[index].shape[1] > 1
        if (other or index - begins[-1] >= LONGEST) and last > begins[-1]:
            begins.append(last)
    return [range(begin, end) for begin, end in zip(begins, [*begins[1:], len(found)], strict=True)]


def fitted(text: str, width: float, each: float) -> str:
    """The text, cut where it is wider than `width` at `each` a letter."""
    most = int(width / each)
    return text if len(text) <= most else text[: most - 1] + "…"


def box(drawing: Drawing, cell: Cell, x: float, y: float, width: float, height: float) -> None:
    """A cell with its upper left corner at (x, y); its texts on lines of their own, or two where it is flat."""
    hint = ", ".join([cell.node or cell.title, *cell.lines, *([cell.bits] if cell.bits else []), times(cell.shape)])
    drawing.add("rect", f"box {cell.kind}", hint, x=x, y=y, width=width, height=height, rx=7)
    title = fitted(cell.title, width - (72 if height < TALL else 14), 6.9)
    drawing.text(x + 9, y + 19, title, "title")
    drawing.text(x + 9, y + 36, fitted(", ".join(cell.lines) if height < TALL else cell.lines[0], width - 14, 5.7))
    if height >= TALL and len(cell.lines) > 1:
        drawing.text(x + width - 9, y + 55, cell.lines[1], text_anchor="end")
    if cell.bits and height < TALL:
        drawing.text(x + width - 9, y + 19, cell.bits, "bits", text_anchor="end")
    elif cell.bits:
        drawing.text(x + 9, y + 55, cell.bits, "bits")
    if cell.stride > 1 and height < TALL:
        drawing.text(x + width - 9, y + 36, f"/{cell.stride}", "stride", text_anchor="end")
    elif cell.stride > 1:
        drawing.text(x + 16 + 7.8 * len(cell.bits), y + 55, f"/{cell.stride}", "stride")


def plus(drawing: Drawing, x: float, y: float) -> None:
    """Where a skip is added."""
    drawing.add("circle", "plus", "added to the residual stream", cx=x, cy=y, r=6.5)
    drawing.add("path", "cross", d=f"M{x - 3.5:g} {y:g}h7M{x:g} {y - 3.5:g}v7")


def maps(drawing: Drawing, shape: Sequence[int], largest: int, x: float, y: float) -> None:
    """Three sheets as large as the maps are beside the largest ones, and the shape below; (x, y) is their middle."""
    side = 16 + 26 * (shape[1] / largest) ** 0.5
    for sheet in (2, 1, 0):
        shift = 4 * (sheet - 1)
        drawing.add("rect", "sheet", x=x - side / 2 + shift, y=y - side / 2 - shift, width=side, height=side, rx=2)
    drawing.text(x, y + side / 2 + 22, times(shape), "shape", text_anchor="middle")


def label(network: Mapping[str, Any]) -> str:
    return (
        f"Diagram of {network['name']}: {len(network['layers'])} layers from an image of "
        f"{times(network['input_shape'])} to {len(network['classes'])} classes, {len(network['skips'])} skips"
    )


def wide(network: Mapping[str, Any]) -> tuple[Drawing, float]:
    """Rows from top to bottom, and the drawing's width in CSS pixels."""
    found = cells(network)
    around = spans(found, network["skips"])
    lines = rows(found, around)
    longest, largest = max(map(len, lines)), max(found[line[-1]].shape[1] for line in lines)
    height = ARC + TALL + 30
    width = HEAD + longest * (BOX + GAP) + 4
    drawing = Drawing(width, height * len(lines) - 22, label(network), "diagram wide")
    for number, line in enumerate(lines):
        top = number * height + ARC
        middle, left = top + TALL / 2, [HEAD + place * (BOX + GAP) for place in range(len(line))]
        maps(drawing, next(cell for cell in (found[place] for place in line) if cell.kind != "image").shape,
             largest, 48, middle - 8)  # fmt: skip
        if number:
            back = HEAD + len(lines[number - 1]) * (BOX + GAP) - GAP
            fall = top - ARC + 1 - 14
            drawing.add("path", "wire", d=f"M{back} {middle - height:g}h10q8 0 8 8V{fall:g}q0 8 -8 8H{HEAD - 13}"
                        f"q-8 0 -8 8V{middle - 8:g}q0 8 8 8H{HEAD}")  # fmt: skip
        for place, x in zip(line, left, strict=True):
            if place != line[-1]:
                drawing.add("path", "wire", d=f"M{x + BOX} {middle:g}h{GAP}")
            box(drawing, found[place], x, top, BOX, TALL)
        for first, last, change in around:
            if first in line:
                begin, end = left[first - line[0]] - 7, left[last - line[0]] + BOX + 9
                above = top - 14
                kind = "skip changed" if change else "skip"
                drawing.add(
                    "path", kind, change, d=f"M{begin} {middle:g}V{above + 8}q0 -8 8 -8H{end - 8}q8 0 8 8V{middle:g}"
                )
                if change:
                    drawing.text(begin + 6, above - 5, change, "note")
                plus(drawing, end, middle)
    return drawing, width


def tall(network: Mapping[str, Any]) -> tuple[Drawing, float]:
    """One column, and its width in CSS pixels."""
    found = cells(network)
    around = spans(found, network["skips"])
    drawing = Drawing(SIDE + 40, STEP * len(found) - STEP + LINE + 4, label(network), "diagram tall")
    middle = 150
    for place, cell in enumerate(found):
        y = 2 + place * STEP
        if place:
            drawing.add("path", "wire", d=f"M{middle} {y - STEP + LINE}V{y}")
        box(drawing, cell, 2, y, SIDE, LINE)
    for first, last, change in around:
        begin, end = 2 + first * STEP - 6, 2 + last * STEP + LINE + 7
        x = SIDE + 24
        kind = "skip changed" if change else "skip"
        drawing.add("path", kind, change, d=f"M{middle} {begin}H{x - 8}q8 0 8 8V{end - 8}q0 8 -8 8H{middle}")
        plus(drawing, middle, end)
    return drawing, SIDE + 40
