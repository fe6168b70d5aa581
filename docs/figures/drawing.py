"""A drawing of boxes, arrows and text as SVG: the same bytes each time, legible on light and dark pages."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

__all__ = ["Drawing"]

Point = tuple[float, float]

LIGHT = {"page": "#ffffff", "edge": "#d0d7de", "ink": "#1f2328", "faint": "#59636e", "line": "#59636e",
         "plain": "#f6f8fa", "blue": "#ddf4ff", "green": "#dafbe1", "amber": "#fff8c5"}  # fmt: skip
DARK = {"page": "#0d1117", "edge": "#3d444d", "ink": "#f0f6fc", "faint": "#9198a1", "line": "#9198a1",
        "plain": "#151b23", "blue": "#0c2d6b", "green": "#033a16", "amber": "#4b2900"}  # fmt: skip
FILLS = ("plain", "blue", "green", "amber")
LINE = 18  # from one line of text to the next


def style() -> str:
    """The page brings its own ground, light or dark as the reader prefers: so ink and ground go together."""

    def rules(c: dict[str, str]) -> str:
        fills = "".join(f".{name}{{fill:{c[name]};stroke:{c['line']}}}" for name in FILLS)
        return (
            f".page{{fill:{c['page']};stroke:{c['edge']}}}.ink{{fill:{c['ink']}}}.faint{{fill:{c['faint']}}}"
            f".line{{fill:none;stroke:{c['line']}}}.tip{{fill:{c['line']}}}{fills}"
        )

    text = "text{font-family:system-ui,'Segoe UI',Arial,sans-serif}.code{font-family:ui-monospace,Menlo,monospace}"
    return f"{text}.strong{{font-weight:600}}{rules(LIGHT)}@media (prefers-color-scheme:dark){{{rules(DARK)}}}"


def short(number: float) -> str:
    return f"{number:g}"


class Drawing:
    """Coordinates are pixels from the upper left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        size = {"width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}"}
        self.root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size})
        ET.SubElement(self.root, "title").text = title
        ET.SubElement(self.root, "style").text = style()
        self._shape("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=8, kind="page")

    def _shape(self, tag: str, kind: str, **numbers: float | str) -> ET.Element:
        values = {name.replace("_", "-"): v if isinstance(v, str) else short(v) for name, v in numbers.items()}
        return ET.SubElement(self.root, tag, {"class": kind, **values})

    def text(self, x: float, y: float, words: str, kind: str = "ink", size: float = 14, anchor: str = "middle") -> None:
        """Words whose base line is at y. kind: ink, faint, and code or strong with it."""
        self._shape("text", kind, x=x, y=y, font_size=size, text_anchor=anchor).text = words

    def box(
        self, x: float, y: float, w: float, h: float, words: str = "", fill: str = "plain", dashed: bool = False
    ) -> None:
        """A box with centred lines of text, the first one strong."""
        more = {"stroke_dasharray": "5 4"} if dashed else {}
        self._shape("rect", fill, x=x, y=y, width=w, height=h, rx=5, **more)
        lines = words.split("\n") if words else []
        first = y + h / 2 - (len(lines) - 1) * LINE / 2 + 5
        for number, line in enumerate(lines):
            kind, size = ("ink strong", 14.0) if number == 0 else ("faint", 12.5)
            self.text(x + w / 2, first + number * LINE, line, kind, size)

    def cell(self, x: float, y: float, w: float, h: float, words: str, fill: str = "plain") -> None:
        """A small box of a bit or a number."""
        self._shape("rect", fill, x=x, y=y, width=w, height=h)
        self.text(x + w / 2, y + h / 2 + 5, words, "ink code", 13)

    def line(self, points: Sequence[Point], dashed: bool = False) -> None:
        """A line through the points."""
        more = {"stroke_dasharray": "5 4"} if dashed else {}
        way = " ".join(f"{short(x)},{short(y)}" for x, y in points)
        self._shape("polyline", "line", points=way, stroke_width=1.4, **more)

    def arrow(self, points: Sequence[Point], dashed: bool = False) -> None:
        """A line through the points, along x or y, with a tip at its end."""
        (x0, y0), (x1, y1) = points[-2:]
        along = ((x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0))
        back = (x1 - 8 * along[0], y1 - 8 * along[1])
        self.line([*points[:-1], back], dashed)
        side = (4 * along[1], 4 * along[0])
        tip = [(x1, y1), (back[0] + side[0], back[1] + side[1]), (back[0] - side[0], back[1] - side[1])]
        self._shape("polygon", "tip", points=" ".join(f"{short(x)},{short(y)}" for x, y in tip))

    def circle(self, x: float, y: float, r: float, words: str, fill: str = "plain") -> None:
        """A circle with a sign in it."""
        self._shape("circle", fill, cx=x, cy=y, r=r)
        self.text(x, y + 6, words, "ink strong", 17)

    def svg(self) -> str:
        """The file's content."""
        ET.indent(self.root, " ")
        return ET.tostring(self.root, encoding="unicode") + "\n"
