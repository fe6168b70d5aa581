"""Published top-1 accuracies of ResNet-20 on CIFAR-10 (16-32-64 channels), each with the page that says so.

None is ours. Where their authors say which epoch it is, it is the best one on the test set; popstream's is the last.
"""

from dataclasses import dataclass

__all__ = ["RESNET20", "Accuracy"]

FLOAT = 32


@dataclass(frozen=True)
class Accuracy:
    """A method's top-1 in percent at W and A bits; `source` is a page of the authors."""

    method: str
    weight_bits: int
    act_bits: float
    top1: float
    source: str


RESNET20 = (
    Accuracy("IR-Net", 1, 1, 86.5, "https://github.com/htqin/IR-Net"),
    Accuracy("ReCU", 1, 1, 88.0, "https://github.com/z-hXu/ReCU"),
    Accuracy(
        "AdaBin", 1, 1, 88.1, "https://github.com/huawei-noah/Efficient-Computing/tree/master/BinaryNetworks/AdaBin"
    ),
    Accuracy("FracBNN", 1, 1.4, 89.1, "https://github.com/cornell-zhang/FracBNN"),
    Accuracy("APoT", 2, 2, 90.96, "https://github.com/yhhhli/APoT_Quantization"),
    Accuracy("APoT", 4, 4, 92.45, "https://github.com/yhhhli/APoT_Quantization"),
    Accuracy("akamaster", FLOAT, FLOAT, 91.73, "https://github.com/akamaster/pytorch_resnet_cifar10"),
    Accuracy("APoT's baseline", FLOAT, FLOAT, 92.96, "https://github.com/yhhhli/APoT_Quantization"),
)
"""FracBNN's activations have 1.4 bits on average (two bits where a gate asks for them)."""
