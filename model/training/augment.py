"""Augmentation of training images on their device: random crops and mirroring, and an epoch's shuffled batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Augmentation:
    """Random crops of a zero-padded image, `shift` pixels each way, mirrored with probability 1/2 where `flip`."""

    shift: int
    flip: bool
    generator: torch.Generator

    def __call__(self, images: Tensor) -> Tensor:
        """Padded uint8 [N, C, H + 2 shift, W + 2 shift] to [N, C, H, W]."""
        n, _, height, width = images.shape
        height, width, device = height - 2 * self.shift, width - 2 * self.shift, images.device
        offsets = torch.randint(0, 2 * self.shift + 1, (2, n), generator=self.generator, device=device)
        rows = offsets[0, :, None] + torch.arange(height, device=device)
        columns = offsets[1, :, None] + torch.arange(width, device=device)
        if self.flip:
            mirrored = torch.rand((n, 1), generator=self.generator, device=device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        picked = torch.arange(n, device=device)[:, None, None]
        return images.permute(0, 2, 3, 1)[picked, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def shuffled(
    images: Tensor, labels: Tensor, augmentation: Augmentation, batch: int, steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch's batches: images uint8 [batch, C, H, W] and labels [batch]; on a GPU all are augmented in one call."""
    order = torch.randperm(len(labels), generator=augmentation.generator, device=labels.device)
    for picked in order[: steps * batch].split(steps * batch if labels.is_cuda else batch):
        yield from zip(augmentation(images[picked]).split(batch), labels[picked].split(batch), strict=True)
