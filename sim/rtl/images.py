"""Which images a network is simulated on, and small things that the two commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from popstream.model import data
from popstream.model.data.photographs import photographs
from popstream.model.machine import cores
from popstream.model.manifest import Network, find, load

ROOT = Path("build")
LABELLED = "digits-w1a2"  # its data set comes with a package
PER_PROCESS = 16  # fewer images are not worth another simulator


@dataclass(frozen=True, eq=False)
class Images:
    """codes uint8 [N, C, H, W] for the network, of pixels uint8 [N, C, H, W]; labels int64 [N], or None without any.

    source: the images of what, in words. notice: why they are not those of the network's data set, else None.
    """

    codes: np.ndarray
    pixels: np.ndarray
    labels: np.ndarray | None
    source: str
    notice: str | None = None

    def top1(self, labels: np.ndarray) -> float | None:
        """Percent of the first len(labels) images with that label; None where they have none."""
        if self.labels is None:
            return None
        return 100.0 * float(np.mean(self.labels[: len(labels)] == labels))


def labelled(network: Network, count: int) -> Images:
    """The first `count` test images of the network's data set.

    Raises data.DataError where they cannot be had or are not what the network takes, ValueError for a count that there
    is not.
    """
    if count < 1:
        raise ValueError(f"Number of images must be at least 1, not {count}")
    if network.data not in data.DATA_SETS:
        raise data.DataError(f"{network.name} is for {network.data!r}, of which there are no labelled images")
    loaded = data.load(network.data)
    if count > len(loaded.test_images):
        raise ValueError(f"Number of images must be 1 to {len(loaded.test_images)} ({network.data}), not {count}")
    pixels = loaded.test_images[:count]
    if pixels.shape[1:] != network.input.shape:
        raise data.DataError(
            f"{network.name} takes {network.input.shape}, but {network.data} has {pixels.shape[1:]} images"
        )
    codes = data.quantize_pixels(pixels, network.entry_bits)
    return Images(codes, pixels, loaded.test_labels[:count], f"test images of {network.data}")


def images_for(network: Network, count: int, seed: int = 0) -> Images:
    """The first `count` test images of the network's data set; where it cannot be had, pieces of photographs.

    Seeded noise for a network of no data set that is known. Raises ValueError for a count out of range, and
    data.DamageError for a damaged file: that is no data set that cannot be had.
    """
    try:
        return labelled(network, count)
    except data.DamageError:
        raise
    except data.DataError as error:
        if network.data not in data.DATA_SETS:
            pixels = np.random.default_rng(seed).integers(0, 256, (count, *network.input.shape), dtype=np.uint8)
            return Images(data.quantize_pixels(pixels, network.entry_bits), pixels, None, "noise")
        pixels = photographs(count, *network.input.shape)
        notice = (
            f"{error}. {network.name} runs on {count} pieces of scikit-learn's photographs instead: every value is "
            f"compared, but without labels there is no accuracy ({LABELLED} has its own)"
        )
        return Images(data.quantize_pixels(pixels, network.entry_bits), pixels, None, "photographs", notice)


def network_and_images(net: str, count: int, seed: int = 0) -> tuple[Network, Images]:
    """The network NET, never another, and its images (`images_for`)."""
    network = load(find(net))
    return network, images_for(network, count, seed)


def processes_for(images: int, asked: int | None = None) -> int:
    """How many simulators: what was asked for, else one for each core and at least PER_PROCESS images."""
    return asked or max(1, min(cores(), images // PER_PROCESS))


def folding_for(network: Network, interval: int | None = None, file: Path | None = None, **how: Any) -> Any:
    """The folding of `file`, else one solved, as `how` says, for at most `interval` cycles an image.

    Raises hw.folding.folding.FoldingError.
    """
    from popstream.hw.folding.folding import DEFAULT_INTERVAL, Folding
    from popstream.hw.solver.solve import solve

    if file:
        return Folding.load(file, network)
    return solve(network, interval or DEFAULT_INTERVAL, **how)


def percent(value: float | None) -> str:
    """For a table."""
    return "-" if value is None else f"{value:.2f} %"
