"""What the configurations of all families but ResNet share: bits of weights, activations and gradients, classes."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from popstream.model.quantizers import ACTIVATIONS, FLOAT_BITS, check_bits, check_name

Count = Annotated[int, Meta(ge=1, le=2**16 - 1)]  # of channels, classes: what a manifest takes


@dataclass(frozen=True)
class BitsConfig:
    """W, A and G of the hidden layers, 32 for float; input channels and classes. ValueError for what is not allowed."""

    family: ClassVar[str]
    weight_bits: int = FLOAT_BITS
    act_bits: int = FLOAT_BITS
    grad_bits: int = FLOAT_BITS
    in_channels: Count = 3
    classes: Count = 10

    def __post_init__(self):
        check_bits(self.weight_bits, "Weights")
        check_bits(self.act_bits, "Activations")
        check_bits(self.grad_bits, "Gradients")

    def least_map(self, size: int) -> int:
        """Pixels a side of the smallest map for images of size x size; ValueError where a layer cannot take them."""
        return size

    def to_dict(self) -> dict[str, Any]:
        return {"family": self.family} | asdict(self)


def check_activation(name: str) -> str:
    return check_name(name, ACTIVATIONS, "Activation")


def halved(size: int, times: int) -> int:
    """What is left of `size` pixels after so many strides of 2, which keep odd ones."""
    return -(-size // 2**times)
