"""Small drawings without text: stacked bars, shares over time, lines of training. Text stands beside them, in HTML."""

from collections.abc import Mapping, Sequence
from typing import Any

from popstream.sim.reports.page.svg import Drawing

__all__ = ["curves", "in_order", "logit_bars", "over_time", "stacked"]

MOST_CLASSES = 10


def stacked(parts: Mapping[str, float], whole: float, names: Mapping[str, str], unit: str = "") -> Drawing:
    """A bar of `parts` one behind the other, `whole` as long as its box; `names` are the classes of the colours."""
    drawing, at = Drawing(100, 1, None, "bar", stretched=True), 0.0
    for part, amount in parts.items():
        width = 100 * amount / max(whole, 1e-9)
        if width > 0:
            drawing.add("rect", names[part], f"{part}: {amount:,}{unit}", x=at, y=0, width=width, height=1)
            at += width
    return drawing


def in_order(parts: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Drawing:
    """The parts of a path one behind the other, as long as the time that each takes; thin lines between."""
    drawing, at, whole = Drawing(100, 1, None, "bar", stretched=True), 0.0, sum(part["ns"] for part in parts)
    for part in parts:
        width = 100 * part["ns"] / max(whole, 1e-9)
        hint = f"{part['kind']}: {part['ns']:.2f} ns, {part['from']}"
        drawing.add("rect", names.get(part["kind"], "k5"), hint, x=at, y=0, width=max(0.0, width - 0.15), height=1)
        at += width
    return drawing


def logit_bars(classes: Sequence[str], logits: Sequence[int]) -> list[dict[str, Any]]:
    """Name, value and place of the bar in percent, for all classes or, of many, for those with the largest logits."""
    order = sorted(range(len(logits)), key=lambda index: -logits[index])[:MOST_CLASSES]
    low, high = min(0, *logits), max(0, *logits)
    share = 100 / max(1, high - low)
    return [
        {
            "name": classes[index],
            "value": logits[index],
            "left": round((min(0, logits[index]) - low) * share, 2),
            "width": round(abs(logits[index]) * share, 2),
        }
        for index in sorted(order)
    ]


def steps(values: Sequence[float], base: Sequence[float]) -> str:
    """A path around what lies between `base` and `base + values`, a column each."""
    forth = "".join(f"V{100 - low - value:g}h1" for low, value in zip(base, values, strict=True))
    back = "".join(f"V{100 - low:g}h-1" for low in reversed(base))
    return f"M0 100{forth}{back}Z"


def over_time(busy: Sequence[float], blocked: Sequence[float], results: Sequence[float]) -> Drawing:
    """Percent of each column's cycles in which a unit is busy, and on top of them in which it is blocked.

    results: places of the columns at which a result leaves, lines from top to bottom.
    """
    drawing = Drawing(len(busy), 100, None, "time", stretched=True)
    drawing.add("path", "busy", d=steps(busy, [0] * len(busy)))
    if any(blocked):
        drawing.add("path", "blocked", d=steps(blocked, busy))
    for place in results:
        drawing.add("path", "result", d=f"M{place:g} 0V100", vector_effect="non-scaling-stroke")
    return drawing


def curves(lines: Mapping[str, Sequence[float]], low: float, high: float, breaks: Sequence[int]) -> Drawing:
    """A line over epochs for each class in `lines`, `low` at the bottom, `high` at the top; phases end at `breaks`."""
    count = max(map(len, lines.values()))
    drawing = Drawing(max(1, count - 1), 100, None, "curves", stretched=True)
    for place in breaks:
        drawing.add("path", "break", d=f"M{place - 0.5:g} 0V100", vector_effect="non-scaling-stroke")
    for name, values in lines.items():
        points = [(x, 100 - 100 * (value - low) / max(high - low, 1e-9)) for x, value in enumerate(values)]
        path = f"M{points[0][0]} {points[0][1]:.2f}" + "".join(f"L{x} {y:.2f}" for x, y in points[1:])
        drawing.add("path", name, d=path, vector_effect="non-scaling-stroke")
    return drawing
