"""The accelerator: the whole pipeline, one residual addition of it, and a layer's work on its lanes."""

from docs.figures.drawing import Drawing

__all__ = ["folding", "pipeline", "stage"]


def pipeline() -> str:
    """ResNet-20 as a row of stages, an image in each."""
    d = Drawing(960, 250, "One stage a layer; several images are under way at once")
    stages = (
        ("first conv", "8-bit pixels", "multipliers"), ("6 convs", "16 channels", "32 x 32"),
        ("6 convs", "32 channels", "16 x 16"), ("6 convs", "64 channels", "8 x 8"),
        ("pool", "sum of 64", "8-bit codes"), ("linear", "as a 1x1 conv", "10 logits"),
    )  # fmt: skip
    xs = [76 + 142 * i for i in range(len(stages))]
    d.text(16, 88, "pixels", "ink", 14, "start")
    for number, (x, words) in enumerate(zip(xs, stages, strict=True)):
        d.arrow([(x - 26 if number else 62, 83), (x, 83)])
        d.box(x, 46, 116, 74, "\n".join(words), "blue" if "convs" in words[0] else "plain")
    d.arrow([(xs[-1] + 116, 83), (948, 83)])
    for number, x in enumerate(xs):
        d.text(x + 58, 144, f"image {len(xs) - number}", "faint", 13)
    d.text(480, 28, "valid / ready between all stages; each has its window, lanes and FIFOs", "faint", 13.5)
    d.text(480, 190, "images/s = clock / cycles of the slowest stage", "ink strong", 16)
    formula = "cycles of a stage = pixels x (C_out / PE) x (K x K x C_in / SIMD) x W x A / planes at once"
    d.text(480, 218, formula, "ink", 15)
    return d.svg()


def stage() -> str:
    """The way of a stream through one residual addition."""
    d = Drawing(960, 262, "One residual addition: the conv reads the stream by its own quantizer; the skip side waits")
    y, w, h = 150, 134, 66
    boxes = (
        ("threshold", "A-bit codes", "R4"), ("window", "K x K x C codes", "R3"),
        ("popcount lanes", "SIMD x PE x planes", "sum w a"), ("requantize", "(acc M + B) >> F", "R5"),
    )  # fmt: skip
    d.text(18, y + 25, "stream r", "ink", 14, "start")
    d.text(18, y + 43, "16 bits", "faint", 12.5, "start")
    xs = [134 + 158 * i for i in range(4)]
    d.arrow([(84, y + 28), (xs[0], y + 28)])
    for x, words in zip(xs, boxes, strict=True):
        d.box(x, y - 5, w, h, "\n".join(words), "blue" if "lanes" in words[0] else "plain")
    for x in xs[:3]:
        d.arrow([(x + w, y + 28), (x + 158, y + 28)])
    d.circle(790, y + 28, 17, "+", "green")
    d.arrow([(xs[3] + w, y + 28), (773, y + 28)])
    d.arrow([(807, y + 28), (834, y + 28)])
    d.box(834, y + 2, 92, 52, "saturate\nR6", "plain")
    d.arrow([(926, y + 28), (952, y + 28)])
    d.text(943, y + 14, "r'", "ink", 14)
    d.arrow([(106, y + 28), (106, 66), (240, 66)])
    d.box(240, 34, 240, 62, "skip FIFO\ndepth computed, so no deadlock", "amber")
    d.arrow([(480, 66), (560, 66)])
    d.box(560, 34, 150, 62, "shortcut\nR8, R9 at stride 2", "plain")
    d.arrow([(710, 66), (790, 66), (790, y + 11)])
    d.text(
        480,
        242,
        "W x A / planes cycles a product; weights lie beside the lanes, in block RAM or in logic",
        "faint",
        13.5,
    )
    return d.svg()


def folding() -> str:
    """A layer's weights, cut into pieces of PE channels by SIMD codes, and the order of the work on them."""
    d = Drawing(910, 340, "Folding: SIMD x PE lanes work through a layer's weights piece by piece")
    left, top, cw, ch = 110, 62, 96, 54
    rows, columns = 4, 4
    for i in range(rows):
        for j in range(columns):
            number = i * columns + j + 1
            fill = "blue" if number == 1 else "plain"
            d.box(left + j * cw, top + i * ch, cw - 4, ch - 4, f"{number}", fill)
    d.text(left + columns * cw / 2, 34, "K x K x C_in products", "ink strong", 14)
    d.text(left + cw / 2, 54, "SIMD", "faint", 12.5)
    d.text(54, top + rows * ch / 2 - 4, "C_out", "ink strong", 14)
    d.text(54, top + rows * ch / 2 + 14, "channels", "faint", 12.5)
    d.text(left - 12, top + ch / 2 + 4, "PE", "faint", 12.5, "end")
    x = 530
    d.text(x, 76, "The blue piece is what the lanes do at once:", "ink", 14, "start")
    d.text(x, 97, "SIMD codes x PE channels x planes, a bit each.", "ink", 14, "start")
    lines = (
        "for each pixel of the output", "  for each group of PE channels", "    for each pair of planes, high to low",
        "      for each chunk of SIMD codes", "        a cycle: XNOR, popcount, add",
    )  # fmt: skip
    for number, words in enumerate(lines):
        indent = len(words) - len(words.lstrip())
        d.text(x + 9 * indent, 138 + 22 * number, words.strip(), "ink code", 13, "start")
    d.text(x, 262, "The accumulator doubles from one plane", "faint", 13, "start")
    d.text(x, 280, "weight to the next: no lane has a shifter.", "faint", 13, "start")
    d.text(455, 318, "few lanes: small and slow; all of them: a pixel each W x A cycles", "ink strong", 15)
    return d.svg()
