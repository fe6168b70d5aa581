"""What the configurations of all families but ResNet share: bits of weights, activations and gradients, classes."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from popstream.model.quantizers import ACTIVATIONS, FLOAT_BITS, check_bits, check_name


@dataclass(frozen=True)
class BitsConfig:
    """W, A and G of the hidden layers, 32 for float; input channels and classes. ValueError for what is not allowed."""

    family: ClassVar[str]
    weight_bits: int = FLOAT_BITS
    act_bits: int = FLOAT_BITS
    grad_bits: int = FLOAT_BITS
    in_channels: int = 3
    classes: int = 10

    def __post_init__(self):
        check_bits(self.weight_bits, "Weights")
        check_bits(self.act_bits, "Activations")
        check_bits(self.grad_bits, "Gradients")
        for what, number in (("Input channels", self.in_channels), ("Classes", self.classes)):
            if type(number) is not int or number < 1:
                raise ValueError(f"{what} must be at least 1, not {number!r}")

    def to_dict(self) -> dict[str, Any]:
        return {"family": self.family} | asdict(self)


def check_activation(name: str) -> str:
    return check_name(name, ACTIVATIONS, "Activation")
