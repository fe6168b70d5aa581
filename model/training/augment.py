"""Augmentation of training images on their device: random crops and mirroring, and an epoch's shuffled batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Images uint8 [N, C, H, W] and labels [N]; `views` [N] is twice an image's place in the data set, plus 1 where it
    is mirrored.
    """

    images: Tensor
    labels: Tensor
    views: Tensor


@dataclass
class Augmentation:
    """Random crops of a zero-padded image, `shift` pixels each way, mirrored with probability 1/2 where `flip`.

    With `crop` the pieces have that many pixels a side, from anywhere in the padded image.
    """

    shift: int
    flip: bool
    generator: torch.Generator
    crop: int | None = None

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Padded uint8 [N, C, H + 2 shift, W + 2 shift] to [N, C, H, W], and which are mirrored, bool [N]."""
        n, _, *padded = images.shape
        device = images.device
        height, width = (self.crop or side - 2 * self.shift for side in padded)
        offsets = torch.randint(0, padded[0] - height + 1, (2, n), generator=self.generator, device=device)
        rows = offsets[0, :, None] + torch.arange(height, device=device)
        columns = offsets[1, :, None] + torch.arange(width, device=device)
        mirrored = torch.zeros((n, 1), dtype=torch.bool, device=device)
        if self.flip:
            mirrored = torch.rand((n, 1), generator=self.generator, device=device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        picked = torch.arange(n, device=device)[:, None, None]
        pieces = images.permute(0, 2, 3, 1)[picked, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return pieces, mirrored[:, 0]


def shuffled(images: Tensor, labels: Tensor, augmentation: Augmentation, batch: int, steps: int) -> Iterator[Batch]:
    """An epoch's batches of padded images; on a GPU all are augmented in one call."""
    order = torch.randperm(len(labels), generator=augmentation.generator, device=labels.device)
    for picked in order[: steps * batch].split(steps * batch if labels.is_cuda else batch):
        pieces, mirrored = augmentation(images[picked])
        parts = pieces, labels[picked], 2 * picked + mirrored
        yield from map(Batch, *(part.split(batch) for part in parts))
