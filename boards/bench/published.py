"""Published CIFAR-10 accelerators to compare with: each figure is from their authors' papers and files, none is ours.

LUT counts of other families are not comparable one to one: theirs are LUT6, an ECP5's are LUT4.
"""

from dataclasses import dataclass

__all__ = ["PUBLISHED", "Published"]


@dataclass(frozen=True)
class Published:
    """A design as its authors give it; None where they say nothing, or it could not be confirmed. source: a page."""

    design: str
    device: str
    images_per_s: int | None
    top1: float
    lut: int | None = None
    dsp: int | None = None
    source: str | None = None


NN2FPGA = "https://arxiv.org/abs/2309.15631"
FRACBNN = "https://github.com/cornell-zhang/FracBNN"

PUBLISHED = (
    Published("FINN CNV W1A1", "Zynq UltraScale+ class", 9_150, 84.2),
    Published("FINN CNV W1A2", "Zynq UltraScale+ class", 9_150, 87.8),
    Published("FINN CNV W2A2", "Zynq UltraScale+ class", 2_580, 89.0),
    Published("fpgaConvNet ResNet, 8 bit", "ZC706", 6_790, 86.0, 108_000, 525),
    Published("nn2FPGA ResNet-8, 8 bit", "Ultra96", 12_971, 88.7, source=NN2FPGA),
    Published("nn2FPGA ResNet-8, 8 bit", "KV260", 30_153, 88.7, source=NN2FPGA),
    Published("nn2FPGA ResNet-20, 8 bit", "Ultra96", 3_254, 91.3, source=NN2FPGA),
    Published("nn2FPGA ResNet-20, 8 bit", "KV260", 7_601, 91.3, source=NN2FPGA),
    Published("FracBNN W1A1.4", "Ultra96", None, 89.1, source=FRACBNN),
)
