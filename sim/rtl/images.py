"""Which images a network is simulated on, and small things that the two commands share."""

import argparse
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


def folding_for(network: Network, options: argparse.Namespace) -> Any:
    """The folding that the options ask for: of a file, or solved. Raises hw.folding.folding.FoldingError."""
    from popstream.hw.folding.folding import DEFAULT_INTERVAL, Folding
    from popstream.hw.solver.solve import solve

    if options.folding:
        return Folding.load(options.folding, network)
    return solve(network, options.interval or DEFAULT_INTERVAL)


def percent(value: float | None) -> str:
    """For a table."""
    return "-" if value is None else f"{value:.2f} %"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The network and how it is simulated."""
    parser.add_argument("net", help="a network of model/zoo, or the path of a manifest")
    parser.add_argument("--stall", type=float, default=0.0, help="probability of pauses on both sides (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of pauses and random images (%(default)s)")
    parser.add_argument("--interval", type=int, help="fold for at most so many cycles an image")
    parser.add_argument("--folding", type=Path, help="a folding.json to use instead")
    parser.add_argument("--processes", type=int, help="simulators at once (one for each core)")
    parser.add_argument("--optimize", type=int, default=2, help="level of the C++ compiler (%(default)s)")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of everything built (%(default)s)")


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """The parser's error for an option of `add_options`, or a number of images, out of its range."""
    for name in ("images", "interval", "processes"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(options, name)}")
    if options.interval and options.folding:
        parser.error("--interval and --folding exclude each other")
    if not 0 <= options.stall < 1:
        parser.error(f"--stall must be a probability from 0 to below 1, not {options.stall}")
    if options.seed < 0:
        parser.error(f"--seed must not be negative, not {options.seed}")
