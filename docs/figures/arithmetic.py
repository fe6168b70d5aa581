"""A dot product on bit planes, worked out: eight products of one-bit weights and two-bit codes."""

import numpy as np

from docs.figures.drawing import Drawing

__all__ = ["planes"]

WEIGHT_BITS = np.array([1, 0, 1, 1, 0, 0, 1, 0])
CODES = np.array([3, 1, 0, 2, 1, 0, 2, 3])
ACT_BITS = 2


def planes() -> str:
    """Rows: weights, their plane, the codes' planes, XNOR and its population count; below, the sum."""
    d = Drawing(760, 432, "A dot product as a sum of population counts, by example")
    left, top, size = 190, 50, 40
    highest = 2**ACT_BITS - 1

    def row(y: float, name: str, values: np.ndarray, fill: str) -> None:
        d.text(left - 16, y + 25, name, "ink", 14, "end")
        for number, value in enumerate(values):
            d.cell(
                left + number * size,
                y,
                size - 4,
                34,
                f"{value:+d}" if name.startswith("weight w") else f"{value}",
                fill,
            )

    d.text(24, 30, "W = 1, A = 2, eight products", "ink strong", 15, "start")
    row(top, "weight w = 2q - 1", 2 * WEIGHT_BITS - 1, "plain")
    row(top + 40, "its plane q", WEIGHT_BITS, "blue")
    row(top + 92, "code a", CODES, "plain")
    total, terms = 0, []
    for number, plane in enumerate(reversed(range(ACT_BITS))):
        bits = CODES >> plane & 1
        equal = (bits == WEIGHT_BITS).astype(int)
        y = top + 140 + 84 * number
        row(y, f"plane {plane} of a", bits, "blue")
        row(y + 38, "XNOR with q", equal, "green")
        x = left + 8 * size + 14
        d.text(x, y + 62, f"popcount = {equal.sum()}", "ink", 14, "start")
        d.text(x + 112, y + 62, f"x 2^{plane}", "ink", 14, "start")
        total += int(equal.sum()) << plane
        terms.append(f"{2**plane} x {equal.sum()}")
    zeros = int((WEIGHT_BITS == 0).sum())
    found = total - highest * zeros
    assert found == int(((2 * WEIGHT_BITS - 1) * CODES).sum())
    text = f"{' + '.join(terms)} - {highest} x {zeros} = {found}"
    d.text(24, 386, f"sum w a  =  {text}", "ink strong", 16, "start")
    words = f"{zeros} zeros in q, times 2^A - 1 = {highest}: a constant of the channel, so it costs nothing"
    d.text(24, 412, words, "faint", 13.5, "start")
    return d.svg()
