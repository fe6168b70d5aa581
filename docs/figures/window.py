"""A window on its image: what lies in line memory, in the window's registers, and in the store of the next column."""

from docs.figures.drawing import Drawing

__all__ = ["window"]

ROWS, COLUMNS, SIZE = 6, 10, 34
KERNEL, LEFT, TOP = 3, 3, 1  # the window's place, in pixels


def fill_of(row: int, column: int) -> str:
    """By where the pixel lies while the window is in use: window, store, line memory, or nowhere."""
    if TOP <= row < TOP + KERNEL:
        if LEFT <= column < LEFT + KERNEL:
            return "blue"
        if column == LEFT + KERNEL:
            return "green"
    last = (TOP + KERNEL - 1, LEFT + KERNEL)  # the pixel that came last
    first = (last[0] - KERNEL + 1, last[1] + 1)  # the oldest one of K - 1 rows
    return "amber" if first <= (row, column) <= last else "plain"


def window() -> str:
    """Pixels of an image of ten columns, and a legend."""
    d = Drawing(820, 268, "A window moves by whole columns; the next one is gathered while the window is in use")
    x0, y0 = 34, 34
    for row in range(ROWS):
        for column in range(COLUMNS):
            d.cell(x0 + column * SIZE, y0 + row * SIZE, SIZE - 3, SIZE - 3, "", fill_of(row, column))
    legend = (
        ("blue", "the window: K x K pixels in registers,", "all of them before the lanes"),
        ("green", "the store: the next column, gathered", "while the window is in use"),
        ("amber", "line memory: the K - 1 rows", "that came before"),
        ("plain", "gone, or not come yet", ""),
    )
    x, y = 420, 34
    for fill, first, second in legend:
        d.cell(x, y, SIZE - 3, SIZE - 3, "", fill)
        d.text(x + 46, y + (14 if second else 21), first, "ink", 14, "start")
        d.text(x + 46, y + 32, second, "faint", 13, "start")
        y += 50
    words = "A full store enters the window in the cycle in which the window is taken: none is lost between two."
    d.text(34, 254, words, "faint", 13, "start")
    return d.svg()
