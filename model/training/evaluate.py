"""A float network on images: its accuracy, and BatchNorm's statistics measured anew."""

from collections.abc import Iterable

import torch
from torch import Tensor

from popstream.model.networks.layers import QuantNetwork, prepare
from popstream.model.training.fused import fused
from popstream.model.training.precision import FLOAT32, Precision


@torch.no_grad()
def evaluate(
    model: QuantNetwork, images: Tensor, labels: Tensor, batch: int = 500, precision: Precision = FLOAT32
) -> float:
    """Top-1 in percent."""
    model.eval()
    forward = fused(model, precision)
    correct = torch.zeros((), dtype=torch.long, device=images.device)
    for x, y in zip(images.split(batch), labels.split(batch), strict=True):
        with precision.autocast(images.device):
            correct += (forward(prepare(x, precision.memory_format)).argmax(1) == y).sum()
    return 100 * correct.item() / len(labels)


@torch.no_grad()
def reestimate_batchnorm(model: QuantNetwork, batches: Iterable[Tensor]) -> None:
    """Set BatchNorm's statistics to their mean over batches of training images, in float32."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for x in batches:
        model(prepare(x))
    for norm in norms:
        norm.momentum = 0.1
