"""Freezing a chain of conv, BatchNorm, max-pool and quantizer: DoReFa-Net's SVHN models as nodes of a manifest.

    pixels -> [conv -> threshold -> [max-pool]] ... -> linear

The quantizer commutes with max-pooling (DoReFa-Net eq. 15), so codes are pooled and not sums. Thresholds fold
BatchNorm, ReLU, clip and rounding (section 2.8); no value between two convs has more than A bits.
"""

from torch import nn

from popstream.model.freezing.affine import Collector, FreezeError, accumulator_thresholds, affine_of, rising
from popstream.model.manifest.node import Node
from popstream.model.networks.dorefa import SVHNNet
from popstream.model.quantizers import FLOAT_BITS

PIXEL_BITS = 8


class ChainFreezer(Collector):
    """Walks a trained SVHNNet once and collects nodes. FreezeError for float layers or images that it would resize."""

    def __init__(self, model: SVHNNet, image_shape: tuple[int, int]):
        super().__init__()
        size = model.config.size
        if image_shape != (size, size):
            raise FreezeError(
                f"The network resizes images of {image_shape[0]} x {image_shape[1]} to {size} x {size}, hardware does "
                f"not; train it with size = {image_shape[0]}"
            )
        for name, bits in model.layer_bits().items():
            if FLOAT_BITS in bits:
                raise FreezeError(
                    f"Layer {name} is float and has no integers; weight_bits, act_bits, first_bits and last_bits "
                    f"must be 1 to 8"
                )
        self.model = model

    def run(self) -> list[Node]:
        model, size = self.model, self.model.config.size
        source = self.add(
            "image", "input", [], channels=model.config.in_channels, height=size, width=size, bits=PIXEL_BITS
        )
        bits = PIXEL_BITS
        for index, stage in enumerate(model.convs):
            name = f"conv{index}"
            codes, gain, shift = affine_of(stage.conv, stage.bn, 1 / (2**bits - 1))
            codes, gain = rising(codes, gain, stage.conv.quantizer)
            source = self.conv(f"{name}.conv", source, stage.conv, codes, bits)
            thresholds = accumulator_thresholds(stage.act.thresholds(), gain, shift)
            bits = stage.act.bits
            source = self.add(f"{name}.threshold", "threshold", [source], {"thresholds": thresholds}, bits=bits)
            if isinstance(stage.pool, nn.MaxPool2d):
                source = self.add(f"{name}.pool", "maxpool", [source], size=stage.pool.kernel_size)
        self.linear(source, model.linear, model.linear.quantizer, 1 / (2**bits - 1), bits)
        return self.nodes
