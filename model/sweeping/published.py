"""Published accuracies that our sweeps are put beside: DoReFa and Mish on ResNet-20, DoReFa's first and last layer.

GRIDS and TABLE: Hao and Li, "Exploring the Effects of DoReFa-Net and MISH Activation on ResNet for CIFAR-10" (table 1;
appendix A.1 to A.3: batch 64, 50 epochs), top-1 in percent with 60 % smoothing, and minutes on a GTX 1070 Ti. ENDS:
DoReFa-Net (arXiv:1606.06160), table 3: (W, A, G) = (1, 2, 4), models A to C of falling width on SVHN, top-1 in percent.
"""

BITS = (1, 2, 4, 8, 32)

Grid = dict[tuple[int, int], float]


def grid(*rows: tuple[float, ...]) -> Grid:
    """{(W, A): value} of rows over W and columns over A."""
    return {(w, a): value for w, row in zip(BITS, rows, strict=True) for a, value in zip(BITS, row, strict=True)}


ACCURACY = {
    "relu": grid(
        (20.36, 69.92, 73.75, 75.54, 77.33), (33.87, 73.49, 74.5, 74.6, 79.54), (10.53, 78.49, 79.53, 79.94, 84.71),
        (10.12, 76.75, 77.12, 80.43, 85.91), (10.07, 78.57, 80.6, 80.84, 84.11),
    ),
    "mish": grid(
        (27.28, 74.93, 75.64, 76.12, 81.31), (14.43, 74.08, 75.89, 77.09, 80.67), (54.06, 78.7, 78.73, 80.67, 85.87),
        (47.11, 80.68, 80.98, 81.97, 85.7), (49.35, 80.28, 80.53, 81.15, 86.35),
    ),
}  # fmt: skip
MINUTES = {
    "relu": grid(
        (22.22, 22.71, 23.26, 22.7, 18.77), (25.89, 26.42, 26.61, 26.25, 22.19), (25.68, 26.27, 26.29, 26.03, 22.51),
        (25.28, 26.75, 26.3, 26.41, 22.24), (18.3, 19.02, 19.26, 17.68, 13.41),
    ),
    "mish": grid(
        (21.73, 23.02, 23.15, 23.14, 18.77), (26.11, 26.82, 27.02, 26.96, 22.63), (26.81, 27.04, 26.95, 26.85, 23.35),
        (26.04, 27.12, 26.92, 27.35, 22.84), (19.05, 19.96, 19.95, 19.9, 15.62),
    ),
}  # fmt: skip
PURE = {"relu": (85.7, 15.24), "mish": (86.51, 13.51)}
"""A.1: ResNet-20 in float, 50 epochs: (top-1, minutes)."""

TABLE = {
    "ResNet": ("table-resnet", 92.25, 37.82), "Mish": ("table-mish", 92.78, 42.58),
    "DoReFa W1 A32": ("table-dorefa-w1-a32", 90.27, 41.67), "DoReFa W2 A32": ("table-dorefa-w2-a32", 90.65, 47.98),
    "DoReFa W4 A32": ("table-dorefa-w4-a32", 92.19, 48.52), "DoReFa W32 A32": ("table-dorefa-w32-a32", 92.05, 34.6),
    "DoReFa W32 A32, Mish": ("table-dorefa-mish", 92.02, 40.85),
}  # fmt: skip
"""Table 1: network to (our runs without their seed, top-1, minutes); 200 epochs, batch 128."""

ENDS = {
    "(1, 2, 4)": ("ends-none", (97.5, 96.9, 93.9)), "+ first": ("ends-first", (97.2, 96.3, 93.2)),
    "+ last": ("ends-last", (97.3, 96.9, 92.7)), "+ first + last": ("ends-both", (97.1, 96.1, 92.8)),
}  # fmt: skip
MODELS = ("A", "B", "C")
