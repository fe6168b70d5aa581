"""What a teacher says about the training images: asked batch by batch, or once about each image and kept."""

import torch
from torch import Tensor

from popstream.model.networks.layers import QuantNetwork, prepare
from popstream.model.training.fused import fused
from popstream.model.training.precision import Precision

__all__ = ["views_taught"]


@torch.no_grad()
def views_taught(teacher: QuantNetwork, images: Tensor, shift: int, precision: Precision, batch: int = 500) -> Tensor:
    """Logits [2 N, classes], float16, of each image uncropped and of its mirror image: row 2 i and row 2 i + 1.

    images: uint8 [N, C, H + 2 shift, W + 2 shift], padded as training has them. `Batch.views` are rows of the result.
    """
    forward = fused(teacher.eval(), precision)
    height, width = (side - 2 * shift for side in images.shape[2:])
    said = []
    for padded in images.split(batch):
        x = prepare(padded[:, :, shift : shift + height, shift : shift + width], precision.memory_format)
        with precision.autocast(images.device):
            both = [forward(view.contiguous(memory_format=precision.memory_format)) for view in (x, x.flip(3))]
        said.append(torch.stack(both, 1).flatten(0, 1).half())
    return torch.cat(said)
