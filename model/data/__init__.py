"""Data sets as NumPy arrays, by name: scikit-learn's bundled digits, and the door to the others.

CIFAR-10 ("cifar10") is read by model/data/cifar10.py; SVHN ("svhn") and ImageNet-style folders ("imagenet224", by the
size of the images) by model/data/imagesets.py. Where a set cannot be had, model/data/photographs.py has images.

Images are uint8 [N, C, H, W], value x/255 in [0, 1]; labels int64 [N]. Nothing here needs torch.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from popstream.model.data.cifar10 import CIFAR10_CLASSES, load_cifar10
from popstream.model.data.imagesets import IMAGENET_SIZES, SVHN_CLASSES, DamageError, DataError, load_folders, load_svhn

__all__ = ["CALIBRATION_IMAGES", "DATA_SETS", "DamageError", "DataError", "DataSet", "load", "quantize_pixels"]

CALIBRATION_IMAGES = 2000  # the first of training, on which ranges and statistics are measured
SIZES = {"cifar10": 32, "digits": 8, "svhn": 32} | {f"imagenet{size}": size for size in IMAGENET_SIZES}  # pixels a side
DATA_SETS = tuple(SIZES)
CHANNELS = {name: 1 if name == "digits" else 3 for name in DATA_SETS}
CLASSES = {"cifar10": 10, "digits": 10, "svhn": 10}  # a folder of images says by itself how many it has


@dataclass(frozen=True)
class DataSet:
    """Train and test images uint8 [N, C, H, W] and labels int64 [N], with the class names."""

    name: str
    classes: list[str]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def quantize_pixels(images: np.ndarray, bits: int) -> np.ndarray:
    """Input codes floor((2^bits - 1) * x / 255 + 1/2) of uint8 images x: uint8, the same shape."""
    if bits == 8:
        return images
    levels = 2**bits - 1
    return ((2 * levels * images.astype(np.int32) + 255) // 510).astype(np.uint8)


def load(name: str, folder: Path | None = None) -> DataSet:
    """The data set `name`. `folder` overrides where its files are looked for.

    Raises ValueError for an unknown name and DataError where the files cannot be had.
    """
    if name == "cifar10":
        return DataSet(name, CIFAR10_CLASSES, *load_cifar10(folder))
    if name == "digits":
        return load_digits()
    if name == "svhn":
        (train, train_labels), (test, test_labels) = load_svhn(folder)
        return DataSet(name, SVHN_CLASSES, train, train_labels, test, test_labels)
    if name in DATA_SETS:
        names, parts = load_folders(int(name.removeprefix("imagenet")), folder)
        return DataSet(name, names, *parts[0], *parts[1])
    raise ValueError(f"Data set must be one of {', '.join(DATA_SETS)}, not {name!r}")


def load_digits() -> DataSet:
    """1,797 scans of 8x8 pixels from scikit-learn; every fifth of a seeded shuffle is the test set (360)."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images = np.floor(digits.images * (255 / 16) + 0.5).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[::5], np.delete(order, np.s_[::5])
    names = [str(n) for n in range(10)]
    return DataSet("digits", names, images[train], labels[train], images[test], labels[test])
