"""The rooms of the code, and which of them know which."""

from docs.figures.drawing import Drawing

__all__ = ["rooms"]

ROOMS = (
    ("popstream/cli", "the one command", "plain"),
    ("boards", "boards, bitstreams, host link, reload", "blue"),
    ("sim", "golden model, benches, reports", "green"),
    ("hw", "blocks, folding, cost, accelerator, synthesis", "blue"),
    ("model", "data, networks, training, freezing, manifest", "amber"),
)


def rooms() -> str:
    """One above the other: a room imports from those below it, never from above."""
    d = Drawing(640, 404, "Five rooms; imports go downwards alone")
    for number, (name, what, fill) in enumerate(ROOMS):
        y = 24 + 70 * number
        d.box(130, y, 420, 52, f"{name}\n{what}", fill)
        if number:
            d.arrow([(340, y - 18), (340, y)])
    d.arrow([(90, 46), (90, 352)])
    d.text(78, 196, "imports", "faint", 13, "end")
    d.text(340, 392, "the manifest (model/manifest) is the corridor: nothing after it needs torch", "faint", 13)
    return d.svg()
