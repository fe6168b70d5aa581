"""The way of the data: from training to four evaluations that must agree, and to a bitstream."""

from docs.figures.drawing import Drawing

__all__ = ["way"]

TOP = (
    ("training", "PyTorch", "W and A of 1 to 8 bits"),
    ("freezing", "BatchNorm to integers", "thresholds and shifts"),
    ("manifest", "network.json + tensors", "all that goes on from here"),
)
EVALUATIONS = (
    ("frozen", "PyTorch", "the accuracy that is told"),
    ("golden", "NumPy", "the specification"),
    ("RTL", "Amaranth, Verilator", "the whole accelerator"),
    ("netlist", "yosys, Verilator", "after synthesis"),
)


def way() -> str:
    """Above what is made, below what is compared."""
    d = Drawing(960, 330, "From training to hardware: four evaluations of one manifest, compared bit for bit")
    w, h = 196, 74
    places = [40 + 242 * i for i in range(3)]
    for x, words in zip(places, TOP, strict=True):
        d.box(x, 28, w, h, "\n".join(words), "amber" if words[0] == "manifest" else "plain")
    for x in places[:2]:
        d.arrow([(x + w, 28 + h / 2), (x + 242, 28 + h / 2)])
    d.box(766, 28, 154, h, "bitstream\nnextpnr\nECP5, iCE40, Gowin", "blue")
    d.arrow([(places[2] + w, 28 + h / 2), (766, 28 + h / 2)])
    middle, bus = places[2] + w / 2, 136
    xs = [40 + 226 * i for i in range(4)]
    d.line([(middle, 28 + h), (middle, bus)])
    d.line([(xs[0] + 101, bus), (xs[3] + 101, bus)])
    for number, (x, words) in enumerate(zip(xs, EVALUATIONS, strict=True)):
        d.arrow([(x + 101, bus), (x + 101, 168)])
        d.box(x, 168, 202, h, "\n".join(words), "green")
        if number:
            d.text(x - 12, 168 + h / 2 + 8, "=", "ink strong", 24)
    d.line([(xs[0] + 101, 168 + h), (xs[0] + 101, 262), (xs[3] + 101, 262), (xs[3] + 101, 168 + h)])
    d.text(480, 288, "compared bit for bit: every logit, every layer's every value", "ink strong", 15)
    d.text(480, 309, "where two differ: the first layer, image, pixel and channel, with both values", "faint", 13)
    return d.svg()
