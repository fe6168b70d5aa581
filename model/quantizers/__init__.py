"""The door to all quantizers (model/quantizers/): a weight or activation quantizer by its name.

| name | weights | activations |
|---|---|---|
| dorefa | DoReFa-Net eqs. 7 and 9, 1 to 8 bits; scale by layer or channel | eq. 11, 1 to 8 bits; learned clip |
| lsq, ewgs | odd levels of a learned step, 1 to 8 bits | learned step, 1 to 8 bits |
| ternary | TWN: -1, 0 and 1, 2 bits | - |
| lsq_signed | whole numbers around 0 of a learned step, 2 to 8 bits | - |
| bnn, xnor | sign, clipped gradient; sign times E of its channel | sign, clipped gradient |
| irnet | standardized sign times 2^s, error decay estimator | sign, error decay estimator |
| recu | standardized sign, rectified clamp | sign, polynomial estimator |
| bineal | sign with auxiliary parameters | sign with auxiliary parameters |
| bireal, react | - | sign, polynomial estimator; RSign, the same with a learned threshold |
"""

from collections.abc import Callable, Sequence

from popstream.model.quantizers.base import (
    ACTIVATIONS,
    FLOAT_BITS,
    ActivationQuantizer,
    RoundToLevels,
    WeightQuantizer,
    check_bits,
    check_name,
)
from popstream.model.quantizers.bineal import BETA_DIMENSIONS, BiNealActivations, BiNealWeights
from popstream.model.quantizers.dorefa import WEIGHT_SCALES, DoReFaActivations, DoReFaWeights, GradientQuantizer
from popstream.model.quantizers.learned import EWGSActivations, EWGSWeights, LSQActivations, LSQWeights
from popstream.model.quantizers.signed import LSQSignedWeights, TernaryWeights
from popstream.model.quantizers.signs import (
    BiRealActivations,
    BNNWeights,
    IRNetActivations,
    IRNetWeights,
    ReCUWeights,
    RPReLU,
    RSignActivations,
    Scheduled,
    SignActivations,
    XNORWeights,
)

__all__ = [
    "ACTIVATIONS",
    "ACT_QUANTIZERS",
    "BETA_DIMENSIONS",
    "FLOAT_BITS",
    "WEIGHT_QUANTIZERS",
    "WEIGHT_SCALES",
    "ActivationQuantizer",
    "DoReFaActivations",
    "DoReFaWeights",
    "GradientQuantizer",
    "RPReLU",
    "RoundToLevels",
    "Scheduled",
    "WeightQuantizer",
    "act_quantizer",
    "check_bits",
    "check_name",
    "weight_quantizer",
]

WEIGHT_QUANTIZERS: dict[str, type[WeightQuantizer]] = {
    "dorefa": DoReFaWeights, "xnor": XNORWeights, "bnn": BNNWeights, "lsq": LSQWeights, "ewgs": EWGSWeights,
    "irnet": IRNetWeights, "recu": ReCUWeights, "bineal": BiNealWeights, "ternary": TernaryWeights,
    "lsq_signed": LSQSignedWeights,
}  # fmt: skip
ACT_QUANTIZERS: dict[str, type[ActivationQuantizer]] = {
    "dorefa": DoReFaActivations, "bnn": SignActivations, "xnor": SignActivations, "lsq": LSQActivations,
    "ewgs": EWGSActivations, "irnet": IRNetActivations, "recu": BiRealActivations, "bireal": BiRealActivations,
    "react": RSignActivations, "bineal": BiNealActivations,
}  # fmt: skip


def weight_quantizer(
    name: str,
    bits: int,
    shape: Sequence[int],
    scale: str = "layer",
    standardized: bool = False,
    dimensions: int = 1,
) -> WeightQuantizer:
    """The weight quantizer `name` for weights of `shape`; ValueError for an unknown name or bits that it has not.

    scale and standardized belong to "dorefa", dimensions (of beta) to "bineal".
    """
    check_name(name, WEIGHT_QUANTIZERS, "Weight quantizer")
    if name == "dorefa":
        return DoReFaWeights(bits, scale, standardized)
    if name == "bineal":
        return BiNealWeights(bits, shape, dimensions)
    make: Callable[[int], WeightQuantizer] = WEIGHT_QUANTIZERS[name]
    return make(bits)


def act_quantizer(
    name: str, bits: int, channels: int, activation: str = "relu", learned: bool = False
) -> ActivationQuantizer:
    """The activation quantizer `name`; ValueError for an unknown name, bits or activation. learned is "dorefa"'s."""
    check_name(name, ACT_QUANTIZERS, "Activation quantizer")
    if name == "dorefa":
        return DoReFaActivations(bits, channels, activation, learned)
    return ACT_QUANTIZERS[name](bits, channels, activation)
