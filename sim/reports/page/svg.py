"""Elements of a drawing as SVG inside a page; every text and attribute is escaped."""

from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

__all__ = ["Drawing"]


def text_of(value: Any) -> str:
    """An attribute's value: numbers short."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


class Drawing:
    """An SVG of `width` x `height` units. `label` is what a reader who does not see it is told; None hides it.

    stretched: fills the box that it is given, whatever its shape; such a drawing should hold no text.
    """

    def __init__(self, width: float, height: float, label: str | None, name: str, stretched: bool = False):
        self.root = ElementTree.Element("svg", {"viewBox": f"0 0 {text_of(width)} {text_of(height)}", "class": name})
        if stretched:
            self.root.set("preserveAspectRatio", "none")
        if label is None:
            self.root.set("aria-hidden", "true")
        else:
            self.root.set("role", "img")
            self.root.set("aria-label", label)

    def add(self, tag: str, name: str = "", hint: str = "", **attributes: Any) -> ElementTree.Element:
        """An element of the class `name`, with a tooltip `hint`; `_` in attributes stands for `-`."""
        given = {key.replace("_", "-"): text_of(value) for key, value in attributes.items()}
        element = ElementTree.SubElement(self.root, tag, ({"class": name} if name else {}) | given)
        if hint:
            ElementTree.SubElement(element, "title").text = hint
        return element

    def text(self, x: float, y: float, content: str, name: str = "", **attributes: Any) -> None:
        """Text with its baseline at (x, y)."""
        self.add("text", name, x=x, y=y, **attributes).text = content

    def __html__(self) -> Markup:
        return Markup(ElementTree.tostring(self.root, encoding="unicode"))
