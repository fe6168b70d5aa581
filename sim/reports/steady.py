"""A network's accelerator in steady state, on noise: as many images as it takes, every logit compared with golden."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model.manifest import Network
from popstream.sim import golden
from popstream.sim.reports.lanes import Occupancy, TooFewImagesError
from popstream.sim.reports.occupancy import IMAGES, measure

__all__ = ["MismatchError", "simulate"]

MOST_IMAGES = 96


class MismatchError(ValueError):
    """The accelerator that was to be measured computes something else than the golden model."""


def simulate(network: Network, folding: Mapping[str, Any], root: Path, optimize: int = 1) -> Occupancy:
    """Stream noise through until the pipeline has been full for a while. MismatchError if a logit is wrong."""
    images = IMAGES
    while True:
        shape = (images, *network.input.shape)
        codes = np.random.default_rng(0).integers(0, 2**network.entry_bits, shape, dtype=np.uint8)
        try:
            occupancy = measure(network, folding, codes, root, optimize)
        except TooFewImagesError:  # for so long a pipeline
            if images >= MOST_IMAGES:
                raise
            images *= 2
            continue
        wrong = (golden.run_batches(network, codes) != occupancy.answer.logits).any(axis=1)
        if wrong.any():
            raise MismatchError(f"{int(wrong.sum())} of {images} images differ from the golden model; see make sim")
        return occupancy
