"""Which images a network is simulated on, and small things that the two commands share."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model import data
from popstream.model.manifest import Network, find, load

ROOT = Path("build")
FALLBACK = "digits-w1a2"  # its data set comes with a package
PER_PROCESS = 16  # fewer images are not worth another simulator


@dataclass(frozen=True, eq=False)
class Images:
    """codes uint8 [N, C, H, W] for the network; pixels uint8 [N, C, H, W] and labels int64 [N] if they are real."""

    codes: np.ndarray
    pixels: np.ndarray | None
    labels: np.ndarray | None

    def top1(self, labels: np.ndarray) -> float | None:
        """Percent of the first len(labels) images with that label; None for random images."""
        if self.labels is None:
            return None
        return 100.0 * float(np.mean(self.labels[: len(labels)] == labels))


def images_for(network: Network, count: int, seed: int = 0) -> Images:
    """The first `count` test images of the network's data set, or seeded noise if it has none that is known.

    Raises data.DataError where the data set cannot be had, ValueError for a count that it does not have.
    """
    if count < 1:
        raise ValueError(f"Number of images must be at least 1, not {count}")
    if network.data not in data.DATA_SETS:
        rng = np.random.default_rng(seed)
        codes = rng.integers(0, 2**network.input.bits, (count, *network.input.shape), dtype=np.uint8)
        return Images(codes, None, None)
    loaded = data.load(network.data)
    if count > len(loaded.test_images):
        raise ValueError(f"Number of images must be 1 to {len(loaded.test_images)} ({network.data}), not {count}")
    pixels = loaded.test_images[:count]
    if pixels.shape[1:] != network.input.shape:
        raise ValueError(
            f"{network.name} takes {network.input.shape}, but {network.data} has {pixels.shape[1:]} images"
        )
    return Images(data.quantize_pixels(pixels, network.input.bits), pixels, loaded.test_labels[:count])


def network_and_images(net: str, count: int, seed: int = 0) -> tuple[Network, Images, str | None]:
    """The network NET and its images; where CIFAR-10 cannot be had, digits-w1a2 and a line that says so.

    A damaged file is no such case: it raises data.DamageError.
    """
    network = load(find(net))
    try:
        return network, images_for(network, count, seed), None
    except data.DamageError:
        raise
    except data.DataError as error:
        fallback = load(find(FALLBACK))
        images = images_for(fallback, min(count, len(data.load(fallback.data).test_images)), seed)
        return fallback, images, f"{error}; running {FALLBACK} instead of {network.name}"


def processes_for(images: int, asked: int | None = None) -> int:
    """How many simulators: what was asked for, else one for each core and at least PER_PROCESS images."""
    return asked or max(1, min(len(os.sched_getaffinity(0)), images // PER_PROCESS))


def folding_for(network: Network, interval: int | None = None, file: Path | None = None) -> Any:
    """The folding of `file`, else one solved for at most `interval` cycles. Raises hw.folding.folding.FoldingError."""
    from popstream.hw.folding.folding import DEFAULT_INTERVAL, Folding
    from popstream.hw.solver.solve import solve

    if file:
        return Folding.load(file, network)
    return solve(network, interval or DEFAULT_INTERVAL)


def percent(value: float | None) -> str:
    """For a table."""
    return "-" if value is None else f"{value:.2f} %"
