"""Data sets as NumPy arrays: CIFAR-10 from its pickled batches, scikit-learn's bundled digits, and the door to others.

SVHN ("svhn") and ImageNet-style folders ("imagenet224", by the size of the images) are read by model/data/imagesets.py.

Images are uint8 [N, C, H, W], value x/255 in [0, 1]; labels int64 [N]. Nothing here needs torch.
"""

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from popstream.model.data.imagesets import IMAGENET_SIZES, SVHN_CLASSES, DamageError, DataError, load_folders, load_svhn

__all__ = ["CALIBRATION_IMAGES", "DATA_SETS", "DamageError", "DataError", "DataSet", "load", "quantize_pixels"]

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_MD5 = "c58f30108f718f92721af3b95e74349a"  # published on the data set's page
CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CALIBRATION_IMAGES = 2000  # the first of training, on which ranges and statistics are measured
DATA_SETS = ("cifar10", "digits", "svhn", *(f"imagenet{size}" for size in IMAGENET_SIZES))


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
        return load_cifar10(folder)
    if name == "digits":
        return load_digits()
    if name == "svhn":
        (train, train_labels), (test, test_labels) = load_svhn(folder)
        return DataSet(name, SVHN_CLASSES, train, train_labels, test, test_labels)
    if name in DATA_SETS:
        names, parts = load_folders(int(name.removeprefix("imagenet")), folder)
        return DataSet(name, names, *parts[0], *parts[1])
    raise ValueError(f"Data set must be one of {', '.join(DATA_SETS)}, not {name!r}")


def find_cifar10(folder: Path | None = None) -> Path:
    """The folder of the batches: `folder`, else $CIFAR10_DIR, else data/, else downloaded there once."""
    given = folder or (Path(os.environ["CIFAR10_DIR"]) if os.environ.get("CIFAR10_DIR") else None)
    for root in [given] if given else [Path("data")]:
        for candidate in (root / CIFAR10_FOLDER, root):
            if (candidate / "test_batch").exists():
                return candidate
    if given:
        raise DataError(f"No {CIFAR10_FOLDER}/test_batch in {given}; set CIFAR10_DIR to the folder that holds it")
    return download_cifar10(Path("data"))


def download_cifar10(root: Path) -> Path:
    """Fetch and unpack the published archive into `root`, checked against its MD5."""
    import pooch

    try:
        pooch.retrieve(
            CIFAR10_URL, f"md5:{CIFAR10_MD5}", path=root, processor=pooch.Untar(extract_dir="."), progressbar=True
        )
    except (OSError, ValueError) as error:
        raise DataError(
            f"CIFAR-10 could not be downloaded ({type(error).__name__}); set CIFAR10_DIR to the folder that holds "
            f"{CIFAR10_FOLDER}"
        ) from error
    return root / CIFAR10_FOLDER


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One pickled batch: images uint8 [N, 3, 32, 32] and labels int64 [N]."""
    if not path.exists():
        raise DataError(f"{path} is missing; the data set has data_batch_1 to data_batch_5 and test_batch")
    try:
        with path.open("rb") as file:
            batch = pickle.load(file, encoding="bytes")
        images = np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(batch[b"labels"], dtype=np.int64)
    except OSError as error:
        raise DamageError(f"{path} cannot be read ({error.strerror})") from error
    except Exception as error:  # pickle raises a different type for each kind of damage
        raise DamageError(f"{path} is damaged ({type(error).__name__}: {error}); fetch it again") from error
    if len(images) != len(labels) or len(images) == 0 or labels.min() < 0 or labels.max() > 9:
        raise DamageError(f"{path} is damaged: {len(images)} images, {len(labels)} labels; fetch it again")
    return images, labels


def load_cifar10(folder: Path | None = None) -> DataSet:
    """All 50,000 + 10,000 images."""
    root = find_cifar10(folder)
    parts = [read_batch(root / f"data_batch_{i}") for i in range(1, 6)]
    test_images, test_labels = read_batch(root / "test_batch")
    train_images = np.concatenate([images for images, _ in parts])
    train_labels = np.concatenate([labels for _, labels in parts])
    return DataSet("cifar10", CIFAR10_CLASSES, train_images, train_labels, test_images, test_labels)


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
